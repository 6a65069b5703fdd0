#!/usr/bin/env python3
"""What other users of the lab's routers do, and what it costs the router.

  flows.py noise IP PORT RATE     RATE new UDP flows a second, one datagram each, at random times; nobody answers
  flows.py foreign IP PORT COUNT  COUNT flows, each sends a datagram a second to an echo server, every fifth from a new
                                  socket after 10 s. Until SIGTERM; then prints "SENT LOST"
  flows.py echo PORT              that server
  flows.py entries                watches the connection tracking table. Until SIGTERM; then prints the most seen
"""
import random, selectors, signal, socket, sys, time

RENEWED_EVERY, RENEWED_AFTER = 5, 10
LATE = 1.0


ended = []


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


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
        for _ in range(count):
            self.flows.append(self.open())

    def open(self):
        s = udp()
        s.connect(self.to)
        s.setblocking(False)
        self.sel.register(s, selectors.EVENT_READ)
        return s

    def renew(self, i):
        # Its last answer came long before: it sent a second ago.
        self.sel.unregister(self.flows[i])
        self.flows[i].close()
        self.flows[i] = self.open()

    def take_answers(self, until):
        while (left := until - time.monotonic()) > 0:
            for key, _ in self.sel.select(left):
                try:
                    self.answered += len(key.fileobj.recv(64)) > 0
                except OSError:
                    pass

    def run(self):
        start, n = time.monotonic(), len(self.flows)
        while not ended:
            second, i = divmod(self.sent, n)
            if i % RENEWED_EVERY == 0 and second and (second + i // RENEWED_EVERY) % RENEWED_AFTER == 0:
                self.renew(i)
            try:
                self.flows[i].send(b"foreign")
            except OSError:
                pass
            self.sent += 1
            self.take_answers(start + self.sent / n)


def foreign(ip, port, count):
    f = Foreign(ip, port, int(count))
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    f.run()
    f.take_answers(time.monotonic() + LATE)
    print(f.sent, f.sent - f.answered)


def entries():
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    most = 0
    while not ended:
        with open("/proc/sys/net/netfilter/nf_conntrack_count") as f:
            most = max(most, int(f.read()))
        time.sleep(0.02)
    print(most)


{"noise": noise, "foreign": foreign, "echo": echo, "entries": entries}[sys.argv[1]](*sys.argv[2:])
