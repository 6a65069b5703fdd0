# shellcheck shell=bash
# Runs scenarios of the lab and puts what they report into README.md, between the two marks of a bench. Source it.
#
#   scenarios_run BENCH MARK HEAD SCENARIO... -- [NAMED...]   only the named ones are run, if any; the others keep the row
#                                                            that they had, from their logs in build/
scenarios_table() {
	local bench=$1 head=$2 scenario
	shift 2
	echo "Measured on $(date -I) by \`./dev bench $bench\` on a machine of $(nproc) cores" \
		"($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r | cut -d. -f1-2)):"
	echo "$head"
	echo
	echo "| scenario | what was seen |"
	echo "|---|---|"
	for scenario; do
		sed -n "s/^    # \(.*\)/| $scenario | \1 |/p" "build/$bench-$scenario.log" 2>/dev/null || true
	done
}

scenarios_run() {
	local bench=$1 mark=$2 head=$3 all=() scenario failed=0
	shift 3
	while [ "$1" != -- ]; do
		all+=("$1")
		shift
	done
	shift
	[ $# -gt 0 ] || set -- "${all[@]}"
	for scenario; do
		tests/lab/run "$scenario" | tee "build/$bench-$scenario.log" || failed=1
	done
	scenarios_table "$bench" "$head" "${all[@]}" >"build/$bench.md"
	[ $failed = 0 ] || return 1
	sed -i -e "/<!-- $mark -->/,/<!-- end of $mark -->/ {
		//!d
		/<!-- $mark -->/r build/$bench.md
	}" README.md
}
