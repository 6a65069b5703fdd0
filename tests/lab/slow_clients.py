#!/usr/bin/env python3
"""Clients that hold what they can get of a hub, and one that asks its API properly. Each prints a line of JSON.

  slow_clients.py bad ADDRESS PORT TOKEN SECONDS COUNT

COUNT connections of each kind: `silent` (TCP, and no TLS), `slow` (a request of one byte a second), `idle` (TLS, and no
request), `deaf` (asks for much at once, reads nothing). How many of the first three the hub has ended.

  slow_clients.py good ADDRESS PORT TOKEN SECONDS

How often it asked, each time over a new connection, how many were not answered with 200, and at what the slowest hundredth
begins (ms).
"""
import asyncio, json, ssl, sys, time

what, address, port, token, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
DEAF_S = 8
ended = dict.fromkeys(("silent", "slow", "idle"), 0)
times, failed = [], 0
until = time.monotonic() + seconds
request = f"GET /api/v1/health HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
many = f"GET /api/v1/openapi.json HTTP/1.1\r\nHost: {address}\r\n\r\n".encode() * 200


async def wait_for_end(kind, reader):
    """An end, or an answer, after which there is an end."""
    try:
        await asyncio.wait_for(reader.read(), max(0.0, until - time.monotonic()))
        ended[kind] += 1
    except asyncio.TimeoutError:
        pass


async def bad(kind):
    try:
        reader, writer = await asyncio.open_connection(address, port, ssl=None if kind == "silent" else context,
                                                       limit=1024)
        if kind == "deaf":
            writer.transport.pause_reading()
            writer.write(many)
            await asyncio.sleep(DEAF_S)
        elif kind == "slow":
            waiting = asyncio.create_task(wait_for_end(kind, reader))
            for i in range(len(request)):
                writer.write(request[i:i + 1])
                await asyncio.sleep(1)
                if waiting.done() or time.monotonic() > until:
                    break
            await waiting
        else:
            await wait_for_end(kind, reader)
        writer.transport.abort()
    except (OSError, ssl.SSLError):
        ended[kind] += 1


async def good():
    global failed
    while time.monotonic() < until:
        start = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection(address, port, ssl=context)
            writer.write(request)
            status = await reader.readline()
            failed += b" 200 " not in status
            writer.transport.abort()
        except OSError:
            failed += 1
        times.append((time.monotonic() - start) * 1000)
        await asyncio.sleep(0.05)


async def main():
    if what == "bad":
        await asyncio.gather(*(bad(kind) for kind in (*ended, "deaf") for _ in range(int(sys.argv[6]))))
        print(json.dumps(ended))
        return
    await good()
    times.sort()
    print(json.dumps({"asked": len(times), "failed": failed, "p99_ms": round(times[len(times) * 99 // 100])}))


asyncio.run(main())
