#!/bin/bash
# Instructions that each packet of 1,392 bytes costs in the pure functions of the data path, counted by callgrind: the
# same on a busy machine as on an idle one. Beside the counts in instructions.txt; fails when one is over 10 % worse.
#
#   ./dev bench instructions [--update] [WORK...]
#
# --update writes instructions.txt. Counts differ between compilers, libraries and CPUs (which decide what code is chosen):
# instructions.txt says what its counts are from, and on anything else the comparison is shown, but fails nothing. The
# works stand in instructions.c.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${P2PD_BIN:-build/bin}/instructions kept=tests/bench/instructions.txt
MOST=900   # packets of a run
WORSE=110  # per cent of what is kept

total() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
		sed -n 's/.*Collected : *\([0-9]*\).*/\1/p'
}

# What the preparations take falls out of the difference of two runs.
per_packet() {
	local none all
	none=$(total "$1" 0)
	all=$(total "$1" $MOST)
	[ -n "$none" ] && [ -n "$all" ] || {
		echo "valgrind does not count $1:" >&2
		valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" $MOST >&2
		exit 1
	}
	echo $(((all - none + MOST / 2) / MOST))
}

machine() {
	echo "# $(cc --version | head -1), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(valgrind --version)"
}

compare() {
	local name=$1 count=$2 was
	was=$(awk -v name="$name" '$1 == name { print $2 }' $kept 2>/dev/null) || true
	if [ -z "$was" ]; then
		echo "$name $count (new)"
		return 0
	fi
	echo "$name $count, was $was ($((count * 100 / was)) %)"
	[ $((count * 100)) -le $((was * WORSE)) ]
}

update=0 failed=0
if [ "${1:-}" = --update ]; then
	update=1
	shift
fi
command -v valgrind >/dev/null || {
	echo "valgrind is not installed" >&2
	exit 1
}
[ $# -gt 0 ] && [ $update = 0 ] || mapfile -t all < <("$program" list)
[ $# -gt 0 ] || set -- "${all[@]}"
if [ $update = 1 ]; then
	{
		echo "# Instructions a packet, written by ./dev bench instructions --update, with"
		machine
		for name in "${all[@]}"; do
			echo "$name $(per_packet "$name")"
		done
	} >build/instructions.txt
	mv build/instructions.txt $kept
	cat $kept
	exit 0
fi
for name; do
	count=$(per_packet "$name")
	compare "$name" "$count" || {
		echo "    that is over $WORSE % of what it was"
		failed=1
	}
done
if [ $failed = 1 ] && ! grep -qxF "$(machine)" $kept; then
	echo "the counts in $kept are from another machine: nothing is said to be wrong"
	failed=0
fi
exit $failed
