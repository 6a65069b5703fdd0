#!/bin/bash
# What a hub carries: the links of many nodes (hub_load.c), idle, joining, introduced to each other, and coming back after
# the hub was killed. Hub and load on this machine, joined by its loopback.
#
#   ./dev bench hub [--quick]
#
# NODES=20000, or what the limit of open files allows; RATE=500 joins and SIGNALS=5000 introductions a second. --quick:
# 2,000 nodes and short phases. Raw figures: tests/bench/hub.json, from it hub.md and the words in README.md between its
# two `hub` marks; with --quick all of these go to build/bench only.
cd "$(dirname "$0")/../.." || exit 1
export LAB_IP6=0
. tests/lab/p2pd.sh

ADDRESSES=8 OUT=tests/bench IDLE_S=60 SIGNALS_S=20
NODES=${NODES:-20000} RATE=${RATE:-500} SIGNALS=${SIGNALS:-5000}
if [ "${1:-}" = --quick ]; then
	NODES=2000 IDLE_S=5 SIGNALS_S=5 OUT=build/bench
fi
files=$(ulimit -Hn)
ulimit -n "$files"
[ "$files" = unlimited ] || [ "$files" -ge $((NODES + 100)) ] || NODES=$((files - 100))
RAW=build/bench/hub.jsonl
mkdir -p build/bench

# One source address for each of the hub's: a hub is not asked by 20,000 from one place.
lab_namespace hub 0
for ((i = 0; i < ADDRESSES; i++)); do
	ip -n hub addr add 198.51.100.$((10 + i))/32 dev lo
	ip -n hub addr add 198.18.0.$((10 + i))/32 dev lo
	ip -n hub route replace local 198.51.100.$((10 + i)) dev lo table local src 198.18.0.$((10 + i))
done
ip -n hub addr add $HUB2_IP4/32 dev lo

# As systemd does: a hub that was killed is started anew.
hub_keep() {
	while [ -e "$LAB/keep" ]; do
		lab_start hub hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls 0.0.0.0:443 --udp $HUB_IP4:3478 \
			--udp $HUB_IP4:3479 --udp $HUB2_IP4:3478 --udp $HUB2_IP4:3479
		echo "${LAB_PID[hub]}" >"$LAB/hub.pid"
		wait "${LAB_PID[hub]}" 2>/dev/null || sleep 0.2
	done
}

# shellcheck disable=SC2034 # the lab's
LAB_TAIL=5
touch "$LAB/keep"
hub_keep &
lab_until 5 "the hub listens" lab_listens hub 443
HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub" --host $HUB_IP4)
lab_note "$NODES nodes"
lab_in hub "$P2PD_BIN/hub_load" "$HUB_URL" "$NODES" join idle=$IDLE_S signals=$SIGNALS_S comeback idle=5 \
	--rate "$RATE" --signals "$SIGNALS" --addresses $ADDRESSES --pid "$LAB/hub.pid" | tee "$RAW"
rm "$LAB/keep"
python3 tests/bench/hub_table.py hub "$RAW" $OUT
