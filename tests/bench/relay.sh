#!/bin/bash
# What the hub's UDP relay carries beside coturn: one flow of 1,400-byte datagrams, and 1,000 sessions of 64-byte ones, by
# the same sender and receiver (relay_load.c) on this machine.
#
#   ./dev bench relay [--quick]
#
# Both take turns, SECONDS_EACH=5 each time; the first round is discarded, then come ROUNDS=6. Ratios are taken within a
# round. Raw figures: tests/bench/hub.json, from it hub.md and the words in README.md between its two `hub` marks; with
# --quick (two rounds of 2 s) all of these go to build/bench only.
cd "$(dirname "$0")/../.." || exit 1
export LAB_IP6=0
. tests/lab/p2pd.sh
command -v turnserver >/dev/null || lab_skip "coturn is not installed"

OUT=tests/bench ROUNDS=${ROUNDS:-6} SECONDS_EACH=${SECONDS_EACH:-5} RAW=build/bench/relay.jsonl
if [ "${1:-}" = --quick ]; then
	ROUNDS=2 SECONDS_EACH=2 OUT=build/bench
fi
ulimit -n "$(ulimit -Hn)"
mkdir -p build/bench
: >"$RAW"

lab_namespace hub 0
ip -n hub addr add $HUB_IP4/32 dev lo
ip -n hub addr add $HUB2_IP4/32 dev lo
ip -n hub addr add 198.18.0.10/32 dev lo
# The frames that relay_load sends come from an address of this machine (see relay_load.c).
lab_in hub sysctl -qw net.ipv4.conf.lo.accept_local=1

start_p2phub() {
	hub_start
	RELAY=(p2phub "$HUB_URL") PID=${LAB_PID[hub]}
}

start_coturn() {
	lab_start coturn hub turnserver -n --no-auth --no-tls --no-dtls --no-cli -L $HUB_IP4 -E $HUB_IP4 -p 3478 \
		--min-port 10000 --max-port 32000 --log-file stdout --simple-log --pidfile "$LAB/coturn.pid" --userdb "$LAB/turndb"
	lab_until 10 "coturn listens" lab_listens hub 3478
	RELAY=(turn $HUB_IP4:3478) PID=${LAB_PID[coturn]}
}

# measure RELAY WORK ROUND SESSIONS SIZE
measure() {
	lab_in hub "$P2PD_BIN/relay_load" "${RELAY[@]}" "$4" "$5" "$SECONDS_EACH" "$PID" |
		jq -c ". + {relay: \"$1\", work: \"$2\", round: $3}" | tee -a "$RAW"
}

for ((round = 0; round <= ROUNDS; round++)); do
	for relay in p2phub coturn; do
		"start_$relay"
		measure $relay flow $round 1 1400
		measure $relay many $round 1000 64
		lab_kill "${relay/p2phub/hub}"
	done
done
python3 tests/bench/hub_table.py relay "$RAW" $OUT
