#!/bin/bash
# Never a wrong byte: what goes through the tunnel is compared byte by byte (ferry.c), on every rung of the ladder of
# offloads, with both ciphers and between rungs, over a path that loses, reorders, repeats and corrupts packets, and over
# paths that carry 1,400 or 1,280 bytes. A bad path may cost throughput. SIZE is what the first pair of nodes carries in each
# case (default 64M; `./dev bench integrity` 1G); the other pairs carry a sixteenth.
# Timeout: 3600 s
export LAB_IP6=1 LAB_DELAY=0.3 LAB_TAIL=15
. "$(dirname "$0")/p2pd.sh"
SIZE=$(numfmt --from=iec "${SIZE:-64M}")
CASES=${CASES:-clean loss reorder duplicate corrupt smaller router silent}
CASES6=${CASES6:-clean corrupt router}
PORT=7000

# --- What is there to be tested

RUNGS=${RUNGS:-all no-uso no-gro no-gso none} CIPHERS=${CIPHERS:-auto chacha20}
grep -aq P2PD_OFFLOAD "$P2PD_BIN/p2pd" || {
	lab_note "NOT TESTED: rungs; this p2pd does not know P2PD_OFFLOAD"
	RUNGS=all
}
"$P2PD_BIN/p2pd" up --help | grep -q -- --cipher || {
	lab_note "NOT TESTED: ciphers; this p2pd does not know --cipher"
	CIPHERS=auto
}

# a's rung/b's rung/the cipher of both/by which IP they reach each other
pairs() {
	local rung cipher
	for cipher in $CIPHERS; do
		for rung in $RUNGS; do
			echo "$rung/$rung/$cipher/4"
		done
	done
	[[ $RUNGS != all*none ]] || printf '%s\n' all/none/auto/4 none/all/auto/4
	for rung in $RUNGS; do
		echo "$rung/$rung/auto/6"
	done
}

# --- The path

impair() {
	case $1 in
	clean) ;;
	loss) lab_cable b loss=1 ;;
	reorder) lab_cable b reorder=2 ;;
	duplicate) lab_cable b duplicate=2 ;;
	corrupt) lab_cable b corrupt=1 ;;
	smaller) lab_narrow a b 1400 ;;
	router) # cuts what is larger in fragments, or says so where that is not allowed
		ip -n inet link set dev a mtu 1280
		ip -n inet link set dev b mtu 1280
		;;
	silent) lab_narrow a b 1280 ;;
	*) lab_fail "no such case: $1" ;;
	esac
}

repair() {
	lab_cable b loss=0 reorder=0 duplicate=0 corrupt=0
	ip -n inet link set dev a mtu 1500
	ip -n inet link set dev b mtu 1500
	lab_rejoin
	forget_sizes
}

# What the hosts learnt of the path would make them cut packets in fragments where the next case has a hole.
forget_sizes() {
	local name family
	for name in a b; do
		for family in 4 6; do
			ip -n $name -$family route flush cache
		done
	done
}

# --- What goes through

# carry WHAT FROM TO tcp|udp 4|6 BYTES [OPTION...]
carry() {
	local what=$1 from=$2 to=$3 kind=$4 family=$5 bytes=$6 got rc=0
	shift 6
	got=$(lab_in "$from" timeout 300 "$P2PD_BIN/ferry" "$kind" "${ip[$to$family]}" $PORT "$bytes" "$@" 2>&1) || rc=$?
	echo "$what: $from to $to, $kind over IPv$family $*: $got" >>"$LAB/carried.log"
	[ $rc = 0 ] || lab_fail "$what: $from to $to, $kind over IPv$family $*: $got"
	carried=$got
}
in_order() { [[ $carried = *" 0 out of order" ]] || lab_fail "$1: out of order: $carried"; }

large_gets_through() { lab_in "$1" ping -q -c 1 -W 1 -s 1220 "${ip[$2]}" >"$LAB/ping.log" 2>&1; }

mss=(536 1000 1337)
turn=0
# All kinds of packets; the last answer of `carry` for the stream is told.
everything() {
	local what=$1 bytes=$2 part=$(($2 / 8))
	carry "$what" a b tcp 4 "$bytes"
	stream=$carried
	carry "$what" b a tcp 6 "$part" "mss=${mss[turn++ % 3]}"
	# A burst is over before its sender knows that the way loses all of it; the stream may have been of small packets.
	lab_until 20 "$what: large packets get through" large_gets_through b a6
	lab_until 20 "$what: large packets get through" large_gets_through a b4
	carry "$what" a b udp 4 "$part" size=1200 gso=40
	[ "${what%% *}" != clean ] || in_order "$what"
	carry "$what" b a udp 6 "$part" size=1200 gso=3
	[ "${what%% *}" != clean ] || in_order "$what"
	carry "$what" a b udp 6 $((part / 8)) size=100 gso=64
	[ "${what%% *}" != clean ] || in_order "$what"
	carry "$what" b a udp 4 $((part / 8)) size=64
	[ "${what%% *}" != clean ] || in_order "$what"
	carry "$what" a b udp 4 "$part" size=4000
	lab_in b ping -q -s 8000 -c 20 -i 0.01 -W 1 "${ip[a4]}" >"$LAB/ping.log" || true
	! grep -q "wrong data" "$LAB/ping.log" || lab_fail "$what: a ping came back changed"
	! grep -q " 0 received" "$LAB/ping.log" || lab_fail "$what: no large ping came back"
	checksums_are_right "$what"
}

# A wrong checksum within the tunnel is a fault of ours that a stream would get over: the kernel counts them. Outside it
# some are to be expected: of datagrams that were corrupted on the way, and of those that a router cut in fragments, where
# one was lost and its number came again (RFC 4963).
bad_checksums() { lab_in "$1" nstat -asz "*InCsumErrors" | awk '/InCsumErrors/ && $2 > 0 { print $1 " " $2 }'; }
declare -A bad_before=([a]="" [b]="")
checksums_are_right() {
	local name bad fresh
	for name in a b; do
		bad=$(bad_checksums $name)
		fresh=$(comm -13 <(echo "${bad_before[$name]}") <(echo "$bad"))
		bad_before[$name]=$bad
		[[ ${1%% *} != @(corrupt|router) ]] || fresh=$(sed '/^Udp/d' <<<"$fresh")
		[ -z "$fresh" ] || lab_fail "$1: the kernel of $name found wrong checksums: $fresh"
	done
}

# --- All of that

lab_internet
lab_site a open
lab_site b open
hub_start
declare -A ip
lab_start ferry-a a "$P2PD_BIN/ferry" serve $PORT
lab_start ferry-b b "$P2PD_BIN/ferry" serve $PORT gro
# What a fragment was lost of stays with the kernel for 30 s; beyond 4 MB, its default, it would take no more of any.
for name in a b; do
	lab_in $name sysctl -qw net.ipv4.ipfrag_high_thresh=$((64 << 20))
done

corrupted() { lab_cable b stats | grep -o 'corrupted=[0-9]*' | awk -F= '{ n += $2 } END { print n }'; }

# Without a tunnel the same path does change bytes, and the judge sees it.
impair corrupt
for way in "a b" "b a"; do
	got=$(lab_in "${way% *}" "$P2PD_BIN/ferry" udp "$(lab_public4 "${way#* }")" $PORT 4000000 size=1200 gso=40) || true
	[[ $got = *WRONG* ]] || lab_fail "the judge overlooks wrong bytes: $got"
done
repair
corrupted_before=$(corrupted)

# By IPv4 or IPv6: the internet lets none of the other pass between them.
lab_in inet nft add chain inet internet only4 '{ type filter hook forward priority 1; }'
use_outer() {
	local both="{ $(lab_public4 a), $(lab_public4 b) }"

	lab_in inet nft flush chain inet internet only4
	if [ "$1" = 4 ]; then
		lab_in inet nft add rule inet internet only4 meta nfproto ipv6 drop
	else
		lab_in inet nft add rule inet internet only4 ip saddr "$both" ip daddr "$both" drop
	fi
	forget_sizes
}
is_outer() {
	reaches_directly a b && reaches_directly b a || return 1
	[[ $1/$(peer a b .path.endpoint) = 4/[0-9]* || $1/$(peer a b .path.endpoint) = 6/"["* ]]
}

# nodes_up RUNG_A RUNG_B CIPHER
nodes_up() {
	local name words=()
	[ "$3" = auto ] || words=(--cipher "$3")
	P2PD_OFFLOAD=$1 node_start a "${words[@]}"
	P2PD_OFFLOAD=$2 node_start b "${words[@]}"
	for name in a b; do
		lab_until 10 "$name has joined" is_joined $name
		ip[${name}4]=$(status $name .self.ip4)
		ip[${name}6]=$(status $name .self.ip6)
	done
}

# The cases of one pair, so many bytes each.
one_pair() {
	local outer=$1 bytes=$2 cases=$CASES case told=""
	[ "$outer" = 4 ] || cases=$CASES6
	for case in $cases; do
		# Whoever lost large packets once is in no hurry to be direct again.
		[ "$case" = silent ] || lab_until 20 "$pair: a direct path" is_outer "$outer"
		impair "$case"
		everything "$case $pair" "$bytes"
		told+="$case $stream ($(peer a b .path.kind)), "
		repair
	done
	lab_note "$pair: ${told%, }"
}

bytes=$SIZE
for pair in $(pairs); do
	IFS=/ read -r rung_a rung_b cipher outer <<<"$pair"
	use_outer "$outer"
	nodes_up "$rung_a" "$rung_b" "$cipher"
	one_pair "$outer" "$bytes"
	node_stop a
	node_stop b
	bytes=$((SIZE / 16))
done
lab_note "$(($(corrupted) - corrupted_before)) datagrams were corrupted on the way through the tunnel"
[ "$(corrupted)" -gt "$corrupted_before" ] || [[ $CASES != *corrupt* ]] || lab_fail "nothing was corrupted: no test"
