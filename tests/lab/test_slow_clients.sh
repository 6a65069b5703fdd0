#!/bin/bash
# Half-open TLS, slow writers, idle ones and some that ask for much and do not read, at a whole hub: they are ended in
# their time and counted by reason, while API and nodes are served.
# Timeout: 90 s
. "$(dirname "$0")/p2pd.sh"
COUNT=50  # of each: together fewer than one source may have
P99_MS=400 # twice what the API has under load

lab_internet
lab_site a symmetric
lab_site b symmetric
hub_start
token=$("$P2PD_BIN/p2phub" apikey create --data "$LAB/hub" --name reader --scope read 2>/dev/null)
numbers() { lab_in hub curl -sf -m 10 -o "$LAB/numbers" --unix-socket "$LAB/hub/hub.sock" http://localhost/metrics; }
value() { awk -v s="$1" '$1 == s { print $2; found = 1 } END { exit !found }' "$LAB/numbers" || lab_fail "no $1"; }
at_least() {
	local n
	n=$(value "$1")
	[ "$n" -ge "$2" ] || lab_fail "$1: $n, not $2"
}

lab_start bad inet python3 "$LAB_HERE/slow_clients.py" bad $HUB_IP4 443 "$token" 50 $COUNT
is_held() { numbers && [ "$(value p2phub_tls_half_open)" -ge $COUNT ] && [ "$(value p2phub_http_connections)" -ge $COUNT ]; }
lab_until 8 "they hold their places" is_held
lab_start good inet python3 "$LAB_HERE/slow_clients.py" good $HUB_IP4 443 "$token" 10
node_join a b
lab_until 10 "a reaches b" reaches a b
wait "${LAB_PID[bad]}" || lab_fail "the clients failed: $(cat "$LAB/bad.log")"
wait "${LAB_PID[good]}" || lab_fail "the good client failed: $(cat "$LAB/good.log")"
numbers
lab_note "ended: $(cat "$LAB/bad.log"); who asked properly: $(cat "$LAB/good.log")"
jq -e "all(.[]; . == $COUNT)" "$LAB/bad.log" >/dev/null || lab_fail "not all were ended: $(cat "$LAB/bad.log")"
jq -e ".failed == 0 and .asked > 30 and .p99_ms <= $P99_MS" "$LAB/good.log" >/dev/null || lab_fail "$(cat "$LAB/good.log")"
at_least 'p2phub_tls_handshakes_total{outcome="failed"}' $COUNT
at_least 'p2phub_http_connections_ended_total{reason="timed_out"}' $COUNT
at_least 'p2phub_http_responses_total{code="429"}' $((COUNT * 100)) # to the deaf: short, and soon
[ "$(value p2phub_tls_half_open)" = 0 ] || lab_fail "$(value p2phub_tls_half_open) are half open"
