#!/usr/bin/env python3
"""What tests/bench/data.sh measured, for reading.

  data_table.py results DIR   the raw lines of DIR/data.jsonl, the notes in crowd.log and the conditions: results.json
  data_table.py table         results.json from stdin as Markdown: medians, spreads, and the bars that we set ourselves
  data_table.py readme        the same in a few lines
  data_table.py picture       as an SVG

A figure is the median of the rounds; a ratio or difference of two contenders is taken in each round, then the median."""
import datetime, html, json, os, platform, re, statistics, sys

NAMES = {
    "veth": "no VPN",
    "wireguard-go": "wireguard-go",
    "nebula": "nebula",
    "fastd": "fastd, no cipher",
    "aegis": "p2pd, AEGIS-256",
    "chacha20": "p2pd, ChaCha20",
    "relay": "p2pd, relayed",
    "relay-tls": "p2pd, relayed, TLS",
    "plain": "p2pd, cipher off",
}
# key: title, unit, digits, whether more is better
WORKS = {
    "tcp1": ("One TCP stream", "Gb/s", 2, True),
    "tcp16": ("16 TCP streams", "Gb/s", 2, True),
    "both": ("TCP both ways at once", "Gb/s", 2, True),
    "udp_1350": ("UDP 1350 B delivered", "Gb/s", 2, True),
    "udp_64": ("64 B packets delivered", "thousand/s", 0, True),
    "idle_us": ("Idle round trip", "us", 0, False),
    "load_p50": ("Round trip under load, median", "ms", 2, False),
    "load_p95": ("Round trip under load, p95", "ms", 2, False),
    "load_p99": ("Round trip under load, p99", "ms", 2, False),
    "rss_mib": ("Memory under load", "MiB", 1, False),
    "cpu_s_per_gb": ("CPU of the daemons per GB", "s", 2, False),
    "machine_s_per_gb": ("CPU of the machine per GB", "s", 2, False),
}


# --- The numbers

def cpu():
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name.*: (.*)$", f.read(), re.M)
    return found.group(1) if found else platform.machine()


def lines_of(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f if line.startswith("{")]


def crowd_of(path):
    """The notes of tests/bench/crowd.sh."""
    if not os.path.exists(path):
        return []
    with open(path) as f:
        found = re.findall(r"^# (\d+) peers:.* (\d+) Mbit/s .*MiB before, under load, after: ([\d.]+), ([\d.]+),", f.read(), re.M)
    return [{"peers": int(n), "tcp1": int(mbit) / 1000, "idle_mib": float(idle), "rss_mib": float(load)} for n, mbit, idle, load in found]


def results(folder):
    with open(f"{folder}/versions") as f:
        versions = f.read().split("\n")
    raw = [r for r in lines_of(f"{folder}/data.jsonl") if r["round"] > 0]
    head = {
        "schema": "p2pd.bench.data/1",
        "date": str(datetime.date.today()),
        "machine": f"{os.cpu_count()} cores, {cpu()}",
        "kernel": platform.release(),
        "versions": [v for v in versions if v],
        "rounds": max(r["round"] for r in raw),
    }
    body = [f'"{k}": {json.dumps(v)}' for k, v in head.items()]
    for name, rows in (("raw", raw), ("crowd", crowd_of(f"{folder}/crowd.log"))):
        body.append(f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]")
    print("{\n" + ",\n".join(body) + "\n}")


def flat(r):
    out = dict(r)
    out["load_p50"], out["load_p95"], out["load_p99"] = r["load_ms"]
    if "rss_kb" in r:
        out["rss_mib"] = r["rss_kb"] / 1024
    return out


class Results:
    def __init__(self, data):
        self.data = data
        self.by = {}
        for r in data["raw"]:
            self.by.setdefault(r["contender"], {})[r["round"]] = flat(r)
        self.contenders = [c for c in NAMES if c in self.by]

    def values(self, contender, work):
        rounds = self.by.get(contender, {})
        return {n: r[work] for n, r in rounds.items() if work in r and not (contender == "veth" and work.startswith("cpu"))}

    def median(self, contender, work):
        values = self.values(contender, work).values()
        return statistics.median(values) if values else None

    def paired(self, f, one, other):
        """The median over the rounds of f(a, b), where one and other are (contender, work)."""
        a, b = self.values(*one), self.values(*other)
        both = [f(a[n], b[n]) for n in a if n in b and b[n]]
        return statistics.median(both) if both else None

    def ratio(self, one, other, work="tcp1", other_work=None):
        return self.paired(lambda a, b: a / b, (one, work), (other, other_work or work))

    def crowd_mib(self, peers):
        return max((c["rss_mib"] for c in self.data["crowd"] if c["peers"] == peers), default=None)


def bars(r):
    """What we want of it: work, bar, measured (None: it was not), whether it must be at least the bar, how it is written."""
    rss = [m for c in ("aegis", "chacha20") if (m := r.median(c, "rss_mib")) is not None]
    go, times, more, ms, mib = "wireguard-go", "{:.2f} x wireguard-go", "{:.0f} us more than no VPN", "{:.2f} ms", "{:.1f} MiB"
    return [
        ("one TCP stream, AEGIS-256", 4.5, r.ratio("aegis", go), True, times),
        ("one TCP stream, AEGIS-256", 0.85, r.ratio("aegis", "plain"), True, "{:.2f} of our path with the cipher off"),
        ("one TCP stream, ChaCha20-Poly1305", 1.6, r.ratio("chacha20", go), True, times),
        ("16 streams", 0.9, r.ratio("aegis", "aegis", "tcp16", "tcp1"), True, "{:.2f} of one stream"),
        ("UDP 1350 B delivered", 4, r.ratio("aegis", go, "udp_1350"), True, times),
        ("64 B packets delivered", 3.5, r.ratio("aegis", go, "udp_64"), True, times),
        ("idle round trip", 130, r.paired(lambda a, b: a - b, ("aegis", "idle_us"), ("veth", "idle_us")), False, more),
        ("round trip while a TCP stream saturates, p95", 3, r.median("aegis", "load_p95"), False, ms),
        ("memory under that load", 16, max(rss, default=None), False, mib),
        ("memory with 1,000 peers", 32, r.crowd_mib(1000), False, mib),
        ("CPU seconds per GB", 0.3, r.ratio("aegis", go, "cpu_s_per_gb"), False, times),
        ("relayed by UDP, one TCP stream", 2.5, r.median("relay", "tcp1"), True, "{:.2f} Gb/s"),
        ("relayed by TLS, one TCP stream", 2, r.median("relay-tls", "tcp1"), True, "{:.2f} Gb/s"),
        ("relayed by TLS, round trip under load, p95", 20, r.median("relay-tls", "load_p95"), False, ms),
    ]


def verdict(bar, got, at_least):
    if got is None:
        return "not measured"
    return "**reached**" if (got >= bar) == at_least or got == bar else "**missed**"


# --- Words

def conditions(r):
    d = r.data
    print(f"Measured on {d['date']} by `./dev bench data` on a machine of {d['machine']}, Linux {d['kernel']}:")
    print("two network namespaces joined by a veth, both ends and what loads them on these cores;")
    print(f"medians of {d['rounds']} rounds in which all take turns. {'; '.join(d['versions'])}.")
    print()


def cell(r, contender, work):
    values = r.values(contender, work).values()
    if not values:
        return "-"
    digits = WORKS[work][2]
    low, mid, high = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"{mid} ({low}-{high})"


def bar_table(r):
    print("| work | bar | measured | |")
    print("|---|---|---|---|")
    for work, bar, got, at_least, form in bars(r):
        sign = "at least" if at_least else "at most"
        limit = re.sub(r"\{.*?\}", f"{bar:g}", form)
        print(f"| {work} | {sign} {limit} | {'-' if got is None else form.format(got)} | {verdict(bar, got, at_least)} |")
    print()


def table(r):
    print("# How fast data goes\n")
    conditions(r)
    print("The works are explained in [data_works.py](data_works.py), the method in [data.sh](data.sh); every round's numbers are")
    print("in [results.json](results.json). In brackets: the lowest and the highest round.\n")
    print("| | " + " | ".join(NAMES[c] for c in r.contenders) + " |")
    print("|---" * (len(r.contenders) + 1) + "|")
    for work, (title, unit, _, _) in WORKS.items():
        print(f"| {title}, {unit} | " + " | ".join(cell(r, c, work) for c in r.contenders) + " |")
    print("\n## Against the bars\n")
    bar_table(r)
    if r.data["crowd"]:
        crowd_table(r.data["crowd"])


def crowd_table(crowd):
    print("## One daemon with many peers\n")
    print("Each with a session; the stream goes to one more node.\n")
    print("| peers | memory before, MiB | memory under load, MiB | one TCP stream, Gb/s |")
    print("|---|---|---|---|")
    for c in crowd:
        print(f"| {c['peers']} | {c['idle_mib']:.1f} | {c['rss_mib']:.1f} | {c['tcp1']:.2f} |")


def readme(r):
    conditions(r)
    print("![p2pd beside other VPNs in user space: throughput, latency, memory and CPU](tests/bench/results.svg)\n")
    bar_table(r)


# --- The picture: a panel a work, a bar a contender

PANELS = ["tcp1", "tcp16", "both", "udp_1350", "udp_64", "rss_mib", "idle_us", "load_p95", "cpu_s_per_gb", "machine_s_per_gb"]
SHOWN = ["aegis", "chacha20", "relay", "relay-tls", "wireguard-go", "nebula", "fastd"]
COLUMNS, PANEL_W, GAP, BAR_H, BAR_STEP, LABEL_W, VALUE_W, HEAD_H = 2, 420, 36, 14, 20, 132, 62, 44
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .note { fill: #59636e; font-size: 11px }
  .bar { fill: #8c959f } .ours { fill: #1f6feb } .us { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 } .bar { fill: #656c76 } .ours { fill: #4493f8 }
  }
"""


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{html.escape(words)}</text>'


def panel(r, work, x, y):
    title, unit, digits, more = WORKS[work]
    values = [(c, r.median(c, work)) for c in SHOWN]
    values = [(c, v) for c, v in values if v is not None]
    bare = r.median("veth", work)
    note = f"{unit}, {'more' if more else 'less'} is better" + (f"; no VPN: {bare:.{digits}f}" if bare is not None else "")
    out = [text(x, y + 14, title, "title"), text(x, y + 31, note, "note")]
    longest = max((v for _, v in values), default=1) or 1
    for i, (c, v) in enumerate(values):
        top, ours = y + HEAD_H + i * BAR_STEP, NAMES[c].startswith("p2pd")
        width = max(1, (PANEL_W - LABEL_W - VALUE_W) * v / longest)
        out.append(text(x + LABEL_W - 8, top + 11, NAMES[c], "us" if ours else "", "end"))
        out.append(f'<rect x="{x + LABEL_W}" y="{top}" width="{width:.1f}" height="{BAR_H}" rx="2" class="bar{" ours" if ours else ""}"/>')
        out.append(text(x + LABEL_W + width + 6, top + 11, f"{v:.{digits}f}", "us" if ours else ""))
    return out


def picture(r):
    shown = [c for c in SHOWN if c in r.by]
    step = HEAD_H + len(shown) * BAR_STEP + 24
    rows = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * PANEL_W + (COLUMNS - 1) * GAP + 24, rows * step + 34
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
           f"<title>p2pd beside other VPNs in user space</title><style>{STYLE}</style>"]
    for i, work in enumerate(PANELS):
        out += panel(r, work, 12 + i % COLUMNS * (PANEL_W + GAP), 12 + i // COLUMNS * step)
    d = r.data
    out.append(text(12, height - 12, f"{d['date']}; {d['machine']}; Linux {d['kernel']}; medians of {d['rounds']} rounds", "note"))
    print("\n".join(out) + "\n</svg>")


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "results" and len(sys.argv) == 3:
        return results(sys.argv[2])
    if what not in ("table", "readme", "picture"):
        sys.exit(__doc__)
    {"table": table, "readme": readme, "picture": picture}[what](Results(json.load(sys.stdin)))


main()
