#!/usr/bin/env python3
"""Figures of `./dev bench portmap` to a table.

  portmap_table.py RAW.jsonl LOG DIR   keeps what was measured in DIR/portmap.json and prints the table; where DIR is
                                       tests/bench also as the words in README.md between its two `portmap` marks
"""
import datetime, json, os, platform, re, statistics, sys

NAMES = {
    "tunnel": "the tunnel itself, gateway to node",
    "kernel": "p2pd, by the kernel",
    "user": "p2pd, by its own sockets",
    "socat": "socat, through the same tunnel",
    "ssh": "ssh -R",
}


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return f"a machine of {os.cpu_count()} cores ({cpu}, Linux {'.'.join(platform.release().split('.')[:2])})"


def values(lines, contender, key):
    return {p["round"]: p[key] for p in lines if p["work"] == "works" and p["contender"] == contender and p["round"] > 0}


def median(lines, contender, key):
    found = values(lines, contender, key).values()
    return statistics.median(found) if found else None


def ratio(lines, contender, key):
    """Of the tunnel itself."""
    mine, plain = values(lines, contender, key), values(lines, "tunnel", key)
    both = [mine[r] / plain[r] for r in mine if plain.get(r)]
    return statistics.median(both) if both else None


def held_of(lines, contender):
    return next((p for p in lines if p["work"] == "held" and p["contender"] == contender), None)


def held_words(h):
    return f"{h['kb'] / 1024:.1f} MiB for {h['held']:,} ({1024 * h['kb'] / max(1, h['held']):,.0f} B each)" if h else ""


def number(x, unit="", digits=2):
    return "" if x is None else f"{x:.{digits}f}{unit}"


def contenders(lines):
    print("| | one TCP stream to the service | and from it | new connections a second | their median, p99 | memory of open ones |")
    print("|---|---|---|---|---|---|")
    for c, name in NAMES.items():
        if median(lines, c, "up") is None:
            continue
        of_tunnel = ["" if c == "tunnel" or ratio(lines, c, k) is None else f" ({ratio(lines, c, k):.2f})" for k in ("up", "down")]
        print(f"| {name} | {number(median(lines, c, 'up'), ' Gb/s')}{of_tunnel[0]} | {number(median(lines, c, 'down'), ' Gb/s')}{of_tunnel[1]} "
              f"| {median(lines, c, 'per_s'):,.0f} | {number(median(lines, c, 'p50_ms'), '', 1)}, {number(median(lines, c, 'p99_ms'), ' ms', 1)} "
              f"| {held_words(held_of(lines, c))} |")


def bars(lines):
    """What, bar, measured, reached."""
    for c, bar in (("kernel", 0.9), ("user", 0.6)):
        for key, title in (("up", "to the service"), ("down", "from it")):
            r = ratio(lines, c, key)
            if r is not None:
                yield f"{NAMES[c]}: one stream {title}", f"at least {bar} of the tunnel", f"{r:.2f}", r >= bar
    per_s = median(lines, "user", "per_s")
    if per_s is not None:
        yield f"{NAMES['user']}: new connections", "at least 2,000 a second", f"{per_s:,.0f}", per_s >= 2000
    for c, limit in (("user", 20), ("kernel", 1)):
        h = held_of(lines, c)
        if h:
            yield (f"{NAMES[c]}: {h['asked']:,} connections", f"at most {limit} MiB more memory, both ends together" if limit > 1 else "no more memory",
                   f"{h['kb'] / 1024:.1f} MiB, {h['held']:,} live", h["kb"] <= limit * 1024 and h["held"] == h["asked"])


def table(kept):
    lines = kept["lines"]
    print(f"Measured on {kept['date']} by `./dev bench portmap` on {kept['machine']}:")
    print("visitor, gateway, node and service in network namespaces joined by veths, all of them on these cores;")
    print("in brackets: of the tunnel itself.\n")
    contenders(lines)
    print("\n| work | bar | measured | |\n|---|---|---|---|")
    for what, bar, measured, reached in bars(lines):
        print(f"| {what} | {bar} | {measured} | **{'reached' if reached else 'missed'}** |")
    if kept["notes"]:
        print("\n| scenario | what was seen (two machines 50 ms from the gateway) |\n|---|---|")
        for scenario, note in kept["notes"]:
            print(f"| {scenario} | {note} |")


def notes_of(path):
    notes, scenario = [], ""
    for line in open(path):
        if found := re.match(r"(?:ok|FAIL) (\w+)", line):
            scenario = found[1]
        elif found := re.match(r"    # (.*)", line):
            notes.append((scenario, found[1]))
    return notes


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    raw, log, folder = sys.argv[1:]
    lines = [json.loads(line) for line in open(raw) if line.startswith("{")]
    kept = {"date": str(datetime.date.today()), "machine": machine(), "lines": lines, "notes": notes_of(log)}
    with open(os.path.join(folder, "portmap.json"), "w") as f:
        json.dump(kept, f, indent=1)
    from contextlib import redirect_stdout
    from io import StringIO
    with redirect_stdout(StringIO()) as out:
        table(kept)
    print(out.getvalue())
    if os.path.normpath(folder) != "tests/bench":
        return
    text = open("README.md").read()
    between = re.compile(r"(<!-- portmap -->\n).*?(<!-- end of portmap -->)", re.S)
    if not between.search(text):
        sys.exit("README.md has no `portmap` marks")
    open("README.md", "w").write(between.sub(lambda m: m[1] + out.getvalue() + m[2], text))


main()
