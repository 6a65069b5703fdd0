#!/bin/bash
# What must work on every rung of the ladder of offloads, in short form: stock WireGuard beside us, IPv4 and IPv6, a
# direct path, the relay. All scenarios run on the whole ladder anyway, so the lower rungs only. (Bytes: test_integrity.sh.)
# Timeout: 900 s
cd "$(dirname "$0")" || exit 1
P2PD_BIN=${P2PD_BIN:-../../build/bin}
grep -aq P2PD_OFFLOAD "$P2PD_BIN/p2pd" || {
	echo "SKIP: this p2pd does not know P2PD_OFFLOAD"
	exit 77
}
export RUNS=1 PAIRS=port-restricted/port-restricted RESTART=0 REKEY=0 BYTES=32M RELAYED_S=1
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for P2PD_OFFLOAD in ${RUNGS:-no-uso no-gro no-gso none}; do
	export P2PD_OFFLOAD
	for scenario in interop direct ipv6 symmetric; do
		"./test_$scenario.sh" >"$output" 2>&1
		rc=$?
		grep '^#' "$output" | sed "s/^#/# $P2PD_OFFLOAD, $scenario:/"
		[ $rc = 0 ] || {
			grep -v '^#' "$output"
			[ $rc = 77 ] || echo "FAIL: $scenario on rung $P2PD_OFFLOAD"
			exit $rc
		}
	done
done
