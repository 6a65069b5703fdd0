#!/bin/bash
# What joining and reaching each other take: runs the lab's scenarios at full length (or only those that are named) and
# puts what they report into README.md, between its two `measured` marks. RUNS and ROUNDS: see tests/lab/test_direct.sh
# and test_kill.sh. The logs stay in build/, so that one scenario can be measured again and the table made anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
export RUNS=${RUNS:-20} ROUNDS=${ROUNDS:-100}
scenarios=(direct symmetric kill hub_down idle interop)
[ $# -gt 0 ] || set -- "${scenarios[@]}"

table() {
	local scenario
	echo "Measured on $(date -I) by \`./dev bench first_light\` on a machine of $(nproc) cores" \
		"($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r | cut -d. -f1-2)):"
	echo "two machines in network namespaces, real nftables NATs, 50 ms apart by emulated cables."
	echo
	echo "| scenario | what was seen |"
	echo "|---|---|"
	for scenario in "${scenarios[@]}"; do
		sed -n "s/^    # \(.*\)/| $scenario | \1 |/p" "build/first-light-$scenario.log" 2>/dev/null || true
	done
}

failed=0
for scenario; do
	tests/lab/run "$scenario" | tee "build/first-light-$scenario.log" || failed=1
done
table >build/first-light.md
[ $failed = 0 ] || exit 1
sed -i -e '/<!-- measured -->/,/<!-- end of measured -->/ {
	//!d
	/<!-- measured -->/r build/first-light.md
}' README.md
