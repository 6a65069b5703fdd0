#!/bin/bash
# What it takes to stay direct: nodes that move, routers that forget, paths that lose large packets, many nodes, small
# routers. Scenarios of the lab, or those that are named, into README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/scenarios.bash
export ANSWER_MS=1000 DIRECT_MS=3000 GAP_MS=2000
scenarios_run staying staying \
	"real nftables NATs in network namespaces, 50 ms apart by emulated cables; times since what happened." \
	roaming blackhole limited ten same_nat -- "$@"
