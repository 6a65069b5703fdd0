#!/bin/bash
# A node with four threads for data, and others with one: directly, through the relay, and by an extra socket (between a
# symmetric and a port-restricted NAT, opened by birthday). Many streams and datagrams both ways at once: no wrong byte, and
# no packet of a flow overtakes another. The threads end in good order, also while they carry data.
# Timeout: 240 s
export LAB_DELAY=0.3
. "$(dirname "$0")/p2pd.sh"
STREAMS=${STREAMS:-8}
SIZE=$(numfmt --from=iec "${SIZE:-2M}") # of each stream
WORKERS=${WORKERS:-4}
PORT=7000

declare -A ip

# Each judge looks at one transfer at a time, and its answer goes to a file of its own: send NUMBER FROM TO tcp|udp BYTES
# [OPTION...]
send() {
	local number=$1 from=$2 to=$3 kind=$4 bytes=$5
	shift 5
	lab_in "$from" timeout 120 "$P2PD_BIN/ferry" "$kind" "${ip[$to]}" $((PORT + number)) "$bytes" "$@" \
		>"$LAB/carried/$from-$number" 2>&1
}

# All streams and datagrams both ways between two nodes, at once.
carry_all() {
	local a=$1 b=$2 pids=() pid i n=$STREAMS bad=0
	rm -rf "$LAB/carried"
	mkdir "$LAB/carried"
	for ((i = 0; i < STREAMS; i++)); do
		send "$i" "$a" "$b" tcp "$SIZE" &
		pids+=($!)
		send "$i" "$b" "$a" tcp "$SIZE" &
		pids+=($!)
	done
	for i in 100 1200; do
		send "$n" "$a" "$b" udp "$((SIZE * i / 1200))" size="$i" gso=20 &
		pids+=($!)
		send "$n" "$b" "$a" udp "$((SIZE * i / 1200))" size="$i" &
		pids+=($!)
		n=$((n + 1))
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || bad=1
	done
	[ $bad = 0 ] || lab_fail "$a and $b: $(cat "$LAB/carried"/*)"
}

goes() { reaches "$2" "$3" && reaches "$3" "$2" && path_is "$2" "$3" "$1" && path_is "$3" "$2" "$1"; }
path_of() { peer "$1" "$2" '.path | .endpoint + .since'; }

# WHAT KIND A B: while the path stays the same nothing may come out of order.
check_pair() {
	local what=$1 kind=$2 a=$3 b=$4 path try
	for try in 1 2 3; do
		lab_until 20 "$what: $kind" goes "$kind" "$a" "$b"
		path="$(path_of "$a" "$b") $(path_of "$b" "$a")"
		carry_all "$a" "$b"
		[ "$(path_of "$a" "$b") $(path_of "$b" "$a")" != "$path" ] || break
		lab_note "$what: the path changed meanwhile"
		[ $try != 3 ] || lab_fail "$what: the path changes all the time"
	done
	! grep -h "out of order" "$LAB/carried"/* | lab_says -v " 0 out of order" ||
		lab_fail "$what: $(grep -h "out of order" "$LAB/carried"/*)"
	lab_note "$what: $(awk '{ n += $1 } END { print int(n) }' "$LAB/carried"/*) Mbit/s in all; replays at $a, $b: $(status "$a" .drops.replayed), $(status "$b" .drops.replayed)"
}

lab_internet
lab_site a symmetric
lab_site relayed symmetric
lab_site direct open
lab_site extra port-restricted
hub_start
node_start a --workers "$WORKERS"
for name in relayed direct extra; do
	node_start "$name" --workers 1
done
for name in a relayed direct extra; do
	lab_until 10 "$name has joined" is_joined $name
	ip[$name]=$(status $name .self.ip4)
	for ((i = 0; i < STREAMS + 2; i++)); do
		lab_start ferry-$name-$i $name "$P2PD_BIN/ferry" serve $((PORT + i))
	done
done
[ "$(find "/proc/${LAB_PID[a]}/task" -mindepth 1 -maxdepth 1 | wc -l)" -gt "$WORKERS" ] || lab_fail "a has no threads"

lab_until 10 "a reaches the relayed one" reaches a relayed
lab_until 40 "a path by birthday" goes direct a extra
[ "$(peer a extra .path.technique)" = birthday ] || lab_fail "opened by $(peer a extra .path.technique)"

check_pair "through the relay" relay-udp a relayed
check_pair "directly" direct a direct
check_pair "by an extra socket" direct a extra

# The keys of a peer that began anew come while all threads have data for it.
node_stop direct
send 0 a relayed tcp "$SIZE" &
sender=$!
node_start direct --workers 1
lab_until 20 "they meet again" goes direct a direct
wait $sender || lab_fail "a stream to another peer: $(cat "$LAB/carried"/*)"
check_pair "after a restart of the peer" direct a direct

# Ended while streams go both ways.
lab_in a timeout 10 "$P2PD_BIN/ferry" tcp "${ip[direct]}" $PORT 1000000000 >/dev/null 2>&1 &
lab_in direct timeout 10 "$P2PD_BIN/ferry" tcp "${ip[a]}" $PORT 1000000000 >/dev/null 2>&1 &
sleep 0.5
for name in a relayed direct extra; do
	node_stop $name
done
