#!/usr/bin/env python3
"""What other users of the lab's routers do, and what it costs the router.

  flows.py noise IP PORT RATE     RATE new UDP flows a second, one datagram each, at random times; nobody answers
  flows.py foreign IP PORT COUNT  COUNT flows, each sends a datagram a second to an echo server, every fifth from a new
                                  socket after 10 s. Until SIGTERM; then prints "SENT LOST LATEST": lost is what was not
                                  answered at all, the latest answer came after so many ms
  flows.py echo PORT              that server
  flows.py entries                watches the connection tracking table. Until SIGTERM; then prints the most seen
"""
import random, selectors, signal, socket, struct, sys, time

RENEWED_EVERY, RENEWED_AFTER = 5, 10
# A machine that stood still for seconds has lost nothing, as long as all that waited meanwhile has room somewhere.
LATE = 8.0
ROOM, SO_RCVBUFFORCE = 8 << 20, 33

ended = []


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    return s


def noise(ip, port, rate):
    due = time.monotonic()
    while True:
        due += random.expovariate(float(rate))
        time.sleep(max(0, due - time.monotonic()))
        with udp() as s:
            s.sendto(b"noise", (ip, int(port)))


def echo(port):
    s = udp()
    s.bind(("0.0.0.0", int(port)))
    while True:
        data, peer = s.recvfrom(64)
        s.sendto(data, peer)


class Foreign:
    def __init__(self, ip, port, count):
        self.to, self.sel, self.flows = (ip, int(port)), selectors.DefaultSelector(), []
        self.sent = self.answered = 0
        self.latest = 0.0
        self.old = []
        for _ in range(count):
            self.flows.append(self.open())

    def open(self):
        s = udp()
        s.connect(self.to)
        s.setblocking(False)
        self.sel.register(s, selectors.EVENT_READ)
        return s

    def renew(self, i):
        # The old socket says no more, but hears: its last answer may be late.
        self.old.append((time.monotonic() + LATE, self.flows[i]))
        self.flows[i] = self.open()
        while self.old[0][0] < time.monotonic():
            s = self.old.pop(0)[1]
            self.sel.unregister(s)
            s.close()

    def send(self, i):
        try:
            self.flows[i].send(struct.pack("!d", time.monotonic()))
        except OSError:
            pass
        self.sent += 1

    def take_answers(self, until):
        """At least those that are here already."""
        left = 0.0
        while left >= 0:
            left = until - time.monotonic()
            for key, _ in self.sel.select(max(0, left)):
                try:
                    (sent,) = struct.unpack("!d", key.fileobj.recv(64))
                except OSError:
                    continue
                self.answered += 1
                self.latest = max(self.latest, time.monotonic() - sent)

    def run(self):
        start, n = time.monotonic(), len(self.flows)
        while not ended:
            second, i = divmod(self.sent, n)
            if i % RENEWED_EVERY == 0 and second and (second + i // RENEWED_EVERY) % RENEWED_AFTER == 0:
                self.renew(i)
            self.send(i)
            self.take_answers(start + self.sent / n)

    def wait_for_the_rest(self):
        end = time.monotonic() + LATE
        while self.answered < self.sent and time.monotonic() < end:
            self.take_answers(time.monotonic() + 0.1)


def foreign(ip, port, count):
    f = Foreign(ip, port, int(count))
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    f.run()
    f.wait_for_the_rest()
    print(f.sent, f.sent - f.answered, int(f.latest * 1000))


def entries():
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    most = 0
    while not ended:
        with open("/proc/sys/net/netfilter/nf_conntrack_count") as f:
            most = max(most, int(f.read()))
        time.sleep(0.02)
    print(most)


{"noise": noise, "foreign": foreign, "echo": echo, "entries": entries}[sys.argv[1]](*sys.argv[2:])
