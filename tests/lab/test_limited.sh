#!/bin/bash
# A router whose connection tracking table has 1,024 entries, and 200 flows of others through it: none of them loses
# anything while two nodes behind it look for their ways through hard NATs. `quiet` is what the flows lose without us.
# Timeout: 150 s
. "$(dirname "$0")/p2pd.sh"
TABLE=1024 FOREIGN=200 PUNCH_S=${PUNCH_S:-40}

lab_internet
lab_site a1 symmetric limit=$TABLE
lab_host a2 a1
lab_site b1 port-restricted
lab_site b2 port-restricted
hub_start
lab_watch a1
lab_foreign a1 $FOREIGN
sleep 15
quiet=$(lab_entries a1)
node_join a1 a2 b1 b2
lab_until 10 "a1 reaches b1" reaches a1 b1
lab_until 10 "a2 reaches b2" reaches a2 b2
traffic_start a1 b1 700
traffic_start a2 b2 900
sleep "$PUNCH_S"
kinds="$(peer a1 b1 .path.kind), $(peer a2 b2 .path.kind)"
read -r sent lost latest < <(lab_foreign_end a1)
most=$(lab_most a1)
lab_note "$FOREIGN foreign flows make $quiet entries; with two nodes at most $most of $TABLE; the paths: $kinds"
lab_note "of the $sent datagrams of others $lost were lost, the latest answer came after $latest ms"
[ "$sent" -ge $((FOREIGN * PUNCH_S)) ] || lab_fail "the foreign flows sent only $sent datagrams"
[ "$lost" = 0 ] || {
	lab_note "dropped: $(lab_drops a1 | paste -sd ';')"
	lab_fail "others lost $lost datagrams"
}
[ "$most" -lt $TABLE ] || lab_fail "the table was full"
