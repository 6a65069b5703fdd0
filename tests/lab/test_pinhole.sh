#!/bin/bash
# IPv6: a stateful firewall opens a pinhole when it is asked, by PCP and by UPnP, and closes it at the end. A peer that
# the node has never sent anything to then gets in.
# Timeout: 240 s
LAB_IP6=1
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/portmap.sh"

lab_internet
lab_site pcp port-restricted
lab_site upnp port-restricted
lab_site b open
hub_start

pinholes() { lab_in "$1-nat" nft list chain inet firewall miniupnpd; }
opens() { grep -q "dport $2 .*accept" <<<"$(pinholes "$1" | grep -v '0xc0a8')"; }
opens_none() { ! grep -q accept <<<"$(pinholes "$1" | grep -v '0xc0a8')"; }
# What a stranger sends to the node arrives there.
hears() { lab_in "$1" python3 -c '
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86dd))
s.settimeout(2)
while b"knock knock" not in s.recv(2000): pass'; }
knock() {
	lab_in b python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for _ in range(10):
    s.sendto(b"knock knock", (sys.argv[1], int(sys.argv[2])))
    time.sleep(0.1)' "$1" "$2"
}
gets_in() {
	local ip=2001:db8:${LAB_SITE_NO[$1]}:1::10 rc=0
	hears "$1" 2>/dev/null &
	sleep 0.2
	knock "$ip" "$2"
	wait $! || rc=$?
	return $rc
}

router_start pcp enable_natpmp=yes enable_upnp=no
router_start upnp enable_upnp=yes
for site in pcp upnp; do
	node_start $site
	lab_until 10 "$site has joined" is_joined $site
	port=$(status $site .self.port)
	lab_until 10 "the router of $site opens a pinhole" opens $site "$port"
	gets_in $site "$port" || lab_fail "$site: nothing gets through the pinhole: $(pinholes $site)"
	node_stop $site
	opens_none $site || lab_fail "$site: the pinhole stays open: $(pinholes $site)"
	! gets_in $site "$port" || lab_fail "$site: the firewall lets strangers in without a pinhole"
	lab_note "$site: the pinhole opened and closed again"
done
