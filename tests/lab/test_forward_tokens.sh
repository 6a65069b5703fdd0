#!/bin/bash
# Links that admit visitors: opening one in a browser tells what will happen, its button lets the visitor's address in for a
# while, a single-use link works once, also after crashes; guesses are turned away and audited. In both modes.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
lab_site w open
hub_start
gateway_start gw
nodes_start n
v=$(lab_public4 v) w=$(lab_public4 w) gw=$(lab_public4 gw)
service_start n 7000
no="(refused|reset|closed|silent)"

# local_api NODE PATH
local_api() { lab_in "$1" curl -s --unix-socket "$LAB/$1.sock" "http://p2pd/api/v1/portmap$2"; }
token_new() {
	local id=$1
	shift
	forward n token new --id "$id" --json "$@" >"$LAB/token.json"
	jq -er .link "$LAB/token.json"
}
# The HTTP status of asking the door from host $1.
door() {
	local host=$1
	shift
	lab_in "$host" curl -sk -o "$LAB/page" -w '%{http_code}' --max-time 15 "$@" || true
}
audited() { [ "$(local_api "$1" /audit | jq "[.entries[] | select(tostring | test(\"$2\"; \"i\"))] | length")" -ge "$3" ]; }

# Without an allow-list it is refused, and the words say what to do; with `token` in it nobody is in before one comes.
refused 2 "allow.*token" forward n add --local "$(own4 n):7000" --scope public --via gw
port=7400
for mode in kernel user; do
	source=kernel
	[ $mode = kernel ] || source=nat
	port=$((port + 1))
	id=$(forward_add n --local "$(own4 n):7000" --proto both --scope public --via gw --allow token \
		--public-port $port --source-ip $source)
	forward_ready n "$id" $mode
	apart=$((7000 - port))
	gets "1 $no" v tcp "$gw" $port --wait 3

	link=$(token_new "$id" --uses 1 --expires 1h --for 1h)
	[[ $link = https://$gw* ]] || lab_fail "the link is $link"
	# Looking is not using.
	for _ in 1 2; do
		code=$(door v "$link")
		[ "$code" = 200 ] && grep -qi '<form' "$LAB/page" || lab_fail "the page: $code $(head -c 300 "$LAB/page")"
	done
	grep -qi "$v" "$LAB/page" || lab_note "the page does not name the visitor's address"
	gets "1 $no" v tcp "$gw" $port --wait 3
	code=$(door v -X POST "$link")
	[[ $code = 2?? || $code = 3?? ]] || lab_fail "using the link: $code $(head -c 300 "$LAB/page")"
	lab_until 10 "$mode: the visitor is in" eval '[[ "$(ask v tcp "$gw" '$port' --wait 2 --apart '$apart')" =~ ^1\ [0-9] ]]'
	gets "1 [0-9.]+" v udp "$gw" $port --apart $apart
	gets "1 $no" w tcp "$gw" $port --wait 3
	lab_note "$mode: the link lets its visitor in, and nobody else"

	# Once is once, also when the node was killed meanwhile.
	code=$(door w -X POST "$link")
	[[ $code = 4?? ]] || lab_fail "$mode: the link was used twice: $code"
	lab_kill n KILL
	node_start n
	lab_until 30 "n is back" is_joined n
	forward_ready n "$id" $mode
	code=$(door w -X POST "$link")
	[[ $code = 4?? ]] || lab_fail "$mode: the link was used twice, after a restart: $code"
	lab_until 20 "$mode: the visitor is still in" eval '[[ "$(ask v tcp "$gw" '$port' --wait 2 --apart '$apart')" =~ ^1\ [0-9] ]]'
	gets "1 $no" w tcp "$gw" $port --wait 3
	lab_note "$mode: a second use is refused, also after a crash"

	# A short visit ends.
	link=$(token_new "$id" --uses 2 --expires 1h --for 8s)
	[[ $(door w -X POST "$link") = [23]?? ]] || lab_fail "$mode: using the second link: $(head -c 300 "$LAB/page")"
	lab_until 10 "$mode: the second visitor is in" eval '[[ "$(ask w tcp "$gw" '$port' --wait 2 --apart '$apart')" =~ ^1\ [0-9] ]]'
	lab_until 30 "$mode: and out again" eval '[[ ! "$(ask w tcp "$gw" '$port' --wait 2 --apart '$apart')" =~ ^1\ [0-9] ]]'

	# Revoked and replaced ones.
	link=$(token_new "$id" --uses 5 --expires 1h --for 1h)
	token=$(jq -r .token_id "$LAB/token.json")
	[ "$(forward n token ls --id "$id" | grep -c "$token")" -ge 1 ] || lab_fail "token ls: $(forward n token ls --id "$id")"
	! forward n token ls --id "$id" | lab_says -F "${link##*/}" || lab_fail "token ls tells the secret"
	forward n token rotate --id "$id" "$token" --json >"$LAB/rotated.json"
	[[ $(door w -X POST "$link") = 4?? ]] || lab_fail "$mode: a replaced link still works"
	link=$(jq -er .link "$LAB/rotated.json")
	token=$(jq -er .token_id "$LAB/rotated.json")
	forward n token revoke --id "$id" "$token" >"$LAB/out"
	[[ $(door w -X POST "$link") = 4?? ]] || lab_fail "$mode: a revoked link still works"
	gets "1 $no" w tcp "$gw" $port --wait 3
	forward n rm "$id" >"$LAB/out"
done

# Guessing: 100 tries are turned away, most of them before anybody is asked, and the audit tells.
id=$(forward_add n --local "$(own4 n):7000" --scope public --via gw --allow token --public-port 7403)
forward_ready n "$id"
link=$(token_new "$id" --uses 1 --expires 1h --for 1h)
for i in $(seq 100); do
	wrong=${link%??????????}$(printf '%010d' "$i")
	door w -X POST "$wrong"
	echo
done >"$LAB/codes"
lab_note "100 guesses: $(sort "$LAB/codes" | uniq -c | awk '{ print $2 " x " $1 }' | paste -sd,)"
! grep -q '^[23]' "$LAB/codes" || lab_fail "a guess got in"
[ "$(grep -c '^429' "$LAB/codes")" -ge 50 ] || lab_fail "guesses are not slowed down"
lab_until 10 "the gateway or the node audits guesses" eval 'audited gw "token|guess" 1 || audited n "token|guess" 1'
# Who guesses does not lock others out.
[[ $(door v -X POST "$link") = [23]?? ]] || lab_fail "another visitor is turned away because of the guesses: $(head -c 300 "$LAB/page")"
! grep -rqF "${link##*/}" "$LAB"/n.state "$LAB"/gw.state || lab_fail "the secret of a link is on disk in the clear"
