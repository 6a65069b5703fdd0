#!/bin/bash
# Nodes agree on AEGIS-256, on the relay and directly, unless one of them is told --cipher chacha20: then nothing of it
# is seen at that node. What it was told is kept.
# Timeout: 120 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
for name in a b c; do
	lab_site $name port-restricted
done
hub_start
node_start c --cipher chacha20
node_join a b
lab_until 10 "c has joined" is_joined c
grep -qw aes /proc/cpuinfo || grep -qw aes <(lscpu) || lab_skip "the processor has no AES instructions"

uses() { [ "$(peer "$1" "$2" .cipher)" = "$3" ]; }
both_use() {
	lab_until 10 "$1 reaches $2" reaches "$1" "$2"
	lab_until 5 "$1 seals with $3 for $2" uses "$1" "$2" "$3"
	lab_until 5 "$2 seals with $3 for $1" uses "$2" "$1" "$3"
	lab_until 20 "$1 reaches $2 directly" reaches_directly "$1" "$2"
	uses "$1" "$2" "$3" && uses "$2" "$1" "$3" || lab_fail "$1 and $2 changed to $(peer "$1" "$2" .cipher)"
	lab_note "$1 and $2: $(peer "$1" "$2" .cipher)"
}
# Whether messages of AEGIS-256 pass at a host while it pings another one.
passes_at() {
	local seen=0
	node "$1" ping "$2" -c 5 >/dev/null 2>&1 &
	lab_in "$1" timeout 4 tcpdump -nni any -c 1 'udp[8] = 0x83' >/dev/null 2>&1 || seen=$?
	wait $! || true
	return $seen
}

[ "$(peer a b .cipher 2>/dev/null || echo none)" != chacha20-poly1305 ] || lab_fail "a cipher before there are keys"
both_use a b aegis-256
both_use a c chacha20-poly1305
passes_at a b || lab_fail "status says AEGIS-256, and no message of it passes"
! passes_at c a || lab_fail "a message of AEGIS-256 at a node that was told --cipher chacha20"

node_stop c
node_start c
lab_until 10 "c has joined again" is_joined c
both_use c a chacha20-poly1305
node_stop c
node_start c --cipher auto
lab_until 10 "c has joined again" is_joined c
both_use c a aegis-256
