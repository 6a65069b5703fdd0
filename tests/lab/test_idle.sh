#!/bin/bash
# A node with one peer and nothing to do: small, and asleep. SECONDS_IDLE is how long it is watched (default 60).
# Mostly waits: it runs beside others.
# Timeout: 200 s
. "$(dirname "$0")/p2pd.sh"
SECONDS_IDLE=${SECONDS_IDLE:-60}
RSS_MAX_KB=8192
# A keepalive of the hub's link, of its UDP flow and of the direct path, every 10 s or more, each sent and answered.
WAKEUPS_MAX=$((SECONDS_IDLE * 6 / 10 + 6))

lab_internet
lab_site a port-restricted
lab_site b port-restricted
hub_start
node_join a b
lab_until 10 "a has a direct path to b" reaches_directly a b

field() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/${LAB_PID[a]}/status"; }
sleep 30 # a path that carried something is watched closely for some seconds; nothing is judged by this
before=$(field voluntary_ctxt_switches)
sleep "$SECONDS_IDLE"
wakeups=$(($(field voluntary_ctxt_switches) - before))
rss=$(field VmRSS)
lab_note "idle with one peer: RSS $rss kB (peak $(field VmHWM)), $wakeups wake-ups in $SECONDS_IDLE s"
[ "$rss" -le $RSS_MAX_KB ] || lab_fail "RSS is over $RSS_MAX_KB kB"
[ "$wakeups" -le $WAKEUPS_MAX ] || lab_fail "more than $WAKEUPS_MAX wake-ups"
lab_until 5 "a still reaches b" reaches a b
