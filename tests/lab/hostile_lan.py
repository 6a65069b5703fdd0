#!/usr/bin/env python3
"""A hostile router on the LAN: answers SSDP, HTTP, NAT-PMP and PCP in every wrong way.

hostile_lan.py ADDRESS MODE [VICTIM]

ADDRESS is the one it has on the LAN, VICTIM a host:port that nobody may be made to speak to. What it was asked goes to
stdout, a line each: "ssdp", "get PATH", "post ACTION", "pcp LENGTH", "natpmp OPCODE". MODE:
  garbage   random bytes of random lengths to everything
  huge      answers that do not end
  drip      one byte every 50 ms, for ever, and NAT-PMP and PCP that want to be asked again and again
  redirect  description and control URLs elsewhere (VICTIM), and HTTP redirects
  lying     grants everything: mappings at VICTIM, leases of a second, epochs that jump, unasked announcements
  silent    takes connections and says nothing
  flood     answers each packet by hundreds
"""
import random
import socket
import struct
import sys
import threading
import time

address, mode = sys.argv[1:3]
victim = sys.argv[3] if len(sys.argv) > 3 else "203.0.113.99:80"
victim_ip, victim_port = victim.split(":")[0], int(victim.split(":")[1])
rng = random.Random(1)
HTTP_PORT = 5000

TYPES = "urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"
DEVICE = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">%s<device><deviceType>
urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><serviceList>%s</serviceList></device></root>"""
SERVICE = """<service><serviceType>%s</serviceType><serviceId>x</serviceId><controlURL>%s</controlURL>
<eventSubURL>/e</eventSubURL><SCPDURL>/s</SCPDURL></service>"""


def say(*words):
    print(*words, flush=True)


def junk(most):
    return rng.randbytes(rng.randrange(most))


def description():
    if mode == "redirect":
        base = "<URLBase>http://%s/</URLBase>" % victim
        return DEVICE % (base, "".join(SERVICE % (t, "http://%s/ctl" % victim) for t in TYPES))
    return DEVICE % ("", "".join(SERVICE % (t, "/ctl") for t in TYPES))


def soap(body):
    return ('<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            '%s</s:Body></s:Envelope>' % body)


def ok(body):
    return ("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)).encode()


def honest(line, action):
    if line.startswith("GET"):
        return ok(description())
    if "GetExternalIPAddress" in action:
        return ok(soap("<u:R xmlns:u='x'><NewExternalIPAddress>%s</NewExternalIPAddress></u:R>" % victim_ip))
    return ok(soap("<u:R xmlns:u='x'><UniqueID>99999999999999999999</UniqueID></u:R>"))


def drip(c, data):
    while True:
        for i in range(len(data)):
            c.sendall(data[i:i + 1])
            time.sleep(0.05)
        data = b"x"


def answer_http(c, line, action):
    if mode == "garbage":
        c.sendall(rng.choice([junk(4000), b"HTTP/1.1 200 OK\r\n\r\n" + junk(4000),
                              b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + junk(99),
                              b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + junk(99),
                              ok("<a>" * 20000), ok("<controlURL>" + "A" * 60000)]))
    elif mode == "huge":
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2147483647\r\n\r\n<root>")
        while True:
            c.sendall(b"<service><controlURL>" + b"A" * 4096)
    elif mode == "drip":
        drip(c, honest(line, action))
    elif mode == "redirect" and line.startswith("GET /moved"):
        c.sendall(b"HTTP/1.1 301 Moved\r\nLocation: http://%s/\r\nContent-Length: 0\r\n\r\n" % victim.encode())
    elif mode == "silent":
        time.sleep(60)
    else:
        c.sendall(honest(line, action))


def serve_one(c):
    try:
        request = c.recv(8192).decode(errors="replace")
        line = request.split("\r\n")[0]
        action = next((h for h in request.split("\r\n") if h.lower().startswith("soapaction")), "")
        say("post " + action.split("#")[-1].strip('"') if line.startswith("POST") else "get " + line)
        answer_http(c, line, action)
    except OSError:
        pass
    c.close()


def http():
    s = socket.create_server((address, HTTP_PORT), backlog=64)
    while True:
        c, _ = s.accept()
        threading.Thread(target=serve_one, args=(c,), daemon=True).start()


def locations():
    here = "http://%s:%d/d" % (address, HTTP_PORT)
    if mode == "redirect":
        return ["http://%s/" % victim, "http://127.0.0.1:80/", "http://localhost:80/", "http://hub.example/",
                "file:///etc/passwd", "http://%s:%d/moved" % (address, HTTP_PORT), here]
    if mode == "garbage":
        return ["http://" + "A" * 1300, "http://%s:99999/" % address, "http://[::::]/", "%s%s%s%n", "", here]
    return [here]


def answer_ssdp(s, to):
    if mode == "garbage":
        for _ in range(20):
            s.sendto(junk(1400), to)
    for _ in range(300 if mode == "flood" else 1):
        for url in locations():
            text = "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: %s\r\n\r\n"
            s.sendto((text % url).encode(), to)


def ssdp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", 1900))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                 socket.inet_aton("239.255.255.250") + socket.inet_aton(address))
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind((address, 0))
    while True:
        _, who = s.recvfrom(2000)
        say("ssdp")
        answer_ssdp(out, who)


def pcp_answer(request):
    nonce, ports = request[24:36], request[40:42]
    external = struct.pack(">H", victim_port) + b"\0" * 10 + b"\xff\xff" + socket.inet_aton(victim_ip)
    head = struct.pack(">BBBBII", 2, 0x81, 0, 0, 1, rng.randrange(1 << 32)) + b"\0" * 12
    return head + nonce + request[36:40] + ports + external


def natpmp_answer(request):
    head = struct.pack(">BBHI", 0, 0x80 | request[1], 0, rng.randrange(1 << 32))
    if request[1] == 0:
        return head + socket.inet_aton(victim_ip)
    return head + request[4:6] + struct.pack(">HI", victim_port, 1)


def port_control_answers(request):
    if mode == "garbage":
        head = bytes([request[0], 0x80 | request[1]])
        return [junk(1400), junk(20), head, head + junk(3), b"", head + b"\0\0" + junk(60), b"\0" * 1000]
    if mode == "drip":
        return [request[:2] + b"\0"]
    if mode == "silent":
        return []
    if mode == "huge":
        return [request + b"A" * 60000]
    answers = [pcp_answer(request) if request[0] == 2 else natpmp_answer(request)]
    return answers * (500 if mode == "flood" else 1)


def port_control():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 5351))
    while True:
        request, who = s.recvfrom(2000)
        if len(request) < 2 or (request[0] == 2 and len(request) < 60):
            continue
        say("pcp %d" % len(request) if request[0] == 2 else "natpmp %d" % request[1])
        for answer in port_control_answers(request):
            s.sendto(answer, who)


def announce():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 0))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    while mode in ("lying", "flood", "garbage"):
        epoch = struct.pack(">I", rng.randrange(1 << 32))
        for message in (b"\x02\x80\0\0\0\0\0\0" + epoch + b"\0" * 12,
                        b"\0\x80\0\0" + epoch + socket.inet_aton("203.0.113.%d" % rng.randrange(256)), junk(1200)):
            s.sendto(message, ("224.0.0.1", 5350))
        time.sleep(0.01)


for job in (http, ssdp, port_control, announce):
    threading.Thread(target=job, daemon=True).start()
say("ready")
while True:
    time.sleep(60)
