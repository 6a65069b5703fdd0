#!/bin/bash
# A million datagrams from a million forged sources, at a hub and at another relay (--relay-only): nothing is opened or
# kept for them, all are counted, and a pair that is relayed there meanwhile hardly notices.
# Timeout: 300 s
. "$(dirname "$0")/p2pd.sh"
COUNT=${COUNT:-1000000} RATE=${RATE:-50000}
GROWTH_KB=8192 # RSS, at most
LOST=5         # percent of the pair's datagrams, at most: what the kernel has no room for while others use the processor

# numbers CURL-ARGUMENT...: what the hub or relay tells, into $LAB/numbers
numbers() { lab_in hub curl -sf -m 10 -o "$LAB/numbers" "$@" || lab_fail "no numbers"; }
# The sum of all series that begin so
sum() { awk -v s="$1" 'index($1, s) == 1 { n += $2 } END { printf "%d\n", n }' "$LAB/numbers"; }
# All that was not for anybody who is there
strange() { echo $(($(sum p2phub_relay_drops_total) + $(sum p2phub_relay_challenges) + $(sum p2phub_stun_requests))); }
memory() { awk -v field="$2:" '$1 == field { print $2 }' "/proc/${LAB_PID[$1]}/status"; }
relayed() { [ "$(peer a b .path.kind)" = relay-udp ] && [ "$(peer b a .path.kind)" = relay-udp ]; }

# flood LABEL PORT URL-ARGUMENT...: the program LABEL at the port, while a pings b through it
flood() {
	local label=$1 port=$2 before rss slots sessions peak received loss slowest carried pings=$((COUNT * 20 / RATE))
	shift 2
	numbers "$@"
	slots=$(sum p2phub_relay_slots) sessions=$(sum p2phub_relay_sessions) before=$(strange) carried=$(sum p2phub_relay_packets)
	[ "$slots,$sessions" = 2,1 ] || lab_fail "$slots slots and $sessions sessions before it begins"
	relayed || lab_fail "the pair is not relayed before it begins"
	rss=$(memory "$label" VmRSS)
	echo 5 >"/proc/${LAB_PID[$label]}/clear_refs" # from here on the peak is counted
	lab_start ping a ping -q -i 0.05 -W 2 -c $pings "$(status b .self.ip4)"
	lab_in inet "$P2PD_BIN/spoof" $HUB_IP4 "$port" "$COUNT" "$RATE" >"$LAB/spoof.log" || lab_fail "no flood"
	wait "${LAB_PID[ping]}" || lab_fail "no answer at all: $(tail -n 3 "$LAB/ping.log")"
	peak=$(memory "$label" VmHWM)
	numbers "$@"
	received=$(($(strange) - before)) carried=$(($(sum p2phub_relay_packets) - carried))
	loss=$(sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' "$LAB/ping.log")
	slowest=$(sed -n 's/^rtt .*= //p' "$LAB/ping.log")
	: >"$LAB/ping.log"
	lab_note "$label: $(cat "$LAB/spoof.log"), $received counted; memory $rss kB, at most $peak kB;" \
		"the pair lost $loss %, round trips $slowest"
	# What the kernel had no room for never came.
	[ $received -ge $((COUNT * 7 / 10)) ] || lab_fail "$label has counted $received of $COUNT"
	[ $((peak - rss)) -lt $GROWTH_KB ] || lab_fail "$label grew by $((peak - rss)) kB"
	[ "$(sum p2phub_relay_slots),$(sum p2phub_relay_sessions)" = "$slots,$sessions" ] ||
		lab_fail "$label has $(sum p2phub_relay_slots) slots and $(sum p2phub_relay_sessions) sessions"
	[ "$(sum p2phub_relay_bound)" = 2 ] || lab_fail "$(sum p2phub_relay_bound) are bound at $label"
	awk -v lost="$loss" -v most=$LOST 'BEGIN { exit !(lost <= most) }' || lab_fail "the pair lost $loss %"
	# There and back; from a relay that is slow on a busy machine they change to the hub's for a while.
	[ $carried -ge $((pings / 2)) ] || lab_fail "$label has carried only $carried datagrams of $pings pings"
}

lab_internet
lab_site far open
lab_cable far delay=80
lab_site a symmetric
lab_site b symmetric
lab_part a b # so that the pair stays with its relay
ip -n inet route add blackhole 16.0.0.0/4 # the answers to the forged ones

hub_start
node_join a b
lab_until 10 "the hub relays" reaches a b
lab_until 10 "by UDP" relayed
flood hub 3478 --unix-socket "$LAB/hub/hub.sock" http://localhost/metrics
node_stop a
node_stop b
lab_kill hub

# The same where the hub is far and the relay near.
far=$(lab_public4 far)
(umask 077; "$P2PD_BIN/p2pd" keygen >"$LAB/relay-key")
lab_start relay hub "$P2PD_BIN/p2phub" serve --relay-only --relay-key "$LAB/relay-key" --udp $HUB_IP4:3478 \
	--metrics 127.0.0.1:9789
lab_start hub far "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls "$far:443" --udp "$far:3478" --udp "$far:3479" \
	--relay "$HUB_IP4:3478" --relay-key "$LAB/relay-key"
lab_until 5 "the hub listens" lab_listens far 443
HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub" --host "$far")
node_join a b
lab_start talk a ping -q -i 0.2 "$(status b .self.ip4)"
by_home() { [ "$(peer "$1" "$2" .path.home_relay 2>/dev/null)" = true ]; }
lab_until 20 "a's data goes by b's home" by_home a b
lab_until 20 "b's data goes by a's home" by_home b a
lab_kill talk INT
flood relay 3478 http://127.0.0.1:9789/metrics
