#!/bin/bash
# Declared rules: the diff is shown, 200 rules are there within 5 s, a second time changes nothing, one error changes nothing, and
# all of it survives kill -9. Rules of p2pd.yaml come with `up`. Tombstones come back by restore.
# Timeout: 120 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"
APPLY_MS=${APPLY_MS:-15000} # the bench sets the goal: 5000

lab_internet
lab_site n port-restricted
lab_site a port-restricted
hub_start
nodes_start n a
own=$(own4 n)
service_start n 7000 200

policy() {
	echo "forwards:"
	for i in $(seq 0 $(($1 - 1))); do
		echo "  - name: till-$i-7000"
		echo "    local: $own:$((7000 + i))"
		echo "    public_port: $((8000 + i))"
		echo "    scope: ${2:-org}"
	done
}
policy 200 >"$LAB/policy.yaml"
count() { [ "$(forward n ls --json | jq "[.forwards[] | select($1)] | length")" = "$2" ]; }

forward n apply -f "$LAB/policy.yaml" --dry-run >"$LAB/out"
grep -q "200 added" "$LAB/out" || lab_fail "the dry run says $(tail -1 "$LAB/out")"
count true 0 || lab_fail "the dry run made rules"
start=$(lab_now_ms)
forward n apply -f "$LAB/policy.yaml" >"$LAB/out"
written=$(lab_took "$start")
lab_until 60 "200 rules are active" count '.state == "active"' 200
took=$(lab_took "$start")
lab_note "200 rules: written after $written ms, all active after $took ms"
[ "$took" -le "$APPLY_MS" ] || lab_fail "200 rules took $took ms"
n=$(status n .self.ip4)
gets "200 $(status a .self.ip4)" a tcp "$n" 8000 200 --apart -1000
ids=$(forward n ls -q | sort)

start=$(lab_now_ms)
forward n apply -f "$LAB/policy.yaml" >"$LAB/out"
grep -Eq "0 added, 0 changed, 0 removed, 200 as they were" "$LAB/out" || lab_fail "the second time: $(tail -1 "$LAB/out")"
[ "$(forward n ls -q | sort)" = "$ids" ] || lab_fail "the second time made other rules"
lab_note "the second time: nothing changed, $(lab_took "$start") ms"

# kill -9 right after it was acknowledged.
policy 150 >"$LAB/policy.yaml"
echo "    max_conn: 7" >>"$LAB/policy.yaml"
forward n apply -f "$LAB/policy.yaml" >"$LAB/out"
lab_kill n KILL
grep -Eq "0 added, 1 changed, 50 removed" "$LAB/out" || lab_fail "fewer rules: $(tail -1 "$LAB/out")"
grep -q "^~ till-149-7000: max_conn 200 -> 7$" "$LAB/out" || lab_fail "the change is not told: $(grep "^~" "$LAB/out")"
node_start n
lab_until 30 "n is back" is_joined n
lab_until 60 "150 rules are active" count '.state == "active"' 150
count '.max_conn == 7' 1 || lab_fail "a change was lost"

# An error: where it is, and nothing is changed.
policy 3 >"$LAB/bad.yaml"
printf '  - name: bad\n    local: %s:70000\n' "$own" >>"$LAB/bad.yaml"
refused 2 "yaml:15:" forward n apply -f "$LAB/bad.yaml"
lab_note "an error: $(cat "$LAB/err")"
count true 150 || lab_fail "a file with an error changed something"
printf 'forwards:\n  - name: x\n   local: oops\n' >"$LAB/bad.yaml"
refused 2 "3" forward n apply -f "$LAB/bad.yaml"

# A removed rule comes back as it was, with its id.
id=$(forward n ls -q 'till-149-7000')
forward n rm "$id" >"$LAB/out"
gets "1 (refused|silent)" a tcp "$n" 8149 --wait 3
forward n ls --all --json | jq -e --arg id "$id" '.forwards[] | select(.forward_id == $id) | .state == "removed"' >/dev/null ||
	lab_fail "no tombstone"
forward n restore "$id" >"$LAB/out"
forward_ready n "$id"
[ "$(forward_look n "$id" .max_conn)" = 7 ] || lab_fail "it came back as another one"
gets "1 [0-9.]+" a tcp "$n" 8149 --apart -1000

# What is wrong on the way is told apart.
forward n ping "$id" --json >"$LAB/ping.json"
[ "$(jq -r '[.checks[] | select(.ok | not)] | length' "$LAB/ping.json")" = 0 ] || lab_fail "ping: $(cat "$LAB/ping.json")"
lab_kill service-n-7000
refused 1 "service" forward n ping "$id"
lab_note "ping of a service that is gone: $(cat "$LAB/err")"

# Rules that come with the configuration.
node_stop n
{
	echo "forwards:"
	echo "  - {name: from-config, local: '$own:9999', scope: org}"
} >"$LAB/n.yaml"
node_start n --config "$LAB/n.yaml"
lab_until 30 "n is back" is_joined n
lab_until 20 "the configuration's rule is there" count '.name == "from-config" and .state == "active"' 1
