#!/bin/bash
# Ten nodes behind mixed NATs (KINDS), traffic between all pairs: within 30 s each pair talks, directly where the techniques say
# so. A search for a port misses one time in fifty, and the caps on probes let the next begin only 30 s later: LATE_MAX pairs
# may need that one. Then silence: what each node still sends and gets on its cable in IDLE seconds, QUIET seconds after the
# last packet.
# Mostly waits: it runs beside others.
# Timeout: 480 s
. "$(dirname "$0")/p2pd.sh"
IDLE=${IDLE:-60} QUIET=${QUIET:-125}
CONVERGED_S=30 LATE_S=75 LATE_MAX=2
# A minute: the hub's UDP flow every 10 s (the floor of the notes' B7), the hub's link every 25 s and its TCP
# acknowledgements, ARP.
SENT_PER_MINUTE_MAX=30

names=(n0 n1 n2 n3 n4 n5 n6 n7 n8 n9)
KINDS=${KINDS:-open full-cone address-restricted port-restricted port-restricted home-carrier symmetric sequential
	block-512 sequential-down}
read -r -d '' -a kinds <<<"$KINDS" || true

# Both random: the relay, unless blocks are small and it was asked for. Random with counted: an experiment.
can_be_direct() {
	case $1/$2 in
	symmetric/symmetric | symmetric/block-* | block-*/symmetric | block-*/block-*) return 1 ;;
	symmetric/sequential* | sequential*/symmetric | block-*/sequential* | sequential*/block-*) return 1 ;;
	esac
}

lab_internet
hub_start
declare -A address
for i in "${!names[@]}"; do
	lab_site "${names[i]}" "${kinds[i]}"
done
start=$(lab_now_ms)
node_join "${names[@]}"
for name in "${names[@]}"; do
	address[$name]=$(status "$name" .self.ip4)
done
joined=$(($(lab_now_ms) - start))

# Each node pings all the others that come after it.
ping_all() {
	local i j
	for i in "${!names[@]}"; do
		for ((j = i + 1; j < ${#names[@]}; j++)); do
			lab_start "ping-$i-$j" "${names[i]}" ping -i 0.5 "${address[${names[j]}]}"
		done
	done
}

# What is not there yet: pairs without an answer, pairs without the direct path that they can have.
missing() {
	local i j direct
	for i in "${!names[@]}"; do
		direct=" $(status "${names[i]}" '[.peers[] | select(.path.kind == "direct").name] | join(" ")') "
		for ((j = i + 1; j < ${#names[@]}; j++)); do
			if ! grep -q 'bytes from' "$LAB/ping-$i-$j.log"; then
				echo "${kinds[i]}-${kinds[j]}:no-answer"
			elif can_be_direct "${kinds[i]}" "${kinds[j]}" && [[ $direct != *" ${names[j]} "* ]]; then
				echo "${kinds[i]}-${kinds[j]}:relayed"
			fi
		done
	done
}
all_there() { [ -z "$(missing)" ]; }
# Why those that are relayed are.
explain() {
	local name peer
	for name in "${names[@]}"; do
		for peer in $(status "$name" '[.peers[] | select(.path.kind != "direct").name] | join(" ")'); do
			[[ $name > $peer ]] || node "$name" why "$peer" | sed "s/^/# $name $peer: /"
		done
	done
}

start=$(lab_now_ms)
ping_all
# converge_until SECONDS
converge_until() {
	while ! all_there; do
		[ $(($(lab_now_ms) - start)) -lt $(($1 * 1000)) ] || return 1
		sleep 0.2
	done
}
if ! converge_until $CONVERGED_S; then
	late=$(missing)
	lab_note "all joined after $joined ms; $CONVERGED_S s later: ${late//$'\n'/ }"
	if [[ $late = *no-answer* ]] || [ "$(wc -l <<<"$late")" -gt $LATE_MAX ] || ! converge_until $LATE_S; then
		late=$(missing)
		explain
		rm "$LAB"/ping-*.log
		lab_fail "not as they shall be: ${late//$'\n'/ }"
	fi
fi
lab_note "ten nodes have joined after $joined ms; all pairs are as they shall be after $(($(lab_now_ms) - start)) ms more"
for i in "${!names[@]}"; do
	for ((j = i + 1; j < ${#names[@]}; j++)); do
		lab_kill "ping-$i-$j" KILL
	done
done
rm "$LAB"/ping-*.log

# Frames on the cable: b. are those that the site sent.
frames() { lab_cable "$1" stats | sed -n "s/.*\b$2\.frames=\([0-9]*\).*/\1/p"; }
sleep "$QUIET"
declare -A sent got
for name in "${names[@]}"; do
	sent[$name]=$(frames "$name" b) got[$name]=$(frames "$name" a)
done
sleep "$IDLE"
failed=""
for i in "${!names[@]}"; do
	name=${names[i]}
	out=$((($(frames "$name" b) - ${sent[$name]}) * 60 / IDLE)) in=$((($(frames "$name" a) - ${got[$name]}) * 60 / IDLE))
	lab_note "idle, a minute: the node behind ${kinds[i]} sends $out packets and gets $in"
	[ $out -le $SENT_PER_MINUTE_MAX ] || failed+=" ${kinds[i]}"
done
[ -z "$failed" ] || lab_fail "more than $SENT_PER_MINUTE_MAX packets a minute:$failed"
