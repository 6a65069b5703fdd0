#!/bin/bash
# Visitors by IPv6: carried by the kernel to a service with an IPv6 address, with the visitor's own; to a service without one
# by our own sockets. LAN hosts and ranges too.
# Timeout: 180 s
LAB_IP6=1
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
lan_host l n
hub_start
declare -A before
for host in gw n; do
	before[$host]=$(footprint $host)
done
gateway_start gw
nodes_start n
v4=$(lab_public4 v) v6=$(own6 v) gw4=$(lab_public4 gw) gw6=$(own6 gw)
service_start n --bind :: 7000
service_start n --bind :: --proxy 7100
service_start l --bind :: 20000 100

# --- A service with an IPv6 address.
six=$(forward_public n "[$(own6 n)]:7000" --proto both)
forward_ready n "$six" kernel
lab_note "addresses: $(forward_look n "$six" '.addresses | join(" ")')"
gets "1 $v6" v tcp "$gw6" 7000
gets "1 $v6" v udp "$gw6" 7000
range=$(forward_public n "[fd00:9:1::2]:20000-20099" --proto both --max-conn 1000)
forward_ready n "$range" kernel
gets "100 $v6" v tcp "$gw6" 20000 100
gets "100 $v6" v udp "$gw6" 20000 100
lab_note "IPv6 to IPv6: the node and a LAN host see the visitor's address, TCP and UDP"

# --- The other family, at the same rule: by our sockets.
told4() { [ "$(forward_look n "$1" '[.addresses[] | select(startswith("'"$2"'"))] | length')" -ge 1 ]; }
if told4 "$six" "$gw4"; then
	gets "1 [0-9a-f.:]+" v tcp "$gw4" 7000
	lab_note "IPv4 visitors of the IPv6 service: $(ask v tcp "$gw4" 7000)"
fi
four=$(forward_public n "$(own4 n):7000" --proto both --public-port 7200)
forward_ready n "$four" kernel
gets "1 $v4" v tcp "$gw4" 7200 --apart -200
gets "1 $v4" v udp "$gw4" 7200 --apart -200
if told4 "$four" "[$gw6"; then
	gets "1 [0-9a-f.:]+" v tcp "$gw6" 7200 --apart -200
	gets "1 [0-9a-f.:]+" v udp "$gw6" 7200 --apart -200
	lab_note "IPv6 visitors of the IPv4 service: $(ask v tcp "$gw6" 7200 --apart -200)"
fi

# --- PROXY v2 tells an IPv6 visitor to whatever service.
told=$(forward_public n "$(own4 n):7100" --proto both --source-ip proxy-v2)
forward_ready n "$told" user
gets "1 $v6" v tcp "$gw6" 7100
gets "1 $v6" v udp "$gw6" 7100
gets "1 $v4" v tcp "$gw4" 7100
lab_note "PROXY v2: the IPv4 service hears of the IPv6 visitor"

# --- Who is not allowed, by either family; an IPv4 address dressed as IPv6 is none.
strict=$(forward_add n --local "[$(own6 n)]:7000" --scope public --via gw --public-port 7300 --allow 2001:db8:ffff::/48)
forward_ready n "$strict" kernel
gets "1 (refused|reset|closed|silent)" v tcp "$gw6" 7300 --wait 3
forward n set "$strict" --allow "${v6%::*}::/64" >"$LAB/out"
lab_until 10 "the visitor's /64 is allowed" eval '[ "$(ask v tcp "$gw6" 7300 --apart -300 --wait 2)" = "1 $v6" ]'

for host in n gw; do
	node_stop $host
	same_footprint $host "${before[$host]}"
done
