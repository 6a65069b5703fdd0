#!/bin/bash
# What is known of a rule: counts live for long connections, kept over restarts of the node and of its gateway, and kill -9; by the command, by the local API on loopback TCP
# with a token that may only read, and as Prometheus series. Audit lines of what was done. ping tells what is wrong where.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"
API=127.0.0.1:9479 METRICS=9788

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
hub_start
gateway_start gw
node_start n --api $API --metrics 127.0.0.1:$METRICS
lab_until 30 "n has joined" is_joined n
v=$(lab_public4 v) gw=$(lab_public4 gw)
service_start n 7000
kernel=$(forward_public n "$(own4 n):7000" --proto both --name live-kernel)
user=$(forward_public n "$(own4 n):7000" --proto both --name live-user --public-port 7200 --source-ip nat)
forward_ready n "$kernel" kernel
forward_ready n "$user" user

# api METHOD PATH [CURL-WORD...]: the answer in $LAB/body, its status on stdout
api() { lab_in n curl -s -m 10 -o "$LAB/body" -w '%{http_code}' -X "$1" "http://$API/api/v1$2" "${@:3}" || true; }
forward n api-token >"$LAB/api-token"
reader="Authorization: Bearer $(tail -n 1 "$LAB/api-token")"
[[ $(api GET /portmap) = 401 ]] || lab_fail "the local API on TCP answers without a token: $(api GET /portmap)"
[[ $(api GET /portmap -H "Authorization: Bearer nonsense") = 40[13] ]] || lab_fail "a wrong token is taken"
[[ $(api GET /portmap -H "$reader") = 200 ]] || lab_fail "the token is not taken: $(cat "$LAB/body")"
[ "$(jq '.forwards | length' "$LAB/body")" = 2 ] || lab_fail "the list: $(cat "$LAB/body")"
[[ $(api DELETE "/portmap/$kernel" -H "$reader") = 40? ]] || lab_fail "the token may do more than read"
[[ $(api POST "/portmap/$kernel/pause" -H "$reader") = 40? ]] || lab_fail "the token may do more than read"
[[ $(api GET /portmap -H "$reader" -H "Host: evil.example") = 4?? ]] || lab_fail "any Host is taken: a web page could ask"
forward_is n "$kernel" active || lab_fail "the token has paused a rule"
# Who guesses is slowed down, and does not keep out who has the token.
lab_in n curl -s -o /dev/null -w '%{http_code}\n' --max-time 20 -H "Authorization: Bearer wrong" "http://$API/api/v1/portmap?[1-60]" >"$LAB/guesses"
[ "$(grep -c '^429' "$LAB/guesses")" -ge 10 ] || lab_fail "guesses are not slowed down: $(sort "$LAB/guesses" | uniq -c | paste -sd,)"
[[ $(api GET /portmap -H "$reader") = 200 ]] || lab_fail "guesses keep out who has the token: $(api GET /portmap -H "$reader")"

for mode in kernel user; do
	id=${!mode} port=7000
	[ $mode = kernel ] || port=7200
	hold_start "held-$mode" v tcp "$gw" $port
	connected() { [ "$(forward_count n "$id" .connections)" -ge 1 ]; }
	lab_until 20 "$mode: the connection is counted" connected
	before=$(forward_count n "$id" .bytes_in)
	grows() { [ "$(forward_count n "$id" .bytes_in)" -gt "$before" ] && [ "$(forward_count n "$id" .bytes_out)" -gt 0 ]; }
	lab_until 20 "$mode: its bytes are counted while it lives" grows
	[ "$(forward_count n "$id" .last_visitor | sed 's/:[0-9]*$//')" = "$v" ] || lab_fail "last visitor: $(forward_count n "$id" .last_visitor)"
	[[ $(api GET "/portmap/$id/stats" -H "$reader") = 200 ]] || lab_fail "stats by the API: $(cat "$LAB/body")"
	[ "$(jq -r .forward_id "$LAB/body")" = "$id" ] || lab_fail "stats by the API: $(cat "$LAB/body")"
	lab_note "$mode: $(jq -c 'del(.schema, .forward_id)' "$LAB/body")"
done
lab_in n curl -s -m 10 "http://127.0.0.1:$METRICS/metrics" | grep "^p2pd_.*$kernel" >"$LAB/series" ||
	lab_fail "no Prometheus series names the rule"
lab_note "Prometheus: $(wc -l <"$LAB/series") series of a rule: $(sed 's/{.*//' "$LAB/series" | sort -u | paste -sd' ')"

# What a gateway refused is counted on when it begins to count anew.
strict=$(forward_add n --local "$(own4 n):7000" --scope public --via gw --allow 192.0.2.0/24 --public-port 7400 --name strict)
forward_ready n "$strict"
not_allowed() { forward_count n "$strict" .rejected.not_allowed; }
for _ in 1 2 3 4 5 6; do
	ask v tcp "$gw" 7400 --wait 1 >"$LAB/out"
done
refused_some() { [ "$(not_allowed)" -ge 6 ]; }
lab_until 20 "what the gateway refused is counted" refused_some
refused_before=$(not_allowed)
kept() { [ "$(jq "[.forwards[] | select(.name == \"strict\") | .stats.rejected.not_allowed // 0][0]" "$LAB/n.state/forwards.json")" -ge 6 ]; }
lab_until 45 "it is kept on disk" kept
lab_kill gw KILL
gateway_start gw
forward_ready n "$strict"
ask v tcp "$gw" 7400 --wait 1 >"$LAB/out"
one_more() {
	local now
	now=$(not_allowed)
	[ "$now" -ge "$refused_before" ] || lab_fail "refusals went back from $refused_before to $now"
	[ "$now" -gt "$refused_before" ]
}
lab_until 20 "it is counted on after the gateway's restart" one_more
lab_note "refused: $refused_before, and after a restart of the gateway $(not_allowed)"

# Kept, when the node ends.
declare -A total bytes
remember() {
	local mode
	for mode in kernel user; do
		total[$mode]=$(forward_count n "${!mode}" .total) bytes[$mode]=$(forward_count n "${!mode}" .bytes_in)
	done
}
remembered() { # HOW it ended
	local mode
	for mode in kernel user; do
		[ "$(forward_count n "${!mode}" .total)" -ge "${total[$mode]}" ] &&
			[ "$(forward_count n "${!mode}" .bytes_in)" -ge "${bytes[$mode]}" ] ||
			lab_fail "$mode: counts were lost by $1: $(forward n stats "${!mode}" --json), before ${total[$mode]}, ${bytes[$mode]}"
	done
	[ "$(not_allowed)" -ge "$refused_before" ] || lab_fail "refusals were lost by $1: $(not_allowed), before $refused_before"
}
lab_kill held-kernel
lab_kill held-user
remember
node_stop n
node_start n
lab_until 30 "n is back" is_joined n
remembered "an end"

# Kept, when it is killed: all but what was counted in the last half minute.
forward_ready n "$user" user
ask v tcp "$gw" 7200 --apart -200 >"$LAB/out"
more() { [ "$(forward_count n "$user" .total)" -gt "${total[user]}" ]; }
lab_until 20 "one more connection is counted" more
remember
on_disk() { [ "$(jq "[.forwards[] | select(.name == \"live-user\") | .stats.total][0]" "$LAB/n.state/forwards.json")" -ge "${total[user]}" ]; }
lab_until 45 "it is on disk" on_disk
lab_kill n KILL
node_start n
lab_until 30 "n is back" is_joined n
remembered "kill -9"

# What is wrong, and where.
forward_ready n "$kernel" kernel
forward n ping "$kernel" --json >"$LAB/ping.json"
lab_note "ping: $(jq -c '[.checks[] | {what, ok, detail}]' "$LAB/ping.json")"
[ "$(jq '[.checks[] | select(.ok | not)] | length' "$LAB/ping.json")" = 0 ] || lab_fail "ping: $(cat "$LAB/ping.json")"
lab_kill service-n-7000
refused 1 "service.*refused" forward n ping "$kernel"
lab_kill gw KILL
refused 1 "gateway|tunnel" forward n ping "$kernel"
lab_note "ping: $(cat "$LAB/err")"

# Who did what.
forward n audit --json >"$LAB/audit.json"
! jq -e '[.entries[] | select((.detail // "") | test("[0-9]{12}"))] | length > 0' "$LAB/audit.json" >/dev/null ||
	lab_fail "the audit tells of numbers that cannot be: $(grep -o '"detail": "[^"]*[0-9]\{12\}[^"]*"' "$LAB/audit.json")"
forward n pause "$kernel" >"$LAB/out"
forward n rm "$kernel" >"$LAB/out"
forward n audit --json >"$LAB/audit.json"
for event in add pause remove; do
	jq -e --arg id "$kernel" --arg event "$event" '[.entries[] | select(.forward_id == $id and (.event | contains($event)))] | length >= 1' \
		"$LAB/audit.json" >/dev/null || lab_fail "no $event in the audit: $(cat "$LAB/audit.json")"
done
