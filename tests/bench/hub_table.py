#!/usr/bin/env python3
"""Figures of `./dev bench hub` and `./dev bench relay` to tables.

  hub_table.py hub|relay RAW.jsonl DIR   keeps what was measured in DIR/hub.json and writes DIR/hub.md; in tests/bench
                                         also the words in README.md between its two `hub` marks
"""
import datetime
import json
import os
import platform
import re
import statistics
import sys


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return f"a machine of {os.cpu_count()} cores, {cpu}, Linux {platform.release()}"


def cell(bar, reached):
    return "" if bar is None else "**reached**" if reached else "**missed**"


# --- The hub's bars: what, bar, measured, reached.

def kb_per_node(p):
    return (p["hub_kib"] - p["empty_kib"]) * 1.024 / p["online"]


def api_words(p):
    a = p["api"]
    return f"p99 {a['kept_p99_ms']:.0f} ms on a kept connection, {a['fresh_p99_ms']:.0f} ms with a new one each; {a['failed']} of {a['asked']} failed"


def worst_api(p):
    return max(p["api"]["kept_p99_ms"], p["api"]["fresh_p99_ms"])


def hub_rows(lines):
    by = {}
    for p in lines:
        by.setdefault(p["phase"], p)
    join, idle, signals, back = (by.get(k) for k in ("join", "idle", "signals", "comeback"))
    if idle:
        cpu = 100 * idle["hub_cpu_s"] / idle["seconds"]
        yield "memory of an idle node", "at most 10 KB", f"{kb_per_node(idle):.1f} KB with {idle['online']:,} nodes", kb_per_node(idle) <= 10
        yield "CPU with all of them idle", "at most 2 %", f"{cpu:.1f} %", cpu <= 2
        yield "100,000 nodes, by calculation from that", None, f"{kb_per_node(idle) * 100 + idle['empty_kib'] / 1000:.0f} MB", None
    if join:
        yield "joins", "500 a second", f"{join['per_s']:.0f} a second, each in p50 {join['p50_ms']:.0f} ms, p99 {join['p99_ms']:.0f} ms; the hub used {1000 * join['hub_cpu_s'] / join['online']:.2f} ms of CPU for each", join["per_s"] >= 495 and join["in_time"]
        yield "API meanwhile", None, api_words(join), None
    if signals:
        yield "introductions", "p99 at most 20 ms at 5,000 a second", f"p99 {signals['p99_ms']:.1f} ms at {signals['per_s']:,.0f} a second", signals["p99_ms"] <= 20 and signals["per_s"] >= 4950
    if back:
        yield "all back after the hub was killed", "within 60 s", f"{back['online']:,} nodes after {back['seconds']:.0f} s", back["in_time"] and back["seconds"] <= 60
        yield "API meanwhile", "p99 less than 200 ms", api_words(back), worst_api(back) < 200


# --- The relay's: lines {"work", "relay", "round", "gbit", "pps", "spread", "relay_cpu_s", "seconds"}; round 0 is discarded.

def median(lines, work, relay, key):
    values = [p[key] for p in lines if p["work"] == work and p["relay"] == relay and p["round"] > 0]
    return statistics.median(values) if values else None


def ratio(lines, work, key):
    ours, coturn = ({p["round"]: p[key] for p in lines if p["work"] == work and p["relay"] == r and p["round"] > 0} for r in ("p2phub", "coturn"))
    both = [ours[r] / coturn[r] for r in ours if coturn.get(r)]
    return statistics.median(both) if both else None


def relay_rows(lines):
    for work, title, key, unit, scale, bar in (
        ("flow", "one flow, 1,400 B", "gbit", "Gbit/s", 1, 3),
        ("many", "1,000 sessions, 64 B", "pps", "thousand packets/s", 1000, 2),
    ):
        ours, coturn, r = median(lines, work, "p2phub", key), median(lines, work, "coturn", key), ratio(lines, work, key)
        if r is None:
            continue
        yield title, f"at least {bar} x coturn", f"{r:.1f} x coturn: {ours / scale:.2f} to {coturn / scale:.2f} {unit}", r >= bar
        cost = [1e6 * median(lines, work, relay, "cpu_per_packet_s") for relay in ("p2phub", "coturn")]
        yield f"{title}: CPU of the relay for a packet", None, f"{cost[0]:.2f} us, coturn {cost[1]:.2f} us", None
    spread = median(lines, "many", "p2phub", "spread")
    if spread is not None:
        yield "1,000 sessions: the one served least, below their mean", "at most 20 %", f"{100 * spread:.0f} %", spread <= .2


SECTIONS = {
    "hub": ("Nodes on a hub", hub_rows),
    "relay": ("The UDP relay beside coturn", relay_rows),
}


def table(kept):
    for name, (title, rows) in SECTIONS.items():
        if name not in kept:
            continue
        k = kept[name]
        print(f"{title}, measured on {k['date']} by `./dev bench {name}` on {k['machine']}, what loads it on the same cores:\n")
        print("| work | bar | measured | |\n|---|---|---|---|")
        for what, bar, measured, reached in rows(k["lines"]):
            print(f"| {what} | {bar or ''} | {measured} | {cell(bar, reached)} |")
        print()


def text_of(function, *args):
    from contextlib import redirect_stdout
    from io import StringIO
    with redirect_stdout(StringIO()) as out:
        function(*args)
    return out.getvalue()


def put_into_readme(words):
    text = open("README.md").read()
    between = re.compile(r"(<!-- hub -->\n).*?(<!-- end of hub -->)", re.S)
    if not between.search(text):
        sys.exit("README.md has no `hub` marks")
    open("README.md", "w").write(between.sub(lambda m: m[1] + words + m[2], text))


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in SECTIONS:
        sys.exit(__doc__)
    name, raw, folder = sys.argv[1:]
    path = os.path.join(folder, "hub.json")
    kept = json.load(open(path)) if os.path.exists(path) else {}
    lines = [json.loads(line) for line in open(raw) if line.startswith("{")]
    kept[name] = {"date": str(datetime.date.today()), "machine": machine(), "lines": lines}
    json.dump(kept, open(path, "w"), indent=1)
    words = text_of(table, kept)
    open(os.path.join(folder, "hub.md"), "w").write("# The hub under load\n\n" + words)
    print(words)
    if os.path.normpath(folder) == "tests/bench":
        put_into_readme(words)


main()
