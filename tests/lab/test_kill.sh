#!/bin/bash
# kill -9 of the hub or of a node, at random moments: ROUNDS times (default 10), reproducible by SEED. Everything is
# connected again within 5 s of the restart, with the same addresses and nothing stale left behind.
# Timeout: 1800 s
. "$(dirname "$0")/p2pd.sh"
ROUNDS=${ROUNDS:-10}
RANDOM=${SEED:-1}

lab_internet
lab_site a port-restricted
lab_site b port-restricted
hub_start
node_join a b

connected() { is_joined a && is_joined b && reaches a b && reaches b a; }
identity() { status "$1" '[.self.ip4, .self.ip6, .self.name] | join(" ")'; }
# Everything in the host's network that is not there without p2pd.
footprint() { lab_in "$1" sh -c 'ip -br link; ip -br addr; ip route; ip -6 route; ip rule' | grep -v '^lo\|eth0' || true; }
left_nothing() { [ -z "$(lab_in "$1" sh -c 'ip -br link; ip route; ip -6 route' | grep p2pd)" ]; }

lab_until 10 "everything is connected" connected
before_a=$(identity a) before_b=$(identity b)
footprint_a=$(footprint a) footprint_b=$(footprint b)

: >"$LAB/times"
for round in $(seq "$ROUNDS"); do
	victims=(hub a b)
	victim=${victims[RANDOM % 3]}
	sleep "$((RANDOM % 2)).$((RANDOM % 10))"
	lab_kill "$victim" KILL
	[ "$victim" = hub ] || left_nothing "$victim" || lab_fail "round $round: $victim left $(footprint "$victim")"
	sleep "0.$((RANDOM % 10))"
	start=$(lab_now_ms)
	if [ "$victim" = hub ]; then hub_start; else node_start "$victim"; fi
	lab_until 5 "round $round: everything is connected again after $victim was killed" connected
	echo "$(($(lab_now_ms) - start))" >>"$LAB/times"
	[ "$(identity a)" = "$before_a" ] || lab_fail "round $round: a was $before_a, is $(identity a)"
	[ "$(identity b)" = "$before_b" ] || lab_fail "round $round: b was $before_b, is $(identity b)"
	[ "$(footprint a)" = "$footprint_a" ] || lab_fail "round $round: a was $footprint_a, is $(footprint a)"
	[ "$(footprint b)" = "$footprint_b" ] || lab_fail "round $round: b was $footprint_b, is $(footprint b)"
done
lab_note "$ROUNDS kills: all connected again after $(median <"$LAB/times") ms in the median," \
	"$(sort -n "$LAB/times" | tail -1) ms at most"

for name in a b; do
	node_stop $name
	left_nothing $name || lab_fail "p2pd down on $name left $(footprint $name)"
done
