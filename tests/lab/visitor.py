#!/usr/bin/env python3
"""A visitor of forwarded ports whose service is service.py.

  visitor.py ask tcp|udp ADDR FIRST [COUNT] [--wait S]   asks each of the ports, all at once; prints, for each way it went,
                                  "TIMES WHAT": the address that the service saw, or refused, reset, closed, silent, unreachable,
                                  wrong (another port answered, or other bytes came back)
  visitor.py hold tcp|udp ADDR PORT [--every S]     one connection or flow, each S a message. Prints "MS SEEN" once, MS being
                                  the time and SEEN whom the service sees, "MS N" when message N came back, and at the end
                                  "MS refused|reset|closed|silent"
  visitor.py crowd ADDR PORT COUNT [--wait S]   so many TCP connections, 100 begun at a time. Prints "TIMES WHAT" as ask does
                                  when all are open or failed; on SIGUSR1 asks all that are open and prints "alive N"; keeps
                                  them until it is ended
  visitor.py push|pull ADDR PORT SECONDS   sends as fast as it goes; prints the bytes a second that were sent or came back
"""
import argparse, asyncio, collections, errno, resource, signal, socket, sys, time

SAID_AGAIN = 1.0  # a datagram that was not answered
TOGETHER = 100
WORDS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ETIMEDOUT: "silent",
         errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable", errno.EACCES: "unreachable"}


def now_ms():
    return int(time.time() * 1000)


def word_of(e):
    if isinstance(e, (asyncio.TimeoutError, TimeoutError)) and not getattr(e, "errno", None):
        return "silent"
    if isinstance(e, (EOFError, asyncio.IncompleteReadError)):
        return "closed"
    return WORDS.get(getattr(e, "errno", None)) or sys.exit(f"visitor: {e!r}")


def family_of(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def show(counts):
    for what, times in sorted(counts.items()):
        print(times, what, flush=True)


# --- TCP

async def greeted(addr, port, check=True):
    """A connection and whom the service sees."""
    reader, writer = await asyncio.open_connection(addr, port)
    try:
        words = (await reader.readline()).decode().split()
        if not words:
            raise EOFError
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer, words[0] if not check or words[2:] == [str(check)] else "wrong"


async def echoes(reader, writer, message):
    writer.write(message)
    return await reader.readexactly(len(message)) == message


async def ask_tcp(o, port, service_port):
    try:
        reader, writer, seen = await greeted(o.addr, port, service_port)
        good = await echoes(reader, writer, f"hello {port}\n".encode())
        writer.close()
        return seen if good else "wrong"
    except (OSError, EOFError) as e:
        return word_of(e)


# --- UDP

class Flow(asyncio.DatagramProtocol):
    def __init__(self):
        self.came = asyncio.Queue()

    def datagram_received(self, data, _):
        self.came.put_nowait((now_ms(), data))

    def error_received(self, e):
        self.came.put_nowait((now_ms(), e))


async def flow_to(addr, port):
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Flow, remote_addr=(addr, port), family=family_of(addr))


async def ask_udp(o, port, service_port):
    transport, flow = await flow_to(o.addr, port)
    message = f"hello {port}".encode()
    try:
        while True:
            transport.sendto(message)
            try:
                data = (await asyncio.wait_for(flow.came.get(), SAID_AGAIN))[1]
            except asyncio.TimeoutError:
                continue
            if isinstance(data, OSError):
                return word_of(data)
            seen, _, at, said = data.split(b" ", 3)
            return seen.decode() if said == message and at.decode() == str(service_port) else "wrong"
    finally:
        transport.close()


async def ask(o):
    async def one(port):
        try:
            return await asyncio.wait_for(way(o, port, port + o.apart), o.wait)
        except asyncio.TimeoutError:
            return "silent"
    way = {"tcp": ask_tcp, "udp": ask_udp}[o.proto]
    show(collections.Counter(await asyncio.gather(*map(one, range(o.port, o.port + o.count)))))


# --- Held

def told(*words):
    print(now_ms(), *words, flush=True)


async def hold_tcp(o):
    async def listen():
        while line := await reader.readline():
            told(line.decode().strip())
        raise EOFError
    try:
        reader, writer, seen = await greeted(o.addr, o.port, False)
        told(seen)
        listening = asyncio.create_task(listen())
        for n in range(1 << 30):
            writer.write(b"%d\n" % n)
            done, _ = await asyncio.wait([listening], timeout=o.every)
            if done:
                await listening
    except (OSError, EOFError) as e:
        told(word_of(e))


async def hold_udp(o):
    transport, flow = await flow_to(o.addr, o.port)
    seen = None
    for n in range(1 << 30):
        transport.sendto(b"%d" % n)
        until = time.monotonic() + o.every
        while (left := until - time.monotonic()) > 0:
            try:
                at, data = await asyncio.wait_for(flow.came.get(), left)
            except asyncio.TimeoutError:
                break
            if isinstance(data, OSError):
                continue  # a datagram is refused; the next need not be
            words = data.decode().split()
            if not seen:
                seen = words[0]
                print(at, seen, flush=True)
            print(at, words[3], flush=True)


async def hold(o):
    await {"tcp": hold_tcp, "udp": hold_udp}[o.proto](o)


# --- Many

async def crowd(o):
    async def one():
        async with turn:
            try:
                kept.append(await asyncio.wait_for(greeted(o.addr, o.port, False), o.wait))
                return kept[-1][2]
            except (OSError, EOFError, asyncio.TimeoutError) as e:
                return word_of(e)

    async def alive():
        async def one(c):
            try:
                return await asyncio.wait_for(echoes(c[0], c[1], b"still there\n"), o.wait)
            except (OSError, EOFError, asyncio.TimeoutError):
                return False
        print("alive", sum(await asyncio.gather(*map(one, kept))), flush=True)
    kept, turn = [], asyncio.Semaphore(TOGETHER)
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    show(collections.Counter(await asyncio.gather(*(one() for _ in range(o.count)))))
    print("done", flush=True)
    while True:
        await asked.wait()
        asked.clear()
        await alive()


# --- As fast as it goes

def push(o):
    """Bytes that the kernel took; what waits in its queues at the end is little beside them."""
    with socket.create_connection((o.addr, o.port)) as s:
        return flood(o, s, lambda: s.send(b"x" * 65536))


def pull(o):
    """The echo reads no faster than it can send, so half of it goes each way."""
    import threading
    with socket.create_connection((o.addr, o.port)) as s:
        def send():
            try:
                while True:
                    s.sendall(b"x" * 16384)
            except OSError:
                pass
        threading.Thread(target=send, daemon=True).start()
        return flood(o, s, lambda: len(s.recv(65536)))


def flood(o, s, step):
    s.settimeout(o.seconds)
    moved, start = 0, time.monotonic()
    try:
        while time.monotonic() < start + o.seconds:
            moved += step()
    except TimeoutError:
        pass
    print(int(moved / (time.monotonic() - start)))


def main():
    p = argparse.ArgumentParser()
    commands = p.add_subparsers(dest="command", required=True)
    for name in ("ask", "hold", "crowd", "push", "pull"):
        c = commands.add_parser(name)
        if name in ("ask", "hold"):
            c.add_argument("proto", choices=("tcp", "udp"))
        c.add_argument("addr")
        c.add_argument("port", type=int)
        if name in ("ask", "crowd"):
            c.add_argument("count", type=int, nargs="?", default=1)
            c.add_argument("--wait", type=float, default=10)
        if name == "ask":
            c.add_argument("--apart", type=int, default=0, help="the service's port less the visitor's")
        if name == "hold":
            c.add_argument("--every", type=float, default=0.05)
        if name in ("push", "pull"):
            c.add_argument("seconds", type=float)
    o = p.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if o.command in ("push", "pull"):
        {"push": push, "pull": pull}[o.command](o)
    else:
        asyncio.run({"ask": ask, "hold": hold, "crowd": crowd}[o.command](o))


main()
