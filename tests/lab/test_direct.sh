#!/bin/bash
# Two nodes behind NATs that let it be find a direct path, every time: RUNS times each pair (default 3), each time with
# new routers and a new network. Times are told, and fail only beyond a generous bound: this is no benchmark.
# Timeout: 900 s
. "$(dirname "$0")/p2pd.sh"
RUNS=${RUNS:-3}
PAIRS=${PAIRS:-port-restricted/port-restricted full-cone/port-restricted address-restricted/port-restricted
	same/lan open/port-restricted}
BOUND_MS=10000

sites_up() {
	if [ "$1" = same/lan ]; then
		lab_site a port-restricted
		lab_host b a
	else
		lab_site a "${1%/*}"
		lab_site b "${1#*/}"
	fi
}

sites_down() {
	lab_remove a
	[ "$1" = same/lan ] || lab_remove b
	rm -rf "$LAB"/[ab].state
}

# `p2pd up` as a person types it: returns once joined.
up_both() {
	local name
	for name in a b; do
		# shellcheck disable=SC2046
		lab_start "up-$name" $name "$P2PD_BIN/p2pd" $(node_up_words $name)
	done
	for name in a b; do
		wait "${LAB_PID[up-$name]}" || lab_fail "p2pd up on $name: exit code $?"
	done
}

# Pings from a to b, each line with the milliseconds since $1 before it.
timed_pings() {
	local since=$1 line
	until node a ping b --until-direct -c 40; do
		[ $(($(lab_now_ms) - since)) -lt $BOUND_MS ] || return 0
		sleep 0.02
	done 2>>"$LAB/ping.err" | while read -r line; do
		echo "$(($(lab_now_ms) - since)) $line"
	done
}

one_run() {
	local pair=$1 joined first direct
	up_both
	joined=$(lab_now_ms)
	timed_pings "$joined" >"$LAB/pings.log"
	first=$(awk '/ pong from /{ print $1; exit }' "$LAB/pings.log")
	direct=$(awk '/ pong from / && !/via relay/ { print $1; exit }' "$LAB/pings.log")
	[ -n "$direct" ] && [ "$direct" -le $BOUND_MS ] || lab_fail "$pair: no direct path within $BOUND_MS ms"
	path_is a b direct || lab_fail "$pair: a ping came directly, status says otherwise"
	echo "$first" >>"$LAB/first"
	echo "$direct" >>"$LAB/direct"
	node a down
	node b down
}

lab_internet
hub_start
for pair in $PAIRS; do
	rm -f "$LAB/first" "$LAB/direct"
	for run in $(seq "$RUNS"); do
		export NETWORK="lab-${pair//\//-}-$run"
		sites_up "$pair"
		one_run "$pair"
		sites_down "$pair"
	done
	lab_note "$pair: direct in $RUNS of $RUNS; median after both joined: first answer $(median <"$LAB/first") ms," \
		"direct $(median <"$LAB/direct") ms, slowest $(sort -n "$LAB/direct" | tail -1) ms"
done
