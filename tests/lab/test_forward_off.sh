#!/bin/bash
# A file of port forwarding that others may read keeps nobody out of the VPN: forwarding is off, log, `portmap ls` and `status` name
# file and remedy, and after a reload (of a mended file) it is on. A file that is too large, or spoilt twice, is put aside whole.
# Timeout: 120 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"
API=127.0.0.1:9479

lab_internet
lab_site n port-restricted
lab_site a port-restricted
hub_start
nodes_start a
begin() { # it is to join
	node_start n --api $API
	lab_until 30 "n has joined" is_joined n
}
begin
service_start n 7000
id=$(forward_add n --local "$(own4 n):7000" --scope org --name web)
forward_ready n "$id"
n=$(status n .self.ip4)

for file in forwards.json tokens.json; do
	node_stop n
	[ -e "$LAB/n.state/$file" ] || install -m 600 /dev/stdin "$LAB/n.state/$file" <<<'{"tokens": [], "visits": []}'
	chmod 644 "$LAB/n.state/$file"
	begin
	lab_until 20 "a reaches n" reaches a n
	says="n.state/$file has mode 0644.*chmod 600 .*n.state/$file"
	refused 1 "port forwarding is off.*$says" forward n ls
	refused 1 "port forwarding is off.*$says" forward n add --local 127.0.0.1:80
	node n status | lab_says "forwarding is off: .*$says" || lab_fail "status: $(node n status)"
	status n .forwarding.off | lab_says "$says" || lab_fail "status --json: $(status n .forwarding)"
	grep -q "error forward: port forwarding is off.*$says" "$LAB/n.log" || lab_fail "the log does not say it"
	! lab_listens n 9479 || lab_fail "the API answers for forwarding that is off"
	kill -HUP "${LAB_PID[n]}"
	sleep 0.5
	refused 1 "port forwarding is off" forward n ls
	chmod 600 "$LAB/n.state/$file"
	kill -HUP "${LAB_PID[n]}"
	forward_ready n "$id"
	lab_until 5 "the API is there" lab_listens n 9479
	[ "$(status n .forwarding.off)" = null ] || lab_fail "status: $(status n .forwarding)"
	gets "1 [0-9.]+" a tcp "$n" 7000
	lab_note "$file: $(grep -o 'port forwarding is off.*' "$LAB/n.log" | head -1 | sed "s#$LAB#STATE#g")"
	: >"$LAB/n.log"
done

# An audit that cannot be written keeps nothing from going on.
node_stop n
chmod 640 "$LAB/n.state/audit.jsonl"
begin
forward_ready n "$id"
refused 1 "audit" forward n audit
grep -q "no audit is written.*chmod 600" "$LAB/n.log" || lab_fail "the log does not say that there is no audit"

# Too large, and then spoilt.
node_stop n
head -c 9000000 /dev/zero >"$LAB/n.state/forwards.json"
begin
node_stop n
install -m 600 /dev/stdin "$LAB/n.state/forwards.json" <<<'{'
begin
[ "$(forward n ls -q | wc -l)" = 0 ] || lab_fail "rules: $(forward n ls)"
[ "$(stat -c %s "$LAB/n.state/forwards.json.spoilt" "$LAB/n.state/forwards.json.spoilt.2" | paste -sd' ')" = "9000000 2" ] ||
	lab_fail "put aside: $(ls -l "$LAB/n.state")"
forward_ready n "$(forward_add n --local "$(own4 n):7000" --scope org)"
