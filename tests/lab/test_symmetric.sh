#!/bin/bash
# Behind two symmetric NATs there is no direct path (yet): the relay carries everything, and status says so.
. "$(dirname "$0")/p2pd.sh"
RELAYED_S=${RELAYED_S:-4}

lab_internet
lab_site a symmetric
lab_site b symmetric
hub_start
node_join a b
lab_until 5 "a reaches b" reaches a b
lab_until 5 "b reaches a" reaches b a

node a ping b -c 5 >"$LAB/pings"
[ "$(grep -c 'pong from b .* via relay' "$LAB/pings")" = 5 ] || lab_fail "$(cat "$LAB/pings")"
rate=$(overlay_rate a b -t "$RELAYED_S")
back=$(overlay_rate b a -t "$RELAYED_S")
lab_note "the relay carries $rate Mbit/s, $back the other way"
{ [ "$rate" -ge 5 ] && [ "$back" -ge 5 ]; } || lab_fail "too slow"
for pair in "a b" "b a"; do
	# shellcheck disable=SC2086
	path_is $pair relay-udp || lab_fail "the path from ${pair% *} to ${pair#* } is $(peer $pair .path.kind)"
done

# SIGTERM ends each in good order.
node_stop a
node_stop b
hub_pid=${LAB_PID[hub]}
kill -TERM "$hub_pid"
lab_until 10 "the hub ends" lab_ended "$hub_pid"
wait "$hub_pid" || lab_fail "the hub ended with exit code $?"
