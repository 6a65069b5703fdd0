#!/usr/bin/env python3
"""Traffic through the tunnel between two hosts of the lab, and the way that it takes, seen by the internet itself.

  traffic.py run A B IP BYTES     every 20 ms host A sends a datagram of so many bytes to B, at the overlay address IP,
                                  which sends it back. Until it is ended; one line for each event:
                                      answer SENT RECEIVED      sent and received, ms since 1970
                                      pass TIME FROM TO         a packet of that size passes between two sites' cables
                                  Pairs are told apart by BYTES: 100 or more should be between any two
  traffic.py after LOG SINCE      prints "ANSWERED DIRECT LOST": ms from SINCE until a datagram that was sent since then
                                  was answered; until one was and such packets had passed both ways; and how many of
                                  those sent since then, but in the last second, had no answer. "-" for never
"""
import ctypes, os, selectors, socket, struct, sys, time

EVERY_MS = 20
OUTER_LEAST, OUTER_MOST = 40, 140  # what a tunnel adds to a datagram's bytes
HUB = {socket.inet_aton(ip) for ip in ("198.51.100.10", "203.0.113.10")}


def in_host(host, make):
    """Sockets stay in the namespace in which they were made."""
    with open(f"/run/netns/{host}") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), host)
    return make()


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", 0))
    return s


def now_ms():
    return int(time.time() * 1000)


def say(*words):
    print(*words, flush=True)


class Traffic:
    def __init__(self, a, b, ip, size):
        self.size = int(size)
        self.wire = in_host("inet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
        self.client, self.server = in_host(a, udp), in_host(b, udp)
        self.to = (ip, self.server.getsockname()[1])
        self.sel = selectors.DefaultSelector()
        for s, take in ((self.wire, self.on_wire), (self.client, self.on_answer), (self.server, self.on_question)):
            self.sel.register(s, selectors.EVENT_READ, take)

    def on_wire(self):
        packet, (device, protocol, kind, *_) = self.wire.recvfrom(64, socket.MSG_TRUNC)[0:2]
        if kind != socket.PACKET_OUTGOING or protocol != 0x0800 or len(packet) < 28 or packet[9] != socket.IPPROTO_UDP:
            return
        length, source, target = struct.unpack("!2xH8x4s4s", packet[:20])
        if OUTER_LEAST <= length - self.size <= OUTER_MOST and source not in HUB and target not in HUB:
            say("pass", now_ms(), socket.inet_ntoa(source), socket.inet_ntoa(target))

    def on_answer(self):
        say("answer", struct.unpack("!Q", self.client.recv(2048)[:8])[0], now_ms())

    def on_question(self):
        data, peer = self.server.recvfrom(2048)
        self.try_send(self.server, data, peer)

    def try_send(self, s, data, to):
        try:
            s.sendto(data, to)
        except OSError:
            pass

    def run(self):
        due = now_ms()
        while True:
            self.try_send(self.client, struct.pack("!Q", now_ms()).ljust(self.size), self.to)
            due += EVERY_MS
            while (left := due - now_ms()) > 0:
                for key, _ in self.sel.select(left / 1000):
                    try:
                        key.data()
                    except OSError:
                        pass


def after(log, since):
    since, answers, ways = int(since), [], {}
    with open(log) as f:
        for word, *rest in map(str.split, f):
            if word == "answer" and int(rest[0]) >= since:
                answers.append((int(rest[1]), int(rest[0])))
            elif word == "pass" and int(rest[0]) >= since:
                ways.setdefault(tuple(rest[1:]), int(rest[0]))
    both = [max(t, ways[(b, a)]) for (a, b), t in ways.items() if (b, a) in ways]
    direct = [got for got, _ in answers if both and got >= min(both)]
    until = now_ms() - 1000
    sent, answered = (until - since) // EVERY_MS, sum(at < until for _, at in answers)
    say(answers[0][0] - since if answers else "-", direct[0] - since if direct else "-", max(0, sent - answered))


if sys.argv[1] == "run":
    Traffic(*sys.argv[2:]).run()
else:
    after(*sys.argv[2:])
