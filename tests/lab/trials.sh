#!/bin/bash
# trials.sh KIND KIND FROM TO LIMIT: trials number FROM to TO of a pair of NATs (nats.sh), for tests/bench/traversal.sh.
# Each has new routers, a new network and new nodes, gives up after LIMIT seconds, and prints one line of JSON:
# what trial.py measured, and those below. FLAGS are for every router.
#   joined_ms   until `p2pd up` was done on both
#   probes      that the node sent which sent more
#   entries     in the fullest router's table at the end, other users' flows (BACKGROUND a second, on NATs that count) not
#               among them; by then none has timed out
. "$(dirname "$0")/p2pd.sh"
BACKGROUND=${BACKGROUND:-20}

site_up() {
	# shellcheck disable=SC2086
	lab_site "$1" "$2" ${FLAGS:-}
	case $2 in sequential* | stride) lab_background "$1" "$BACKGROUND" ;; esac
}

site_down() {
	[ -z "${LAB_PID[noise-$1]:-}" ] || lab_kill "noise-$1"
	lab_remove "$1"
	rm -rf "$LAB/$1.state" "$LAB/$1.sock"
}

# As a person does it: returns once joined.
up() {
	# shellcheck disable=SC2046
	lab_start "up-$1" "$1" "$P2PD_BIN/p2pd" $(node_up_words "$1") --timeout 30
}

entries_of() {
	local router
	for router in $(lab_routers "$1"); do
		lab_in "$router" conntrack -L 2>/dev/null | grep -vc "dport=$LAB_DISCARD " || true
	done | sort -n | tail -1
}

probes_of() { status "$1" '[.peers[].probes // 0] | add // 0'; }

# The larger of two numbers, either of which may be missing.
larger() { printf '%s\n' "${1:-0}" "${2:-0}" | sort -n | tail -1; }

trial() {
	local a=$1 b=$2 number=$3 limit=$4 start joined measured name
	export NETWORK="trial-$number"
	site_up a "$a"
	site_up b "$b"
	start=$(lab_now_ms)
	up a
	up b
	for name in a b; do
		wait "${LAB_PID[up-$name]}" || lab_fail "p2pd up on $name ended with $?"
	done
	joined=$(($(lab_now_ms) - start))
	measured=$(lab_in a "$LAB_HERE/trial.py" "$P2PD_BIN/p2pd" "$LAB/a.sock" b "$limit")
	jq -c --arg a "$a" --arg b "$b" --argjson trial "$number" --argjson joined $joined \
		--argjson probes "$(larger "$(probes_of a)" "$(probes_of b)")" \
		--argjson entries "$(larger "$(entries_of a)" "$(entries_of b)")" \
		'{a: $a, b: $b, trial: $trial, joined_ms: $joined} + . + {probes: $probes, entries: $entries}' <<<"$measured"
	node a down >&2
	node b down >&2
	site_down a
	site_down b
}

lab_internet
hub_start
for number in $(seq "$3" "$4"); do
	trial "$1" "$2" "$number" "$5"
done
