#!/bin/bash
# A network card that damages trains of datagrams: the peer's reports of what is missing end them within seconds, for that
# direction of that path only, and the log says why. A network that loses packets anyway gets its trains back.
# Timeout: 150 s
. "$(dirname "$0")/p2pd.sh"

case ${P2PD_OFFLOAD:-all} in no-gso | none) lab_skip "there are no trains on this rung" ;; esac

lab_internet
for name in a b c d; do
	lab_site $name open
done
hub_start
node_join a b c d

trains_are() { [ "$(peer "$1" "$2" .path.trains)" = "$3" ]; }
says() { grep "gaps: $2: $3" "$LAB/$1.log"; }
direct() { lab_until 20 "$1 reaches $2 directly" reaches_directly "$1" "$2"; }

direct a b
before=$(overlay_rate a b -t 3)
lab_cable a b.breaks=1
began=$(lab_now_ms)
overlay_rate a b -t 20 >"$LAB/rate" &
flow=$!
sleep 2
lab_cable a stats | lab_says "b.corrupted=[1-9]" || lab_skip "this kernel hands no trains to the cable"
lab_until 20 "a tries to send singly" trains_are a b false
tried=$(($(lab_now_ms) - began))
lab_until 20 "a sends singly" says a b "trying singly -> singly"
chosen=$(($(lab_now_ms) - began))
wait $flow || lab_fail "a TCP stream over a card that breaks trains"
# What TCP remembers of the stream before is how slow that was.
lab_in a ip tcp_metrics flush all
after=$(overlay_rate a b -t 3)
lab_note "trains break: tried after $tried ms, chosen after $chosen ms; Mbit/s before, after: $before $after"
says a b "trying singly -> singly" | sed 's/^/# /'
[ "$after" -ge $((before / 4)) ] || lab_fail "$after Mbit/s, and $before before the card broke trains"
trains_are a b false || lab_fail "a uses trains"
trains_are b a true || lab_fail "b uses no trains though its own card is sound"
node a why b | lab_says "packets go one by one" || lab_fail "why does not tell of it"

direct c d
lab_start iperf-d d iperf3 -s -1
lab_until 5 "iperf3 listens" lab_listens d 5201
lab_start loss c iperf3 -c "$(status d .self.ip4)" -u -b 20M -l 1200 -t 20
sleep 1
lab_cable c b.loss=10
lab_until 20 "c tries to send singly" says c d "trains -> trying singly"
lab_until 10 "c finds that it does not help" says c d "trying singly -> trains"
trains_are c d true || lab_fail "c uses no trains though they are not why packets are lost"
says c d "trying singly -> trains" | sed 's/^/# /'
