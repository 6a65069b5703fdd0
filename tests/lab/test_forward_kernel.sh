#!/bin/bash
# Visitors reach services behind NATs through a gateway, carried by the kernel: TCP, UDP and a range of 1,000 ports, on a node
# behind a port-restricted NAT, one behind a symmetric NAT, and on LAN hosts behind both. nginx, HAProxy and all others see the
# visitor's own address. At the end nothing is left of it.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site s symmetric
lab_site v open
lab_site w port-restricted
lan_host l n
lan_host m s
hub_start
declare -A before
for host in gw n s; do
	before[$host]=$(footprint $host)
done
gateway_start gw
nodes_start n s
v=$(lab_public4 v) w=$(lab_public4 w) gw=$(lab_public4 gw)

nginx_start n
haproxy_start n
service_start n 7000
service_start s 7000
service_start l 20000 1000
service_start m 7100

# --- The node itself: web servers, and one port for TCP and UDP.
web=$(forward_public n "$(own4 n):8080,8090" --proto tcp --name web-lab-8080)
both=$(forward_public n "$(own4 n):7000" --proto both --name echo-lab-7000)
forward_ready n "$web" kernel
forward_ready n "$both" kernel
[ "$(forward_look n "$both" '.addresses | sort | join(" ")')" = "$gw:7000/tcp $gw:7000/udp" ] ||
	lab_fail "addresses: $(forward_look n "$both" .addresses)"
gets "1 $v" v tcp "$gw" 7000
gets "1 $v" v udp "$gw" 7000
# Behind a NAT it is that one's address.
gets "1 $w" w tcp "$gw" 7000
gets "1 $w" w udp "$gw" 7000
[ "$(page v "http://$gw:8080/")" = "nginx $v" ] || lab_fail "nginx says $(page v "http://$gw:8080/")"
[ "$(nginx_saw n seen)" = "$v" ] || lab_fail "nginx logs $(nginx_saw n seen)"
[ "$(page v "http://$gw:8090/")" = "haproxy $v" ] || lab_fail "HAProxy says $(page v "http://$gw:8090/")"
[ "$(haproxy_saw n seen)" = "$v" ] || lab_fail "HAProxy logs $(haproxy_saw n seen)"
lab_note "a node behind a port-restricted NAT ($(peer gw n .path.kind)): nginx, HAProxy, TCP and UDP see the visitor's address"

# --- A LAN host behind it: 1,000 ports, both protocols.
range=$(forward_public n 10.9.1.2:20000-20999 --proto both --max-conn 4000 --name range-lab-20000)
forward_ready n "$range" kernel
start=$(lab_now_ms)
gets "1000 $v" v tcp "$gw" 20000 1000
lab_note "1,000 ports of a LAN host by TCP: all answer, $(($(lab_now_ms) - start)) ms"
start=$(lab_now_ms)
gets "1000 $v" v udp "$gw" 20000 1000
lab_note "1,000 ports of a LAN host by UDP: all answer, $(($(lab_now_ms) - start)) ms"
[ "$(grep -cx 'tcp [0-9]* '"$v" "$LAB/service-l-20000.log")" -ge 1000 ] || lab_fail "the LAN host does not see the visitor"

# --- The same behind a symmetric NAT, at other public ports.
symmetric=$(forward_public s "$(own4 s):7000" --proto both --public-port 7400)
lan=$(forward_public s 10.9.2.2:7100 --proto both --public-port 7500)
forward_ready s "$symmetric" kernel
forward_ready s "$lan" kernel
gets "1 $v" v tcp "$gw" 7400 --apart -400
gets "1 $w" w udp "$gw" 7400 --apart -400
gets "1 $w" w tcp "$gw" 7500 --apart -400
gets "1 $v" v udp "$gw" 7500 --apart -400
lab_note "behind a symmetric NAT ($(peer gw s .path.kind)): the node and its LAN host, TCP and UDP"

# --- A large transfer, and what else the hosts do goes on.
bytes=$(visitor v push "$gw" 7000 2)
[ "$bytes" -gt 100000 ] || lab_fail "only $bytes bytes a second go through"
for host in n s; do
	lab_in $host ping -qc 1 -W 5 $GATEWAY_IP4 >/dev/null || lab_fail "$host does not reach the internet any more"
done
reaches n gw || lab_fail "n does not reach the gateway by the overlay"

# --- Ports that nobody asked for are not open, and the overlay is not for visitors.
gets "2 (refused|silent)" v tcp "$gw" 7001 2 --wait 2
lab_in v ip route add "$(status n .self.ip4)" via "$(own4 gw)" 2>/dev/null ||
	lab_in v ip route add "$(status n .self.ip4)" via $GATEWAY_IP4
gets "1 (refused|silent|unreachable)" v tcp "$(status n .self.ip4)" 7000 --wait 2

# --- Counts.
counted() { [ "$(forward_count n "$both" '.total >= 4 and .bytes_in > 0 and .bytes_out > 0')" = true ]; }
lab_until 20 "the visits are counted" counted
lab_note "stats: $(forward n stats "$both" --json | jq -c 'del(.schema, .forward_id)')"
[[ $(forward_count n "$both" .last_visitor) = "$w"* || $(forward_count n "$both" .last_visitor) = "$v"* ]] ||
	lab_fail "last visitor: $(forward_count n "$both" .last_visitor)"

for host in n s gw; do
	node_stop $host
done
for host in gw n s; do
	same_footprint $host "${before[$host]}"
done
