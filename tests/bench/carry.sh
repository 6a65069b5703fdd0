#!/bin/bash
# What carries forwarded ports by our own sockets, on this machine's loopback and beside socat: throughput and the processor
# time that it took, new connections a second, memory of idle connections. One relay, without a tunnel:
#
#   ./dev bench carry [SECONDS]
cd "$(dirname "$0")/../.." || exit 1
BIN=${P2PD_BIN:-build/bin}
SECONDS_EACH=${1:-5} CONNECTIONS=5000
RELAY=127.0.0.1:25010 SERVICE=127.0.0.1:25001

pids=()
finish() {
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null
	done
	wait
}
trap finish EXIT

# NAME: $relay is its process.
start() {
	case $1 in
	p2pd) "$BIN/carry" relay $RELAY $SERVICE & ;;
	socat) socat TCP-LISTEN:25010,bind=127.0.0.1,fork,reuseaddr,backlog=4096 TCP:$SERVICE 2>/dev/null & ;;
	esac
	relay=$!
	pids+=("$relay")
	for ((i = 0; i < 50; i++)); do
		ss -Hltn "sport = :25010" | grep -q . && return
		sleep 0.1
	done
}

stop() {
	kill "$relay"
	wait "$relay" 2>/dev/null
}

# Gb/s by iperf3 to that port.
throughput() {
	iperf3 -s -1 -B 127.0.0.1 -p 25001 >/dev/null &
	local server=$!
	pids+=("$server")
	for ((i = 0; i < 50; i++)); do
		ss -Hltn "sport = :25001" | grep -q . && break
		sleep 0.1
	done
	iperf3 -c 127.0.0.1 -p "$1" -t "$SECONDS_EACH" -J | jq -r '.end.sum_received.bits_per_second / 1e9 * 100 | round / 100'
	wait "$server"
}

# Hundredths of a second, those of its children that have ended among them.
processor() {
	awk '{ print $14 + $15 + $16 + $17 }' "/proc/$relay/stat"
}

row() {
	printf '%-8s %8s %14s %16s %22s %14s\n' "$@"
}

row relay Gb/s "cpu s per GB" "connections/s" "cpu us per connection" "KiB of $CONNECTIONS"
row none "$(throughput 25001)" - - - -
for name in p2pd socat; do
	start "$name"
	gbps=$(throughput 25010)
	sleep 0.5
	cpu=$(awk -v t="$(processor)" -v g="$gbps" -v s="$SECONDS_EACH" 'BEGIN { printf "%.2f", t / 100 / (g / 8 * s) }')
	before=$(processor)
	rate=$("$BIN/carry" load $RELAY $SERVICE $CONNECTIONS)
	sleep 0.5
	each=$((($(processor) - before) * 10000 / CONNECTIONS))
	kib=-
	[ "$name" = socat ] || kib=$("$BIN/carry" hold $RELAY $SERVICE $CONNECTIONS "$relay")
	row "$name" "$gbps" "$cpu" "$rate" "$each" "$kib"
	stop
done
