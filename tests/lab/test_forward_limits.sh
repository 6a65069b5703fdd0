#!/bin/bash
# Each limit of a rule, carried by the kernel (MODES=user: by our own sockets): who is allowed, connections at a time, idle, rate, expiry; what is turned away is counted
# by its reason, and connections that live go on.
# Timeout: 280 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"
MODES=${MODES:-kernel}

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
lab_site w open
hub_start
gateway_start gw
nodes_start n
v=$(lab_public4 v) w=$(lab_public4 w) gw=$(lab_public4 gw)
service_start n 7000
service_start n --mute 7001
no="(refused|reset|closed|silent)"

rejected() { [ "$(forward_count n "$1" ".rejected.$2")" -ge "$3" ]; }
# limited MODE OPTION...: a rule with that limit; sets ID.
limited() {
	local mode=$1 source=kernel
	shift
	[ "$mode" = kernel ] || source=nat
	ID=$(forward_add n --local "$(own4 n):$service" --scope public --via gw --source-ip $source --public-port "$port" "$@")
	forward_ready n "$ID" "$mode"
}

allow() {
	limited "$1" --proto both --allow "$v/32"
	gets "1 [0-9.]+" v tcp "$gw" $port --apart $((7000 - port))
	gets "1 [0-9.]+" v udp "$gw" $port --apart $((7000 - port))
	gets "1 $no" w tcp "$gw" $port --wait 3
	gets "1 $no" w udp "$gw" $port --wait 3
	lab_until 20 "$1: who is not allowed is counted" rejected "$ID" not_allowed 1
	forward n set "$ID" --allow "$w/32" >"$LAB/out"
	lab_until 5 "$1: the list is changed" eval '[[ "$(ask w tcp "$gw" '$port' --wait 2 --apart '$((7000 - port))')" =~ ^1\ [0-9] ]]'
	gets "1 $no" v tcp "$gw" $port --wait 3
	lab_note "$1: the allow-list lets in whom it names, and nobody else after a change"
}

cap() {
	limited "$1" --proto tcp --allow 198.51.100.0/24 --allow 203.0.113.0/24 --max-conn 20
	rm -f "$LAB/crowd.log"
	lab_start crowd v python3 "$LAB_HERE/visitor.py" crowd "$gw" $port 30 --wait 5
	lab_until 30 "the crowd is judged" grep -qs ^done "$LAB/crowd.log"
	# The 20 that are in go on.
	kill -USR1 "${LAB_PID[crowd]}"
	lab_until 20 "the crowd is asked" grep -qs ^alive "$LAB/crowd.log"
	[ "$(sed -n 's/^alive //p' "$LAB/crowd.log")" = 20 ] || lab_fail "$1: of 30 connections, 20 allowed: $(paste -sd' ' "$LAB/crowd.log")"
	lab_until 20 "$1: connections over the cap are counted" rejected "$ID" full 10
	grep -Eq '^10 (reset|refused|closed)' "$LAB/crowd.log" || lab_fail "$1: not reset: $(paste -sd' ' "$LAB/crowd.log")"
	counted() { [ "$(forward_count n "$ID" .connections)" = 20 ]; }
	lab_until 20 "$1: those that live are counted" counted
	lab_kill crowd
	# Where some are gone, others may come.
	lab_until 20 "$1: room again" eval '[[ "$(ask v tcp "$gw" '$port' --wait 2 --apart '$((7000 - port))')" =~ ^1\ [0-9] ]]'
	lab_note "$1: of 30 connections at a time 20 live, 10 were reset and counted"
}

idle() {
	local start
	limited "$1" --proto tcp --allow 198.51.100.0/24 --allow 203.0.113.0/24 --idle 4s
	hold_start busy v tcp "$gw" $port --every 0.5
	hold_start idle v tcp "$gw" $port --every 60
	start=$(lab_now_ms)
	gone() { [ "$(forward_count n "$ID" .connections)" = 1 ]; }
	lab_until 30 "$1: the idle connection is ended" gone
	[ "$(lab_took "$start")" -ge 2000 ] || lab_fail "$1: ended after $(lab_took "$start") ms, though 4 s were allowed"
	lab_note "$1: an idle connection is ended after $(lab_took "$start") ms (4 s), a busy one lives"
	[ "$(held_after busy "$(($(lab_now_ms) - 2000))")" != - ] || lab_fail "$1: the busy one is gone, too"
	lab_kill busy
	lab_kill idle
}

# Nobody asks for counts, at which the kernel is looked at, too. What its owner's kernel forgets by itself is ended at no end; it can
# be seen for 15 s before.
ended() { lab_in n nft -j list ruleset | jq '[.nftables[].set? // empty | select(.name | startswith("ended")) | .elem // [] | length] | add // 0'; }
forgotten() {
	[ "$1" = kernel ] || return 0
	local before
	limited "$1" --proto tcp --allow 198.51.100.0/24 --allow 203.0.113.0/24 --idle 4s
	before=$(ended)
	hold_start one v tcp "$gw" $port --every 120
	sleep 15
	hold_start two v tcp "$gw" $port --every 120
	sleep 22
	[ "$(($(ended) - before))" = 2 ] || lab_fail "$1: of two idle connections the owner ended $(($(ended) - before))"
	lab_note "$1: idle connections are ended when nobody asks for counts, too"
	lab_kill one
	lab_kill two
}

# Bytes that the service has got so far, of connections that live.
received() {
	lab_in n ss -Htin "sport = :7001" | { grep -o 'bytes_received:[0-9]*' || true; } | awk -F: '{ n += $2 } END { print n + 0 }'
}
rate() {
	local since before bytes old=$service
	service=7001
	limited "$1" --proto tcp --allow 198.51.100.0/24 --allow 203.0.113.0/24 --rate 4mbit
	service=$old
	lab_start push v python3 "$LAB_HERE/visitor.py" push "$gw" $port 60
	lab_until 20 "$1: bytes arrive" eval '[ "$(received)" -gt 0 ]'
	sleep 2 # the first are a burst
	since=$(lab_now_ms) before=$(received)
	sleep 5
	bytes=$((($(received) - before) * 1000 / ($(lab_now_ms) - since)))
	lab_kill push
	lab_note "$1: 4 Mbit/s allowed, $((bytes * 8 / 1000)) kbit/s seen"
	[ "$bytes" -le 650000 ] || lab_fail "$1: $bytes bytes a second, though 500000 are allowed"
	[ "$bytes" -ge 100000 ] || lab_fail "$1: only $bytes bytes a second, though 500000 are allowed"
}

expiry() {
	limited "$1" --proto both --allow 198.51.100.0/24 --allow 203.0.113.0/24 --expires 15s
	hold_start until v tcp "$gw" $port
	lab_until 60 "$1: it has expired" forward_is n "$ID" expired
	gets "1 $no" v tcp "$gw" $port --wait 2
	gets "1 $no" v udp "$gw" $port --wait 2
	sleep 1
	[ "$(held_after until "$(($(lab_now_ms) - 500))")" = - ] || lab_fail "$1: a connection lives though the rule has expired"
	lab_kill until
	lab_note "$1: an expired rule takes nobody and ends what lives"
}

port=8000 service=7000
for mode in $MODES; do
	for limit in ${LIMITS:-allow cap idle forgotten rate expiry}; do
		port=$((port + 1))
		ID=""
		$limit "$mode"
		[ -z "$ID" ] || forward n rm "$ID" >"$LAB/out" # not all limits are each mode's
	done
done
