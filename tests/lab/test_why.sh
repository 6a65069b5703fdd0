#!/bin/bash
# `p2pd why`: two hard NATs are told of as such, with what was tried, what comes next and what would help; a direct pair
# says by what. status tells the same.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a symmetric
lab_site b symmetric
lab_site c port-restricted
lab_site d port-restricted
lab_site e open
hub_start
node_join a b c d e

why() { node "$1" why "$2" --json | jq -er "$3"; }
why_is() { [ "$(why "$1" "$2" "$3" 2>/dev/null)" = "$4" ]; }
# So many attempts have failed, while there is something to send.
has_failed() { reaches "$1" "$2" && [ "$(why "$1" "$2" '[.attempts[] | select(.outcome == "failed")] | length')" -ge "$3" ]; }

lab_until 15 "a knows its NAT" why_is a b .nat.here.type nat4
lab_until 15 "a knows b's NAT" why_is a b .nat.there.type nat4
lab_until 30 "a has tried" has_failed a b 1
node a why b >"$LAB/why"
sed 's/^/# /' "$LAB/why"
for words in "^b: relayed by the hub" "both NATs give each destination another port" "^NAT here .*hard:" \
	"^NAT there .*hard:" "^Tried .*ago .*: nothing answered" "^Next " "^What would make it direct" \
	"on the router here, .* forward UDP port $(status a .self.port) to this machine" \
	"on the router there, .* forward UDP port $(status b .self.port) to that machine"; do
	grep -q "$words" "$LAB/why" || lab_fail "why does not say: $words"
done
[ "$(wc -l <"$LAB/why")" -le 24 ] || lab_fail "it is longer than a screen"
[ "$(peer a b .nat.type)" = nat4 ] || lab_fail "status does not tell b's NAT"
[ "$(peer a b .path.technique)" = relay ] || lab_fail "status: $(peer a b .path)"
[ "$(peer a b .probes)" -gt 0 ] || lab_fail "status counts no probes"
[ "$(peer a b '.attempts[0].outcome')" = failed ] || lab_fail "status: $(peer a b .attempts)"
[ "$(status a '.self.nat.keepalive_s')" -ge 10 ] || lab_fail "status: $(status a .self.nat)"

# TECHNIQUE FROM TO
check_direct() {
	lab_until 20 "$2 reaches $3 directly" reaches_directly "$2" "$3"
	node "$2" why "$3" >"$LAB/why"
	sed 's/^/# /' "$LAB/why"
	grep -q "^$3: direct to " "$LAB/why" || lab_fail "why does not say that it is direct"
	grep -q "nothing to change" "$LAB/why" || lab_fail "why finds something to change"
	why_is "$2" "$3" .path.technique "$1" || lab_fail "opened by $(why "$2" "$3" .path.technique), not by $1"
	why_is "$2" "$3" '.advice | length' 0 || lab_fail "there is advice: $(why "$2" "$3" .advice)"
}
check_direct simultaneous-open c d
check_direct public c e
check_direct birthday a c
check_direct birthday c a

lab_kill b KILL
lab_until 15 "b is seen to be offline" why_is a b .next.when peer
node a why b | lab_says "start p2pd on b" || lab_fail "$(node a why b)"
node a why nobody >/dev/null 2>&1 && lab_fail "there is no such peer"
[ "$(node a why nobody 2>&1 | wc -l)" = 1 ] || lab_fail "the error is not one line"
