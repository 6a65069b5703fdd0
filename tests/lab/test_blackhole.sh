#!/bin/bash
# A direct path that begins to swallow large packets while small ones pass: traffic goes on within 2 s, and does not come
# back to the hole again and again. When the path is whole again it is used again, in the end.
# Timeout: 200 s
. "$(dirname "$0")/p2pd.sh"
# On a busy machine a test allows more; the bench sets the goal (2000).
GAP_MS=${GAP_MS:-4000} LOST_MAX=200 # of datagrams every 20 ms

lab_internet
lab_site a port-restricted
lab_site b port-restricted
hub_start
node_join a b
lab_until 10 "a has a direct path to b" reaches_directly a b
traffic_start a b 1200
sleep 2
since=$(lab_now_ms)
lab_until 5 "the traffic goes directly" direct_since a b "$since"

since=$(lab_now_ms)
lab_narrow a b 1000
sleep 16
read -r answered _ lost < <(traffic_since a b "$since")
lab_note "packets over 1000 bytes vanish: answered after $answered ms, in 15 s $lost datagrams lost"
lab_note "the way is $(peer a b .path.kind)"
[ "$answered" != - ] && [ "$answered" -le $GAP_MS ] || lab_fail "not answered within $GAP_MS ms"
[ "$lost" -le $LOST_MAX ] || lab_fail "more than $LOST_MAX datagrams lost"

lab_rejoin
since=$(lab_now_ms)
lab_until 90 "large packets go directly again" direct_since a b "$since"
lab_note "the path is whole again: directly after $(traffic_since a b "$since" | cut -d' ' -f2) ms"
