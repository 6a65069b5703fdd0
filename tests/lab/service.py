#!/usr/bin/env python3
"""A service that tells whom it sees, for tests of port forwarding: TCP and UDP on a range of ports, in one thread.

  service.py [--bind ADDR] [--only tcp|udp] [--proxy] [--mute] FIRST [COUNT]

TCP: a new connection gets the line "PEER PEER-PORT PORT", then whatever it sends comes back. UDP: each datagram comes back
behind "PEER PEER-PORT PORT " (PORT: the service's). --proxy: a PROXY protocol v2 header comes first, before the bytes of a
connection and in each datagram, and PEER is who stands there; without one the connection is ended. --mute: takes connections
and says nothing. Each connection and each flow of datagrams that is new is a line in the log: "tcp PORT PEER", at its end
"end tcp PORT PEER".
"""
import argparse, errno, ipaddress, resource, select, socket, struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BACKLOG, PIECE, FLOWS_TOLD = 4096, 65536, 20000


def name_of(ip):
    """Without the dress that an IPv4 address wears on a socket for both families."""
    a = ipaddress.ip_address(ip.split("%")[0])
    return str(getattr(a, "ipv4_mapped", None) or a)


def read_header(data):
    """((PEER, PORT), length) of the PROXY v2 header that `data` begins with; None: not all of it is there yet."""
    if data[:12] != SIGNATURE[:len(data)]:
        raise ValueError("no PROXY v2 header")
    if len(data) < 16:
        return None
    version, family, size = struct.unpack("!BBH", data[12:16])
    if len(data) < 16 + size:
        return None
    body = data[16:16 + size]
    width = {1: 4, 2: 16}.get(family >> 4)
    if version != 0x21 or not width:
        raise ValueError(f"not a PROXY v2 header: {version:#x} {family:#x}")
    ip = ipaddress.ip_address(body[:width])
    return (str(ip), struct.unpack("!H", body[2 * width:2 * width + 2])[0]), 16 + size


class Connection:
    def __init__(self, service, sock, peer, port):
        self.service, self.sock, self.port = service, sock, port
        self.peer = None
        self.got, self.out = b"", b""
        self.mask = select.EPOLLIN
        if not service.options.proxy:
            self.begin(name_of(peer[0]), peer[1])

    def begin(self, peer, peer_port):
        self.peer = peer
        self.service.log(f"tcp {self.port} {peer}")
        if not self.service.options.mute:
            self.out += f"{peer} {peer_port} {self.port}\n".encode()

    def take_header(self, data):
        self.got += data
        header = read_header(self.got)
        if not header:
            return b""
        self.begin(*header[0])
        return self.got[header[1]:]

    def on_event(self, events):
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            data = self.sock.recv(PIECE)
            if not data:
                raise EOFError
            if not self.peer:
                data = self.take_header(data)
            if not self.service.options.mute:
                self.out += data
        self.flush()

    def flush(self):
        try:
            while self.out:
                self.out = self.out[self.sock.send(self.out):]
        except BlockingIOError:
            pass
        mask = select.EPOLLOUT if self.out else select.EPOLLIN
        if mask != self.mask:
            self.mask = mask
            self.service.epoll.modify(self.sock, mask)


class Service:
    def __init__(self, options):
        self.options, self.epoll = options, select.epoll()
        self.listeners, self.datagrams, self.connections = {}, {}, {}
        self.told = set()

    def log(self, line):
        print(line, flush=True)

    def socket(self, kind, port):
        bind = self.options.bind
        s = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((bind, port))
        s.setblocking(False)
        self.epoll.register(s, select.EPOLLIN)
        return s

    def listen(self, port):
        if self.options.only != "udp":
            s = self.socket(socket.SOCK_STREAM, port)
            s.listen(BACKLOG)
            self.listeners[s.fileno()] = s, port
        if self.options.only != "tcp":
            s = self.socket(socket.SOCK_DGRAM, port)
            self.datagrams[s.fileno()] = s, port

    def accept(self, listener, port):
        for _ in range(64):
            try:
                sock, peer = listener.accept()
            except OSError as e:
                if e.errno in (errno.EAGAIN, errno.ECONNABORTED):
                    return
                raise
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c = Connection(self, sock, peer, port)
            self.connections[sock.fileno()] = c
            self.epoll.register(sock, c.mask)
            self.serve(sock.fileno(), c.flush)

    def serve(self, fd, step, *args):
        c = self.connections[fd]
        try:
            step(*args)
        except (OSError, EOFError, ValueError) as e:
            self.log(f"end tcp {c.port} {c.peer} {type(e).__name__} {e}")
            del self.connections[fd]
            self.epoll.unregister(fd)
            c.sock.close()

    def answer(self, sock, port):
        for _ in range(64):
            try:
                data, to = sock.recvfrom(PIECE)
            except OSError:
                return
            peer, header = (name_of(to[0]), to[1]), b""
            if self.options.proxy:
                try:
                    peer, size = read_header(data)
                except (ValueError, TypeError):
                    self.log(f"bad udp {port}")
                    continue
                header, data = data[:size], data[size:]
            if (peer, port) not in self.told and len(self.told) < FLOWS_TOLD:
                self.told.add((peer, port))
                self.log(f"udp {port} {peer[0]}")
            if not self.options.mute:
                sock.sendto(f"{peer[0]} {peer[1]} {port} ".encode() + data, to)

    def run(self):
        while True:
            for fd, events in self.epoll.poll():
                if fd in self.listeners:
                    self.accept(*self.listeners[fd])
                elif fd in self.datagrams:
                    self.answer(*self.datagrams[fd])
                elif fd in self.connections:
                    self.serve(fd, self.connections[fd].on_event, events)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bind", default="0.0.0.0")
    p.add_argument("--only", choices=("tcp", "udp"))
    p.add_argument("--proxy", action="store_true")
    p.add_argument("--mute", action="store_true")
    p.add_argument("first", type=int)
    p.add_argument("count", type=int, nargs="?", default=1)
    options = p.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    service = Service(options)
    for port in range(options.first, options.first + options.count):
        service.listen(port)
    service.log(f"ready {options.first} {options.count}")
    service.run()


main()
