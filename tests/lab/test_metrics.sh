#!/bin/bash
# Prometheus reads a hub and two nodes: who may, what it is told, and whether its own tool finds a fault in that. The
# programs log as JSON meanwhile.
# Timeout: 120 s
. "$(dirname "$0")/p2pd.sh"
command -v curl >/dev/null || lab_skip "needs curl"
PORT=9788

# get HOST CURL-ARGUMENT...: the answer's body in $LAB/body, its status on stdout
get() {
	local host=$1
	shift
	lab_in "$host" curl -sk -m 10 -o "$LAB/body" -w '%{http_code}' "$@"
}
expect() {
	[ "$1" = "$2" ] || lab_fail "$3: $1, not $2"
}
# The value of a series in $LAB/body; sum PREFIX: of all that begin so
value() { awk -v s="$1" '$1 == s { print $2; found = 1 } END { exit !found }' "$LAB/body" || lab_fail "no $1"; }
sum() { awk -v s="$1" 'index($1, s) == 1 { n += $2 } END { print n + 0 }' "$LAB/body"; }
judge() {
	command -v promtool >/dev/null || return 0
	promtool check metrics <"$LAB/body" || lab_fail "promtool finds fault with what the $1 tells"
	lab_note "promtool: no fault in what the $1 tells"
}
# Lines that begin with a brace are all of it but what the command itself prints.
is_json_log() {
	grep -q '^{' "$1" || lab_fail "nothing logged in $1"
	grep '^{' "$1" | jq -es 'all(.[]; (keys == ["level", "message", "module", "time"])
		and (.time | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.][0-9]{3}Z$")))' >/dev/null ||
		lab_fail "$1 is no JSON log"
	if grep -Eq '^(error|warn|info|debug) ' "$1"; then
		lab_fail "plain lines in $1"
	fi
}

lab_internet
lab_site a port-restricted
lab_site b port-restricted
lab_start hub hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls 0.0.0.0:443 --udp $HUB_IP4:3478 \
	--udp $HUB_IP4:3479
lab_until 5 "the hub listens" lab_listens hub 443
HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub" --host $HUB_IP4)
node_start a --metrics 127.0.0.1:$PORT --log-format json --log-level info,path=debug
node_start b
lab_until 15 "a has joined" is_joined a
lab_until 15 "b has joined" is_joined b
lab_until 15 "a direct path" reaches_directly a b
node a ping b -c 3 >/dev/null

# The hub: this machine, not others, nor who asks through a proxy of this machine
expect "$(get hub https://127.0.0.1/metrics)" 200 "the hub's own machine"
expect "$(value p2phub_nodes_online)" 2 "nodes online"
expect "$(value p2phub_logins_total)" 2 "logins"
expect "$(value p2phub_networks)" 1 "networks"
expect "$(value 'p2phub_http_responses_total{code="101"}')" 2 "links"
[ "$(value 'p2phub_relay_packets_total{transport="udp"}')" -gt 0 ] || lab_fail "the relay counts nothing"
judge hub
lab_note "hub: $(grep -c '^# TYPE' "$LAB/body") families, $(wc -c <"$LAB/body") bytes"
expect "$(get hub --unix-socket "$LAB/hub/hub.sock" http://localhost/metrics)" 200 "the hub by its socket"
expect "$(get a https://$HUB_IP4/metrics)" 403 "another machine"
expect "$(get hub -H 'X-Forwarded-For: 192.0.2.1' https://127.0.0.1/metrics)" 403 "through a proxy"
token=$("$P2PD_BIN/p2phub" apikey create --data "$LAB/hub" --name prometheus --scope read 2>/dev/null)
expect "$(get a -H "Authorization: Bearer $token" https://$HUB_IP4/metrics)" 200 "another machine with a token"
expect "$(value p2phub_nodes_online)" 2 "nodes online, told to another machine"
expect "$(get a -H "Authorization: Bearer ${token%?}x" https://$HUB_IP4/metrics)" 401 "another machine with a wrong token"
expect "$(get a -X POST https://$HUB_IP4/metrics)" 405 "POST"

# A node: by HTTP on loopback, and by its control socket
expect "$(get a http://127.0.0.1:$PORT/metrics)" 200 "a by HTTP"
expect "$(value 'p2pd_peers{path="direct"}')" 1 "direct peers of a"
expect "$(value p2pd_hub_connected)" 1 "a's link to the hub"
expect "$(sum p2pd_direct_paths_total)" 1 "direct paths a has found"
expect "$(value p2pd_time_to_direct_seconds_count)" 1 "direct paths a has waited for"
[ "$(value 'p2pd_sent_bytes_total{path="direct"}')" -gt 0 ] || lab_fail "a has sent nothing directly"
judge node
lab_note "node: $(grep -c '^# TYPE' "$LAB/body") families, $(wc -c <"$LAB/body") bytes;" \
	"direct after $(value p2pd_time_to_direct_seconds_sum) s"
expect "$(get a http://127.0.0.1:$PORT/v1/status)" 404 "the door has nothing else"
if get b http://127.0.0.1:$PORT/metrics >/dev/null; then lab_fail "b answers by HTTP, though nobody asked for it"; fi
expect "$(get b --unix-socket "$LAB/b.sock" http://localhost/metrics)" 200 "b by its socket"
expect "$(value 'p2pd_peers{path="direct"}')" 1 "direct peers of b"

# Numbers are for others only when that is said
rc=0
"$P2PD_BIN/p2pd" up --metrics 0.0.0.0:$PORT 2>"$LAB/err" || rc=$?
expect $rc 2 "exit code of a public --metrics"
grep -q -- --metrics-public "$LAB/err" || lab_fail "it does not say what to do: $(cat "$LAB/err")"

is_json_log "$LAB/a.log"
# A hub that has something to say
lab_start hub2 hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub2" --tls 127.0.0.1:8443 --udp 127.0.0.1:5555 \
	--log-format json
lab_until 5 "a word on its one port" grep -q '^{' "$LAB/hub2.log"
is_json_log "$LAB/hub2.log"
jq -R 'fromjson? | select(.module == "path" and .level == "debug")' "$LAB/a.log" | lab_says . ||
	lab_fail "no debug line of the module path"
jq -R 'fromjson? | select(.module != "path" and .level == "debug")' "$LAB/a.log" | lab_says . &&
	lab_fail "debug lines of other modules"
lab_note "a's log: $(grep -c '^{' "$LAB/a.log") JSON lines"
