#!/usr/bin/env python3
"""The works of one contender in one round (tests/bench/data.sh): measured here, one line of JSON on stdout.

The namespaces a and b are there; a reaches b at --to. In this order:

  idle_us      median round trip of pings, 5 ms apart, in us
  tcp1         Gb/s of one TCP stream, a to b (iperf3 with CUBIC, what the receiver got)
  cpu_s_per_gb CPU seconds (user and system) that the daemons took for each GB of that stream
  machine_s_per_gb the same for the whole machine: all that was not idle, iperf3 and the kernel's interrupts too
  tcp16        Gb/s of 16 TCP streams, a to b
  both         Gb/s of one TCP stream in each direction at once, their sum
  load_ms      round trips of pings, 10 ms apart, while one TCP stream saturates: p50, p95, p99; load_lost of them lost
  udp_1350     Gb/s of UDP datagrams of 1350 bytes that reach the application, counted by their payload
  udp_64       thousands of UDP datagrams of 64 bytes a second that reach the application
  overtaken    datagrams of these floods that came before one that had been sent earlier
  rss_kb       the largest resident set of a daemon (of either end) seen while the TCP and UDP works ran

Floods (tests/bench/flood.c): sender, daemons and receiver share the cores, so a sender that never waits starves the
daemons, and one that is slow measures itself. So the sender is paced, and the best that is delivered at any rate counts.
In round 0 the rate climbs by STEP to SURE_RATE, and on until what is delivered stays well below the best; every round then tries the best
rate so far and some above and below (NEAR), and goes on from what was best; the same for every contender."""
import argparse, contextlib, itertools, json, os, re, subprocess, sys, threading, time

# The kernel's default, wherever this runs: a machine set to BBR paces a stream by a model of the path, which caps it.
CUBIC = ("-C", "cubic")
SMALL, LARGE = 64, 1350
FIRST_RATE, STEP, SURE_RATE, LAST_RATE = 15000, 1.4, 120000, 800000
NEAR = (1 / 1.4, 1 / 1.18, 1, 1.18, 1.4)
TICK = os.sysconf("SC_CLK_TCK")


def inside(host, *command):
    return ["nsenter", f"--net=/run/netns/{host}", "--", *command]


def run(host, *command):
    p = subprocess.run(inside(host, *map(str, command)), capture_output=True, text=True, timeout=60)
    if p.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {p.stdout[-400:]}{p.stderr}")
    return p.stdout


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


# --- What it costs

def cpu_of(pids):
    """CPU seconds of processes: fields 14 and 15 of /proc/PID/stat."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def cpu_of_machine():
    with open("/proc/stat") as f:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def rss_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M).group(1))


@contextlib.contextmanager
def watched(pids, seen):
    """Adds to `seen` the resident sets of the processes, ten times a second."""
    done = threading.Event()

    def watch():
        while not done.wait(0.1):
            seen.extend(map(rss_of, pids))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# --- Works

ports = itertools.count(5300)  # one each: what is left in the queues of one run is nothing to the next


def serve():
    """The port of a new iperf3 server for one run."""
    port = next(ports)
    subprocess.Popen(inside("b", "iperf3", "-s", "-1", "-p", str(port)), stdout=subprocess.DEVNULL)
    for _ in range(500):
        if run("b", "ss", "-Hltn", f"sport = :{port}"):
            return port
        time.sleep(0.01)
    sys.exit("iperf3 does not listen")


def tcp(o, *more):
    end = json.loads(run("a", "iperf3", *CUBIC, "-c", o.to, "-p", serve(), "-t", o.duration, "-J", *more))["end"]
    sums = [end[s] for s in ("sum_received", "sum_received_bidir_reverse") if s in end]
    return sum(s["bits_per_second"] for s in sums) / 1e9, sum(s["bytes"] for s in sums)


def pings(o, gap, seconds):
    out = run("a", "ping", "-i", gap, "-c", int(seconds / gap), "-W", 1, o.to)
    times = [float(t) for t in re.findall(r"time=([\d.]+) ms", out)]
    if not times:
        sys.exit(f"no answer to pings:\n{out[-400:]}")
    return times, int(seconds / gap) - len(times)


def one_stream(o, r):
    cpu, machine = cpu_of(o.daemon + o.helper), cpu_of_machine()
    r["tcp1"], count = tcp(o)
    r["cpu_s_per_gb"] = (cpu_of(o.daemon + o.helper) - cpu) / (count / 1e9)
    r["machine_s_per_gb"] = (cpu_of_machine() - machine) / (count / 1e9)


def under_load(o, r):
    """The stream goes on until the last ping is answered, however long that takes."""
    stream = subprocess.Popen(inside("a", "iperf3", *CUBIC, "-c", o.to, "-p", str(serve()), "-t", "60"),
                              stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    times, r["load_lost"] = pings(o, 0.01, o.duration)
    if stream.poll() is not None:
        sys.exit("the stream failed that was to be the load")
    stream.terminate()
    stream.wait()
    r["load_ms"] = [quantile(times, q) for q in (0.5, 0.95, 0.99)]


# --- Floods

def flood(o, size, rate, seconds):
    """Datagrams that were delivered each second, and how many overtook another."""
    port = next(ports)
    receiver = subprocess.Popen(inside("b", o.flood, "recv", str(port), str(seconds)), stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)
    run("a", o.flood, "send", o.to, port, size, round(rate), seconds)
    count, overtaken = map(int, re.findall(r"\d+", receiver.communicate()[0]))
    return count / seconds, overtaken


def climb(o, size):
    best = best_rate = worse = 0
    rate = FIRST_RATE
    while rate <= LAST_RATE and (rate < SURE_RATE or (rate < 4 * best and worse < 2)):
        got, _ = flood(o, size, rate, 0.5)
        worse = worse + 1 if got < 0.75 * best else 0
        if got > best:
            best, best_rate = got, rate
        rate *= STEP
    return best_rate


def best_flood(o, r, rates, size):
    found = rates.setdefault(o.contender, {})
    around = found.get(str(size)) or climb(o, size)
    tries = [(*flood(o, size, rate, o.duration / 2), rate) for rate in (around * near for near in NEAR)]
    best, _, found[str(size)] = max(tries)
    r["overtaken"] = r.get("overtaken", 0) + sum(t[1] for t in tries)
    return best


def floods(o, r):
    rates = {}
    if os.path.exists(o.rates):
        with open(o.rates) as f:
            rates = json.load(f)
    r["udp_1350"] = best_flood(o, r, rates, LARGE) * LARGE * 8 / 1e9
    r["udp_64"] = best_flood(o, r, rates, SMALL) / 1e3
    r["rates"] = {size: round(rate) for size, rate in rates[o.contender].items()}
    with open(o.rates, "w") as f:
        json.dump(rates, f)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--round", type=int)
    p.add_argument("--contender")
    p.add_argument("--to")
    p.add_argument("--duration", type=int)
    p.add_argument("--rates")
    p.add_argument("--flood")
    p.add_argument("--daemon", action="append", default=[])
    p.add_argument("--helper", action="append", default=[])
    o = p.parse_args()
    r, seen = {"round": o.round, "contender": o.contender}, []
    r["idle_us"] = 1000 * quantile(pings(o, 0.005, o.duration / 2)[0], 0.5)
    with watched(o.daemon, seen):
        one_stream(o, r)
        r["tcp16"] = tcp(o, "-P", 16)[0]
        r["both"] = tcp(o, "--bidir")[0]
        under_load(o, r)
        floods(o, r)
    if seen:
        r["rss_kb"] = max(seen)
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()}))


main()
