#!/bin/bash
# Where the kernel cannot carry a rule, or is not to, our own sockets do: the visitor's address goes to the service by PROXY v2
# (real nginx and HAProxy read it) or not at all, and `show` says why it is so.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site s symmetric
lab_site v open
lan_host l n
hub_start
declare -A before
no_router n
for host in gw n s; do
	before[$host]=$(footprint $host)
done
gateway_start gw
nodes_start n s
v=$(lab_public4 v) gw=$(lab_public4 gw)

nginx_start n
haproxy_start n
service_start n --proxy 7000
service_start n --bind 127.0.0.1 7100
service_start s --proxy 7000
service_start l 20000 1000

# --- PROXY v2, as the person asks.
web=$(forward_public n 127.0.0.1:8081,8091 --proto tcp --source-ip proxy-v2)
both=$(forward_public n "$(own4 n):7000" --proto both --source-ip proxy-v2)
forward_ready n "$web" user
forward_ready n "$both" user
[ "$(page v "http://$gw:8081/")" = "nginx $v" ] || lab_fail "nginx says $(page v "http://$gw:8081/")"
[ "$(nginx_saw n told)" = "$v" ] || lab_fail "nginx logs $(nginx_saw n told)"
[ "$(page v "http://$gw:8091/")" = "haproxy $v" ] || lab_fail "HAProxy says $(page v "http://$gw:8091/")"
[ "$(haproxy_saw n told)" = "$v" ] || lab_fail "HAProxy logs $(haproxy_saw n told)"
gets "1 $v" v tcp "$gw" 7000
gets "1 $v" v udp "$gw" 7000
lab_note "PROXY v2: nginx, HAProxy, TCP and UDP see the visitor's address"
symmetric=$(forward_public s "$(own4 s):7000" --proto both --source-ip proxy-v2 --public-port 7400)
forward_ready s "$symmetric" user
gets "1 $v" v tcp "$gw" 7400 --apart -400
gets "1 $v" v udp "$gw" 7400 --apart -400
lab_note "PROXY v2 behind a symmetric NAT"

# --- A service on loopback only, and a LAN host while this machine is no router: the kernel cannot, and it is told.
loop=$(forward_public n 127.0.0.1:7100 --proto both)
forward_ready n "$loop" user
why=$(forward_look n "$loop" .mode_why)
[ -n "$why" ] || lab_fail "it does not say why the kernel does not carry it"
lab_note "a service on loopback: $why"
gets "1 127.0.0.1" v tcp "$gw" 7100
gets "1 127.0.0.1" v udp "$gw" 7100
range=$(forward_public n 10.9.1.2:20000-20999 --proto both --max-conn 4000)
forward_ready n "$range" user
why=$(forward_look n "$range" .mode_why)
[ -n "$why" ] || lab_fail "it does not say why the kernel does not carry it"
lab_note "a LAN host of a machine that is no router: $why"
start=$(lab_now_ms)
gets "1000 10.9.1.1" v tcp "$gw" 20000 1000
lab_note "1,000 ports of a LAN host by TCP: all answer, $(($(lab_now_ms) - start)) ms"
start=$(lab_now_ms)
gets "1000 10.9.1.1" v udp "$gw" 20000 1000
lab_note "1,000 ports of a LAN host by UDP: all answer, $(($(lab_now_ms) - start)) ms"

# --- As the person asks.
nat=$(forward_public n "$(own4 n):8080" --proto tcp --source-ip nat --public-port 8800)
forward_ready n "$nat" user
[ "$(page v "http://$gw:8800/")" != "nginx $v" ] || lab_fail "nginx sees the visitor's address though it was not to"
[[ $(page v "http://$gw:8800/") = nginx\ * ]] || lab_fail "nginx does not answer"

# --- The service is not there: the visitor learns it, and the count tells.
gone=$(forward_public n 127.0.0.1:7999 --proto tcp)
forward_ready n "$gone" user
gets "1 (refused|reset|closed)" v tcp "$gw" 7999
counted() { [ "$(forward_count n "$gone" .rejected.no_service)" -ge 1 ]; }
lab_until 20 "an absent service is counted" counted

# --- Who reaches the owner's tunnel port by other ways gets nothing: no member but the gateway, nobody from the LAN.
owner=$(status n .self.ip4)
tunnel_ports=$(lab_in n ss -Hltn | awk -v ip="$owner" 'index($4, ip) == 1 { sub(".*:", "", $4); if ($4 != 7781 && ++n <= 3) print $4 }')
for port in $tunnel_ports; do
	gets "1 (refused|reset|closed|silent)" s tcp "$owner" "$port" --wait 2
	lab_in l ip route replace "$owner" via 10.9.1.1
	gets "1 (refused|reset|closed|silent|unreachable)" l tcp "$owner" "$port" --wait 2
done
[ -n "$tunnel_ports" ] || lab_fail "the owner listens at no tunnel port"
# Nor does any user of the gateway's machine, whose address is the gateway's, by telling what the gateway would tell.
forged=$(lab_in gw python3 - "$owner" "$v" $tunnel_ports <<'END'
import socket, struct, sys
owner, visitor, ports = sys.argv[1], sys.argv[2], sys.argv[3:]
header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton(visitor) + socket.inet_aton(owner) + struct.pack("!HH", 50000, 80)
for port in ports:
    try:
        with socket.create_connection((owner, int(port)), 5) as s:
            s.settimeout(5)
            s.sendall(header + b"GET / HTTP/1.0\r\n\r\n")
            print("open" if s.recv(100) else "closed")
    except OSError as e:
        print("reset" if isinstance(e, ConnectionResetError) else e)
END
)
[ "$(sort -u <<<"$forged")" = reset ] || lab_fail "a forged header at the owner's tunnel ports: $forged"
[ "$(for id in "$web" "$both" "$loop" "$range" "$nat" "$gone"; do forward_count n "$id" .rejected.bad_header; done | paste -sd+ | bc)" -ge 1 ] ||
	lab_fail "forged headers are not counted"
lab_note "a user of the gateway's machine cannot pass for a visitor"

bytes=$(visitor v push "$gw" 7100 2)
[ "$bytes" -gt 100000 ] || lab_fail "only $bytes bytes a second go through"
for host in n s gw; do
	node_stop $host
done
for host in gw n s; do
	same_footprint $host "${before[$host]}"
done
