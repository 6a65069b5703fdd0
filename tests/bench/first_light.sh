#!/bin/bash
# What joining and reaching each other take: runs the lab's scenarios at full length and writes what they report to
# build/first-light.md. RUNS and ROUNDS as in tests/lab/test_direct.sh and test_kill.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
export RUNS=${RUNS:-20} ROUNDS=${ROUNDS:-100}
out=build/first-light.md

{
	echo "Measured $(date -I) by \`./dev bench\` on $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r)."
	echo
	echo "| what | seen |"
	echo "|---|---|"
} >$out
failed=0
for scenario in direct symmetric kill idle hub_down interop; do
	log=build/first-light-$scenario.log
	tests/lab/run $scenario | tee "$log" || failed=1
	sed -n "s/^ *# \(.*\): \(.*\)/| \1 | \2 |/p" "$log" >>$out
done
cat $out
exit $failed
