#!/usr/bin/env python3
"""What the NAT between two hosts of the lab does, seen by a probe that shares no code with the project.

  probe.py serve IP1 IP2          answers on two addresses and two ports each
  probe.py check IP1 IP2          prints "RTT_MS MAPPING FILTERING" in the words of RFC 4787, and ALLOCATION
  probe.py allocate IP N          ALLOCATION by N sockets, opened one after the other: "preserving", or "step D" when
                                  D lies between each and the next, else "random LEAST MOST"
  probe.py hold IP SECONDS        prints "same" if a socket that sent nothing for so long has its mapped port still
  probe.py flows IP N             prints how many of N sockets get an answer
  probe.py flood IP N             sends N datagrams, prints "ANSWERED OUT_OF_ORDER"
  probe.py knock MY_PORT IP:PORT [BYTES]   sends one datagram (of that many bytes, never in fragments) from MY_PORT;
                                  prints what comes within a second, else "refused" (ICMP) or "silence"
"""
import socket, sys, time

PORTS = (3478, 3479)
SILENCE, FLOOD_SILENCE = 0.4, 1.0
SAMPLES = 32


def udp(ip="0.0.0.0", port=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ip, port))
    return s


def serve(ips):
    import selectors
    at = {(i, p): udp(ip, port) for i, ip in enumerate(ips) for p, port in enumerate(PORTS)}
    sel = selectors.DefaultSelector()
    for key, s in at.items():
        sel.register(s, selectors.EVENT_READ, key)
    while True:
        for k, _ in sel.select():
            (i, p), (data, peer) = k.data, k.fileobj.recvfrom(2048)
            # Asked "01": answer from the same address (0) and the other port (1). What follows is sent back.
            change_ip, change_port = data[0] - 48, data[1] - 48
            at[(i ^ change_ip, p ^ change_port)].sendto(f"{peer[0]}:{peer[1]}".encode() + data[2:40], peer)


def ask(s, to, change="00"):
    s.settimeout(SILENCE)
    for _ in range(2):
        s.sendto(change.encode(), to)
        try:
            return s.recv(64).decode()
        except TimeoutError:
            pass
    return None


def mapping(ips):
    s = udp()
    first = ask(s, (ips[0], PORTS[0]))
    if first is None:
        return "blocked"
    if ask(s, (ips[1], PORTS[0])) == first:
        return "independent"
    return "address" if ask(s, (ips[0], PORTS[1])) == first else "address-and-port"


def filtering(ips):
    """One fresh socket for each question: an answer opens the filter for the next."""
    for change, name in (("11", "independent"), ("01", "address"), ("00", "address-and-port")):
        if ask(udp(), (ips[0], PORTS[0]), change):
            return name
    return "blocked"


def rtt(ips):
    s, best = udp(), 1e9
    for _ in range(5):
        start = time.monotonic()
        if ask(s, (ips[0], PORTS[0])):
            best = min(best, time.monotonic() - start)
    return best * 1000


def port_of(answer):
    return int(answer.rsplit(":", 1)[1])


def allocate(ip, count):
    sockets, mapped = [udp() for _ in range(count)], []
    for s in sockets:
        mapped.append(port_of(ask(s, (ip, PORTS[0]))))
    if mapped == [s.getsockname()[1] for s in sockets]:
        return "preserving"
    steps = {b - a for a, b in zip(mapped, mapped[1:])}
    return f"step {steps.pop()}" if len(steps) == 1 else f"random {min(mapped)} {max(mapped)}"


def hold(ip, seconds):
    s = udp()
    before = ask(s, (ip, PORTS[0]))
    time.sleep(float(seconds))
    return "same" if ask(s, (ip, PORTS[0])) == before else "another"


def flows(ip, count):
    sockets = [udp() for _ in range(count)]
    for s in sockets:
        s.sendto(b"00", (ip, PORTS[0]))
    time.sleep(SILENCE)
    answered = 0
    for s in sockets:
        s.setblocking(False)
        try:
            answered += len(s.recv(64)) > 0
        except BlockingIOError:
            pass
    return answered


def knock(port, to, size=2):
    ip, to_port = to.rsplit(":", 1)
    s = udp(port=int(port))
    s.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE
    s.connect((ip, int(to_port)))
    s.settimeout(1)
    try:
        s.send(b"00".ljust(int(size)))
        return s.recv(64).decode().strip()
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"


def flood(ip, count):
    s, seen, sent = udp(), [], 0
    while sent < count or len(seen) < count:
        if sent < count:
            s.sendto(f"00 {sent}".encode(), (ip, PORTS[0]))
            sent += 1
        s.settimeout(0.001 if sent < count else FLOOD_SILENCE)
        try:
            seen.append(int(s.recv(64).split()[1]))
        except TimeoutError:
            if sent == count:
                break
    return len(seen), sum(a > b for a, b in zip(seen, seen[1:]))


def main(what, *args):
    if what == "serve":
        serve(args)
    elif what == "check":
        m = mapping(args)
        through = m != "blocked"
        took, ports = (f"{rtt(args):.1f}", allocate(args[0], SAMPLES)) if through else "--"
        print(took, m, filtering(args), ports)
    elif what == "flood":
        print(*flood(args[0], int(args[1])))
    elif what == "allocate":
        print(allocate(args[0], int(args[1])))
    elif what == "hold":
        print(hold(*args))
    elif what == "flows":
        print(flows(args[0], int(args[1])))
    elif what == "knock":
        print(knock(*args))


main(*sys.argv[1:])
