#!/bin/bash
# SIGHUP: rules that p2pd.yaml declares come, change and go with the file, those made by hand stay; what a gateway allows changes
# while it runs. What is not there cannot be had, and says so. An end by --expires is not undone.
# Timeout: 180 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
hub_start
gw=$(lab_public4 gw) own=$(own4 n)
service_start n 7000 4

says() { grep -q -- "$2" "$LAB/$1.log"; }
# settings NAME: takes the file from stdin
settings() {
	cat >"$LAB/$1.yaml"
	kill -HUP "${LAB_PID[$1]}"
}
rules() { forward n ls --json | jq -r '[.forwards[].name] | sort | join(" ")'; }
has_rules() { [ "$(rules)" = "$1" ]; }
declared() {
	echo "forwards:"
	for name; do
		echo "  - {name: $name, local: '$own:$((7000 + ${name#r}))', scope: public, via: gw, allow: [198.51.100.0/24, 203.0.113.0/24]${MORE:-}}"
	done
}

: >"$LAB/gw.yaml"
declared r0 r1 >"$LAB/n.yaml"
gateway_start gw --config "$LAB/gw.yaml"
node_start n --config "$LAB/n.yaml"
lab_until 30 "n has joined" is_joined n
forward_ready n r0
forward_ready n r1
hand=$(forward_public n "$own:7003" --name hand)
forward_ready n "$hand"
gets "1 [0-9.]+" v tcp "$gw" 7000

# Rules change with the file.
settings n < <(MORE=', max_conn: 7' declared r1 r2)
lab_until 5 "the rules are those of the file" has_rules "hand r1 r2"
says n "read again: only forwards have changed" || lab_fail "the log does not say that forwards changed"
lab_until 5 "the log says which" says n "forwards: 'r1' changed: max_conn"
says n "forwards: 'r0' removed" && says n "forwards: 'r2' added" || lab_fail "the log does not say which rules changed"
forward_ready n r2
gets "1 [0-9.]+" v tcp "$gw" 7002
gets "1 (refused|silent)" v tcp "$gw" 7000 --wait 3
forward_is n "$hand" active || lab_fail "a rule made by hand has gone"

# What a person removes of it comes back, and is told so; what was closed stays closed.
forward n rm r2 >"$LAB/out" 2>"$LAB/err"
grep -q "p2pd.yaml" "$LAB/err" || lab_fail "rm does not say that the rule comes back: $(cat "$LAB/err")"
forward n set r1 --expires 1s >"$LAB/out"
lab_until 10 "r1 has ended" forward_is n r1 expired
settings n < <(MORE=', max_conn: 8' declared r1 r2)
lab_until 5 "r2 is back" has_rules "hand r1 r2"
forward_is n r1 expired || lab_fail "a rule whose time was over was opened again"
forward n audit --json >"$LAB/audit.json"
jq -e '[.entries[] | select(.actor == "settings" and .event == "rule.remove" and .name == "r0")] | length == 1' "$LAB/audit.json" >/dev/null ||
	lab_fail "the audit does not tell what the settings removed: $(cat "$LAB/audit.json")"

# One that cannot be: none of the file's changes is made; later, when there is room, all are.
settings n < <(declared r2 r3)
lab_until 5 "it is said which rules clash" says n "r3 has a port of 'hand'"
has_rules "hand r1 r2" || lab_fail "a part of the file was taken over: $(rules)"
forward n rm "$hand" >"$LAB/out"
lab_until 20 "all of the file is taken over" has_rules "r2 r3"
kill -HUP "${LAB_PID[n]}"
lab_until 5 "nothing has changed" says n "read again: no setting has changed"

# The gateway's limits: at once for visitors; owners hear of it when they ask the next time, as they do on a change.
forward_ready n r3
settings gw <<<'gateway: {owners: [somebody], max_conn: 3}'
lab_until 5 "the gateway tells what changed" says gw "gateway.owners: none -> somebody"
gets "1 (refused|silent)" v tcp "$gw" 7003 --wait 3
settings n < <(MORE=', max_conn: 9' declared r2 r3)
lab_until 20 "n may have no ports any more" forward_is n r3 failed
lab_note "after another gateway.owners: $(forward_look n r3 .why)"
settings gw <<<'gateway: {ports: [7003]}'
settings n < <(MORE=', max_conn: 8' declared r2 r3)
forward_ready n r3
gets "1 [0-9.]+" v tcp "$gw" 7003
lab_until 20 "the other port is refused" forward_is n r2 failed

# A file without forwards, or no file: none is declared.
settings n <<<'audit: {retention: 1min}'
lab_until 5 "no rule is left" has_rules ""
says n "audit.retention: 30d -> 1min" || lab_fail "the log does not say that the audit stays for less long"
! says n "audit.retention: .* after a restart" || lab_fail "the audit's retention wants a restart"
lab_note "rules of p2pd.yaml come and go with the file: $(grep -c "forwards: '" "$LAB/n.log") changes told"
