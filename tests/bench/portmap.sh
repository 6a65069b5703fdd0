#!/bin/bash
# What a forwarded port carries: a visitor, a gateway, a node and its service in network namespaces of this machine, joined by
# veths. Beside it the tunnel itself, from the gateway to the node; socat at the gateway, through our tunnel; and ssh -R.
#
#   ./dev bench portmap [--quick] [CONTENDER...]
#
# A round measures every contender once; the first is discarded, then come ROUNDS=6. A ratio is taken within a round. Works:
#   up, down   Gb/s of one TCP stream to the service, and from it (iperf3, DURATION=3 s each)
#   rate       new connections a second, TOGETHER=64 at a time, each a byte there and back (visits.c)
#   held       HELD=5000 connections that are open at once: how many live, and what memory they take (once, at the end)
# Then how soon changes take effect: scenarios of the lab. Raw figures: tests/bench/portmap.json, from it the words in README.md
# between its two `portmap` marks; with --quick or named contenders all of these go to build/bench only.
cd "$(dirname "$0")/../.." || exit 1
CONTENDERS=(tunnel kernel user socat ssh)
export LAB_IP6=0
. tests/lab/p2pd.sh
. tests/lab/forward.sh

V_IP4=203.0.113.2 GW_IP4=203.0.113.1 OUTER_GW=192.0.2.1 OUTER_N=192.0.2.2
IPERF=5201 VISITS=5300
BENCH=$PWD/build/bench OUT=tests/bench
ROUNDS=${ROUNDS:-6} DURATION=${DURATION:-3} TOGETHER=${TOGETHER:-64} HELD=${HELD:-5000}

# --- The place

join_by() {
	ip link add dev "$3" netns "$1" type veth peer name "$4" netns "$2"
	lab_ip6 "$1" "$3"
	lab_ip6 "$2" "$4"
	ip -n "$1" link set dev "$3" up
	ip -n "$2" link set dev "$4" up
}
to_hub() {
	join_by hub "$1" "to-$1" hub
	ip -n hub route add "$2" dev "to-$1" src $HUB_IP4
	ip -n "$1" addr add "$2/32" dev hub
	ip -n "$1" route add $HUB_IP4 dev hub src "$2"
	ip -n "$1" route add $HUB2_IP4 dev hub src "$2"
}
place() {
	local name
	for name in v gw n hub; do
		lab_namespace $name 0
	done
	ip -n hub addr add $HUB_IP4/32 dev lo
	ip -n hub addr add $HUB2_IP4/32 dev lo
	to_hub gw 198.51.100.21
	to_hub n 198.51.100.22
	join_by v gw eth0 visitors
	ip -n v addr add $V_IP4/24 dev eth0
	ip -n gw addr add $GW_IP4/24 dev visitors
	join_by gw n eth0 eth0
	ip -n gw addr add $OUTER_GW/24 dev eth0
	ip -n n addr add $OUTER_N/24 dev eth0
	ip -n n route add default via $OUTER_GW
	# What waits for its time after a connection is to last for all rounds.
	for name in v gw n; do
		lab_in $name sysctl -qw net.ipv4.ip_local_port_range="30000 65000" net.ipv4.tcp_tw_reuse=1
	done
}

# --- The contenders: start_X sets FROM, where visitors are, TO and the ports there

forwarded() {
	local source=$1 shift=$2 id
	for port in $IPERF $VISITS; do
		id=$(forward_add n --local "$OUTER_N:$port" --scope public --via gw --allow 203.0.113.0/24 --max-conn 0 \
			--idle never --source-ip "$source" --public-port $((port + shift)))
		forward_ready n "$id" "$3"
	done
}
FROM=v TO=$GW_IP4 SHIFT=0
start_tunnel() { FROM=gw TO=$(status n .self.ip4) SHIFT=0; }
start_kernel() { FROM=v TO=$GW_IP4 SHIFT=0; }
start_user() { FROM=v TO=$GW_IP4 SHIFT=1000; }
start_socat() {
	FROM=v TO=$GW_IP4 SHIFT=2000
	local port
	for port in $IPERF $VISITS; do
		[ -n "${LAB_PID[socat-$port]:-}" ] ||
			lab_start "socat-$port" gw socat "TCP-LISTEN:$((port + SHIFT)),bind=$GW_IP4,reuseaddr,fork,backlog=1024" \
				"TCP:$(status n .self.ip4):$port"
		lab_until 5 "socat listens" lab_listens gw $((port + SHIFT))
	done
}
start_ssh() {
	FROM=v TO=$GW_IP4 SHIFT=3000
	[ -z "${LAB_PID[ssh]:-}" ] || return 0
	mkdir -p "$LAB/ssh" /run/sshd
	ssh-keygen -qt ed25519 -N "" -f "$LAB/ssh/host"
	ssh-keygen -qt ed25519 -N "" -f "$LAB/ssh/user"
	cp "$LAB/ssh/user.pub" "$LAB/ssh/authorized"
	lab_start sshd gw /usr/sbin/sshd -D -e -f /dev/null -p 2222 -h "$LAB/ssh/host" -o GatewayPorts=clientspecified \
		-o "AuthorizedKeysFile=$LAB/ssh/authorized" -o StrictModes=no -o UsePAM=no -o PidFile=none \
		-o PermitRootLogin=prohibit-password
	lab_until 5 "sshd listens" lab_listens gw 2222
	lab_start ssh n ssh -F none -N -p 2222 -i "$LAB/ssh/user" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
		-o ExitOnForwardFailure=yes -R "$GW_IP4:$((IPERF + SHIFT)):127.0.0.1:$IPERF" \
		-R "$GW_IP4:$((VISITS + SHIFT)):127.0.0.1:$VISITS" root@$OUTER_GW
	lab_until 10 "ssh forwards" lab_listens gw $((VISITS + SHIFT))
}

# Kilobytes that its processes have in memory: proportional, as processes of one program share most of it.
memory() {
	local pids=() pid
	case $1 in
	kernel | user | tunnel) pids=("${LAB_PID[gw]}" "${LAB_PID[n]}") ;;
	socat) mapfile -t pids < <(pgrep -x socat) ;;
	ssh) mapfile -t pids < <(pgrep -x 'ssh|sshd') ;;
	esac
	for pid in "${pids[@]}"; do
		sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/$pid/smaps_rollup" 2>/dev/null || true
	done | awk '{ n += $1; if ($1 > most) most = $1 } END { print n + 0 }'
}

# --- Works

# The server may still be busy with the last one: what goes through others ends later there than here.
stream() {
	local tries
	for tries in 1 2 3; do
		if lab_in $FROM iperf3 -c "$TO" -p $((IPERF + SHIFT)) -t "$DURATION" -C cubic -J "$@" >"$LAB/iperf.json" &&
			jq -e '.end.sum_received.bits_per_second / 1e9' "$LAB/iperf.json"; then
			return
		fi
		sleep $tries
	done
	lab_fail "iperf3: $(jq -r .error "$LAB/iperf.json")"
}
measure() {
	local contender=$1 round=$2 up down
	up=$(stream)
	down=$(stream -R)
	lab_in $FROM "$P2PD_BIN/visits" rate "$TO" $((VISITS + SHIFT)) "$DURATION" "$TOGETHER" |
		jq -c ". + {work: \"works\", contender: \"$contender\", round: $round, up: $up, down: $down}" | tee -a "$RAW"
}
held() {
	local contender=$1 count=${HELD_BY[$1]} before now living
	[ "$count" -gt 0 ] || return 0
	before=$(memory "$contender")
	rm -f "$LAB/held" "$LAB/held-stdin"
	mkfifo "$LAB/held-stdin"
	lab_in $FROM "$P2PD_BIN/visits" hold "$TO" $((VISITS + SHIFT)) "$count" <"$LAB/held-stdin" >"$LAB/held" &
	exec {stdin}>"$LAB/held-stdin"
	lab_until 60 "$contender: $count connections" test -s "$LAB/held"
	now=$(memory "$contender")
	exec {stdin}>&-
	wait $! || lab_fail "$contender: visits hold"
	living=$(tail -1 "$LAB/held")
	jq -nc "{work: \"held\", contender: \"$contender\", asked: $count, held: $living, kb: ($now - $before)}" | tee -a "$RAW"
}

# --- All of it

names=()
for word; do
	case $word in
	--quick) ROUNDS=1 DURATION=1 HELD=1000 OUT=$BENCH ;;
	-*)
		sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	*) names+=("$word") OUT=$BENCH ;;
	esac
done
[ ${#names[@]} -gt 0 ] || names=("${CONTENDERS[@]}")
# Each of socat's is a process; ssh has 1,024 descriptors or what the limit is.
declare -A HELD_BY=([tunnel]=0 [kernel]=$HELD [user]=$HELD [socat]=$((HELD / 10)) [ssh]=$((HELD / 10)))
ulimit -n "$(ulimit -Hn)"
RAW=$BENCH/portmap.jsonl
mkdir -p "$BENCH"
: >"$RAW"
place
hub_start
node_start gw --gateway $GW_IP4
lab_until 20 "gw has joined" is_joined gw
nodes_start n
lab_until 30 "gw reaches n directly" reaches_directly gw n
lab_start iperf n iperf3 -s -p $IPERF
lab_start visits n "$P2PD_BIN/visits" serve $VISITS
forwarded kernel 0 kernel
forwarded nat 1000 user
for ((round = 0; round <= ROUNDS; round++)); do
	for name in "${names[@]}"; do
		"start_${name}"
		measure "$name" $round
	done
	lab_note "round $round of $ROUNDS done after $SECONDS s"
done
for name in "${names[@]}"; do
	"start_${name}"
	held "$name"
done

: >"$BENCH/portmap.log"
if [ "$OUT" != "$BENCH" ]; then
	PAUSE_MS=1000 REMOVE_MS=2000 RESTART_MS=5000 APPLY_MS=5000 env -u LAB_INSIDE tests/lab/run forward_timing forward_apply |
		tee "$BENCH/portmap.log" || lab_note "a scenario failed"
fi
python3 tests/bench/portmap_table.py "$RAW" "$BENCH/portmap.log" $OUT
