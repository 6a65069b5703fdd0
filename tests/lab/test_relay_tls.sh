#!/bin/bash
# Where UDP to the hub is blocked, its relay goes over TLS: at one end, at both, and when UDP dies in the middle of traffic,
# which costs 2 s at most; let in again, packets go by UDP or directly. status and why tell it.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a udp-blocked
lab_site b port-restricted
lab_site c udp-blocked
lab_site d port-restricted
hub_start
joining=$(lab_now_ms)
node_join a b c d
lab_note "all have joined after $(lab_took "$joining") ms"

# From now on the site's router drops all UDP, both ways, or no more.
udp_block() { lab_in "$1-nat" nft insert rule inet firewall forward meta l4proto udp drop; }
udp_unblock() {
	local handle
	handle=$(lab_in "$1-nat" nft -a list chain inet firewall forward | sed -n 's/.*l4proto udp drop.*handle //p' | head -1)
	lab_in "$1-nat" nft delete rule inet firewall forward handle "$handle"
}

relayed_over_tls() { reaches "$1" "$2" && path_is "$1" "$2" relay-tls; }
works_again() { reaches "$1" "$2" && ! path_is "$1" "$2" relay-tls; }

# FROM TO KIND-THERE
check() {
	lab_until 15 "$1 reaches $2 over TLS" relayed_over_tls "$1" "$2"
	lab_until 15 "$2 reaches $1" reaches "$2" "$1"
	lab_until 15 "$2's path to $1 is $3" path_is "$2" "$1" "$3"
	lab_note "$1 to $2: $(overlay_rate "$1" "$2" -t 3) Mbit/s, back: $(overlay_rate "$2" "$1" -t 3) Mbit/s"
	node "$1" ping "$2" -c 3 | tail -1 | sed 's/^/# /'
}

check a b relay-udp
check a c relay-tls

node a ping b -c 1 | lab_says "over TLS" || lab_fail "ping does not tell it: $(node a ping b -c 1)"
node a status | lab_says "relayed by the hub over TLS" || lab_fail "status does not tell it: $(node a status)"
node a why b >"$LAB/why"
sed 's/^/# /' "$LAB/why"
for words in "^b: relayed by the hub over TLS for .*: UDP to the hub does not get through" "^NAT here .*UDP does not get out" \
	"UDP does not get out here: allow it"; do
	grep -q "$words" "$LAB/why" || lab_fail "why does not say: $words"
done
[ "$(node a why b --json | jq -r .path.relay_reason)" = "UDP to the hub does not get through" ] ||
	lab_fail "why: $(node a why b --json)"

# In the middle of traffic that goes directly until then.
lab_until 20 "d reaches b directly" reaches_directly d b
traffic_start d b
sleep 2
blocked=$(lab_now_ms)
udp_block d
lab_until 15 "d goes over TLS" path_is d b relay-tls
sleep 3
read -r answered _ lost < <(traffic_since d b "$blocked")
lab_note "UDP blocked in mid-flight: answered again after $answered ms, $lost lost"
[ "$answered" != - ] && [ "$answered" -le 2500 ] || lab_fail "answered again after $answered ms"

freed=$(lab_now_ms)
udp_unblock d
lab_until 30 "d goes by UDP again" works_again d b
lab_note "UDP let in again: $(peer d b .path.kind) after $(lab_took "$freed") ms"
lab_until 40 "d reaches b directly again" reaches_directly d b
traffic_end d b
for name in a b c d; do
	[ "$(status $name .drops.malformed)" = 0 ] || lab_fail "$name: $(status $name .drops)"
done
