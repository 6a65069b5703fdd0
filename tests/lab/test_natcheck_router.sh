#!/bin/bash
# natcheck and the router itself: it opens a port by PCP, NAT-PMP and UPnP, sees that the server gets in by it, and
# leaves nothing behind; it knows a router behind a router; it measures how long a mapping lives.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/portmap.sh"
[ -x "$P2PD_BIN/natcheck" ] || lab_skip "natcheck is not built"

lab_internet
lab_site three port-restricted
lab_site sym symmetric
lab_site deaf port-restricted
lab_site home home-carrier
lab_site short port-restricted timeout=14 stream=14
hub_start

router_start three enable_natpmp=yes enable_upnp=yes
router_start sym enable_natpmp=yes enable_upnp=no
router_start home enable_natpmp=yes enable_upnp=yes ext_ip=11.99.99.99

report() { lab_in "$1" "$P2PD_BIN/natcheck" --server $HUB_IP4 --json >"$LAB/$1.log" || true; }
# expect HOST WHAT: jq has to find it true of the host's report
expect() {
	lab_note "$1: $(jq -c '[.type, .portmap, .depth, .cgnat, .lifetime_s]' "$LAB/$1.log")"
	jq -e "$2" "$LAB/$1.log" >/dev/null || lab_fail "$1: not $2: $(cat "$LAB/$1.log")"
}

lab_start short short "$P2PD_BIN/natcheck" --server $HUB_IP4 --json --lifetime --no-mapping
for host in three sym deaf home; do
	report $host
done
expect three '.portmap.pcp == "working" and .portmap.natpmp == "working" and .portmap.upnp == "working" and
	.portmap.inbound == true and .portmap.double_nat == false'
[[ "$(jq -r .portmap.external "$LAB/three.log")" = $(lab_public4 three):* ]] || lab_fail "mapped elsewhere"
expect sym '.type == "nat4" and .portmap.pcp == "working" and .portmap.natpmp == "working" and
	.portmap.upnp == "absent" and .portmap.inbound == true'
expect deaf '.portmap.pcp == "absent" and .portmap.natpmp == "absent" and .portmap.upnp == "absent" and
	.portmap.external == "unknown" and .portmap.inbound == "unknown"'
# It claims an address outside that the internet does not see.
expect home '.depth == 2 and .cgnat == true and .portmap.double_nat == true and .portmap.inbound == "unknown"'
for site in three sym home; do
	router_maps_nothing $site || lab_fail "$site: natcheck left a mapping behind: $(router_rules $site)"
done
lab_in three "$P2PD_BIN/natcheck" --server $HUB_IP4 >"$LAB/words.log" || true
grep -q "opens ports on request" "$LAB/words.log" || lab_fail "in words: $(cat "$LAB/words.log")"

lab_until 100 "the lifetime is measured" lab_ended "${LAB_PID[short]}"
expect short '.lifetime_s >= 10 and .lifetime_s <= 14'
