#!/usr/bin/env python3
"""How long a node takes to reach a peer, and to reach it directly, from now on.

  trial.py P2PD SOCKET PEER LIMIT     P2PD is the program, SOCKET the node's, LIMIT seconds to give up after

Pings without end are the traffic; they say when the first answer came and that one came directly. How the path became
direct is read from the daemon's status every 20 ms, for the pings are 200 ms apart. Prints one line of JSON:
first_ms, direct_ms (null: never), first_path, technique.
"""
import http.client, json, socket, subprocess, sys, threading, time

POLL = 0.02


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def path_to(sock, peer):
    try:
        c = Unix(sock, timeout=2)
        c.request("GET", "/v1/status", headers={"Host": "p2pd"})
        peers = json.load(c.getresponse())["peers"]
        c.close()
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return {}
    return next((p["path"] for p in peers if p["name"] == peer), {})


class Trial:
    def __init__(self, program, sock, peer, limit):
        self.words = [program, "ping", peer, "-c", "10000", "-W", "1", "--socket", sock]
        self.sock, self.peer, self.limit = sock, peer, float(limit)
        self.first = self.direct = self.pinger = None
        self.technique = self.first_path = None
        self.pong_direct = self.over = False
        self.start = time.monotonic()

    def ms(self):
        return round((time.monotonic() - self.start) * 1000)

    def ping(self):
        # It ends at once while the peer is not known yet.
        while not self.over:
            self.pinger = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for line in self.pinger.stdout:
                self.on_line(line)
            self.pinger.wait()
            time.sleep(POLL)

    def on_line(self, line):
        if not line.startswith("pong"):
            return
        relayed = "via relay" in line
        if self.first is None:
            self.first, self.first_path = self.ms(), "relay" if relayed else "direct"
        self.pong_direct |= not relayed

    def run(self):
        thread = threading.Thread(target=self.ping, daemon=True)
        thread.start()
        while self.ms() < self.limit * 1000 and not (self.direct is not None and self.pong_direct):
            path = path_to(self.sock, self.peer)
            if path.get("kind") == "direct" and self.direct is None:
                self.direct, self.technique = self.ms(), path["technique"]
            time.sleep(POLL)
        self.over = True
        if self.pinger:
            self.pinger.terminate()
        thread.join(5)

    def result(self):
        done = self.direct is not None and self.pong_direct
        return {"first_ms": self.first, "direct_ms": self.direct if done else None,
                "first_path": self.first_path, "technique": self.technique if done else None}


t = Trial(*sys.argv[1:])
t.run()
print(json.dumps(t.result()))
