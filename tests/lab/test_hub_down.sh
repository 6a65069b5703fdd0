#!/bin/bash
# The hub is killed: direct tunnels go on. It comes back: so does the relay, and nobody had to restart.
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a port-restricted
lab_site b port-restricted
hub_start
node_join a b
lab_until 10 "a has a direct path to b" reaches_directly a b
lab_until 10 "b has a direct path to a" reaches_directly b a

lab_kill hub KILL
lab_until 10 "a sees that the hub is gone" eval '! is_joined a'
node a ping b -c 8 >"$LAB/pings"
[ "$(grep 'pong from b' "$LAB/pings" | grep -vc relay)" = 8 ] || lab_fail "$(cat "$LAB/pings")"
lab_note "the hub is killed: $(tail -1 "$LAB/pings")"

back=$(lab_now_ms)
hub_start
# The nodes wait longer after each failure, up to 30 s.
lab_until 35 "a is connected again" is_joined a
lab_until 35 "b is connected again" is_joined b
lab_note "the hub is back: both nodes are connected again after $(($(lab_now_ms) - back)) ms"

lab_part a b
lab_until 10 "a reaches b by the relay" eval 'reaches a b && path_is a b relay-udp'
lab_note "the direct path is cut: the relay carries after $(($(lab_now_ms) - back)) ms since the hub is back"
lab_rejoin
lab_until 60 "the direct path is found again" reaches_directly a b
