#!/usr/bin/env python3
"""The trials of tests/bench/traversal.sh (JSON lines from stdin) as a table.

  traversal_table.py cell A/B           one line of plain text about that cell
  traversal_table.py table "A/B ..."    Markdown: the conditions, then a row for each of these cells that was measured
  traversal_table.py readme "A/B ..."   Markdown: the conditions, a row for each class of pairs, and a square of all
"""
import datetime, json, math, os, platform, re, statistics, sys


def wilson(k, n, z=1.96):
    """The 95 % interval of k of n, in per cent."""
    p, d = k / n, 1 + z * z / n
    mid, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * max(0, mid - half) / d, 100 * min(d, mid + half) / d


def quantile(values, q):
    """The least value that a share q of them does not exceed."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)] if values else None


def show(v):
    return "-" if v is None else str(round(v))


def way(trial):
    return trial["technique"] or ("relay" if trial["first_path"] else "none")


def row(cell, trials):
    direct = [t["direct_ms"] for t in trials if t["direct_ms"] is not None]
    first = [t["first_ms"] for t in trials if t["first_ms"] is not None]
    probes = [t["probes"] for t in trials]
    low, high = wilson(len(direct), len(trials))
    return [cell.replace("/", " x "), f"{len(direct)}/{len(trials)}", f"{low:.0f}-{high:.0f} %",
            show(quantile(first, 0.5)), show(quantile(direct, 0.5)), show(quantile(direct, 0.95)),
            f"{show(quantile(probes, 0.5))} / {max(probes)}", str(max(t["entries"] for t in trials)),
            statistics.mode(way(t) for t in trials)]


def cpu():
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name.*: (.*)$", f.read(), re.M)
    return found.group(1) if found else platform.machine()


EASY = {"open", "full-cone", "address-restricted", "port-restricted", "home-carrier"}
SEQUENTIAL = {"sequential", "sequential-down", "stride"}
CLASSES = [
    ("easy x easy", lambda a, b: a in EASY and b in EASY),
    ("random x easy", lambda a, b: a == "symmetric" and b in EASY),
    ("block of ports x easy", lambda a, b: a.startswith("block") and b in EASY),
    ("sequential x easy", lambda a, b: a in SEQUENTIAL and b in EASY),
    ("sequential x sequential", lambda a, b: a in SEQUENTIAL and b in SEQUENTIAL),
    ("other hard x hard", lambda a, b: "udp-blocked" not in (a, b) and not {a, b} & EASY
     and not (a in SEQUENTIAL and b in SEQUENTIAL)),
    ("UDP blocked", lambda a, b: "udp-blocked" in (a, b)),
]
HEAD = ("| {} | direct | 95 % | first answer p50 | direct p50 | p95 | probes p50 / max | entries max | mostly by |\n"
        "|---|---|---|---|---|---|---|---|---|")


def conditions():
    release = ".".join(platform.release().split(".")[:2])
    print(f"Measured on {datetime.date.today()} by `./dev bench traversal` on a machine of {os.cpu_count()} cores ({cpu()},")
    print(f"Linux {release}): real nftables NATs in network namespaces, 50 ms round trip, no loss; 20 new flows a second of")
    print("other users behind each sequential NAT. Times in ms, from when both have joined; probes are those of the node")
    print("that sent more, entries those in the fuller router's table. Rates in a lab are not rates in the field.")
    print()


def table(cells):
    conditions()
    print(HEAD.format("NATs"))
    for cell, trials in cells:
        print("| " + " | ".join(row(cell, trials)) + " |")


def matches(rule, cell):
    a, b = cell.split("/")
    return rule(a, b) or rule(b, a)


def classes(cells):
    print(HEAD.format("pairs of NATs"))
    for name, rule in CLASSES:
        trials = [t for cell, some in cells if matches(rule, cell) for t in some]
        if trials:
            print("| " + " | ".join(row(name, trials)) + " |")


def square(cells):
    """Each pair: the median time to direct; the share that was, when that is not all; else what carried."""
    by_cell = dict(cells)
    kinds = list(dict.fromkeys(k for cell, _ in cells for k in cell.split("/")))
    print("| direct p50, ms | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    for i, a in enumerate(kinds):
        line = []
        for j, b in enumerate(kinds):
            trials = by_cell.get(f"{a}/{b}") or by_cell.get(f"{b}/{a}")
            line.append("" if j < i or not trials else brief(trials))
        print(f"| {a} | " + " | ".join(line) + " |")


def brief(trials):
    direct = [t["direct_ms"] for t in trials if t["direct_ms"] is not None]
    if not direct:
        return statistics.mode(way(t) for t in trials)
    share = "" if len(direct) == len(trials) else f" ({len(direct)}/{len(trials)})"
    return show(quantile(direct, 0.5)) + share


def main(what, names):
    by_cell = {}
    for line in sys.stdin:
        t = json.loads(line)
        by_cell.setdefault(f"{t['a']}/{t['b']}", []).append(t)
    measured = [(n, by_cell[n]) for n in names.split() if n in by_cell]
    if what == "cell":
        for cell, trials in measured:
            c = row(cell, trials)
            print(f"{c[0]}: direct {c[1]}, first answer {c[3]} ms, direct p50 {c[4]} p95 {c[5]} ms, probes {c[6]},"
                  f" entries {c[7]}, {c[8]}")
    elif what == "table":
        table(measured)
    else:
        conditions()
        classes(measured)
        print()
        square(measured)


main(*sys.argv[1:])
