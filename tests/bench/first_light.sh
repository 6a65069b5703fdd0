#!/bin/bash
# What joining and reaching each other take: scenarios of the lab at full length, or those that are named, into README.md.
# RUNS and ROUNDS: see tests/lab/test_direct.sh and test_kill.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/scenarios.bash
export RUNS=${RUNS:-20} ROUNDS=${ROUNDS:-100}
scenarios_run first_light measured \
	"two machines in network namespaces, real nftables NATs, 50 ms apart by emulated cables." \
	direct symmetric kill hub_down idle interop -- "$@"
