#!/bin/bash
# A node with 1, 100 and 1000 peers (CROWDS), each with a session: what memory it takes, and what one TCP stream to one
# more node brings then. All on one switch; the peers are played by one process (crowd.c). ./dev bench crowd
. "$(dirname "$0")/../lab/p2pd.sh"
CROWDS=${CROWDS:-1 100 1000} RUNS=${RUNS:-3} SECONDS_EACH=${SECONDS_EACH:-5}
PREFIX=10.77.0.0/16
HUB_IP4=192.0.2.1 HUB2_IP4=192.0.2.2
declare -A address_of=([one]=192.0.2.3 [two]=192.0.2.4 [crowd]=192.0.2.5)
ulimit -n 16384

plug() {
	lab_namespace "$1" 0
	ip link add dev "$1" netns switch type veth peer name eth0 netns "$1"
	ip -n switch link set dev "$1" master bridge up
	lab_ip6 "$1" eth0
	ip -n "$1" addr add "$2/24" dev eth0
	ip -n "$1" link set dev eth0 up
}

lab_namespace switch 0
ip -n switch link add dev bridge type bridge
ip -n switch link set dev bridge up
plug hub $HUB_IP4
ip -n hub addr add $HUB2_IP4/24 dev eth0
for name in one two crowd; do
	plug $name "${address_of[$name]}"
done

# MiB of a program, from its status: VmRSS now, VmHWM at most so far.
memory() { awk -v key="$2:" '$1 == key { printf "%.1f", $2 / 1024 }' "/proc/${LAB_PID[$1]}/status"; }
is_ready() { grep -q '^ready' "$LAB/crowd.log"; }
reset_peak() { echo 5 >"/proc/${LAB_PID[$1]}/clear_refs"; }

measure() {
	local count=$1 start ready run
	rm -rf "$LAB"/{hub,one.state,two.state,crowd.log}
	hub_start
	node_join one
	start=$(lab_now_ms)
	lab_start crowd crowd "$P2PD_BIN/crowd" "$HUB_URL" "$NETWORK" "$LAB/secret" "${address_of[crowd]}" $PREFIX one "$count"
	lab_until 300 "all $count have talked to it" is_ready
	ready=$(($(lab_now_ms) - start))
	node_join two
	lab_until 20 "one reaches two directly" reaches_directly one two
	reset_peak one
	local before rates=()
	before=$(memory one VmRSS)
	for ((run = 0; run < RUNS; run++)); do
		rates+=("$(overlay_rate one two -t "$SECONDS_EACH")")
	done
	lab_note "$count peers: all there after $ready ms; $(printf '%s\n' "${rates[@]}" | median) Mbit/s (${rates[*]});" \
		"MiB before, under load, after: $before, $(memory one VmHWM), $(memory one VmRSS); the hub: $(memory hub VmRSS)"
	lab_note "peers of two: $(status two '.peers | length'); of one: direct $(status one '[.peers[] | select(.path.kind == "direct")] | length') of" \
		"$(status one '.peers | length'), with handshakes: $(status one '[.peers[] | select(.last_handshake)] | length')"
	lab_kill crowd
	node_stop one
	node_stop two
	lab_kill hub
}

for count in $CROWDS; do
	measure "$count"
done
