#!/bin/bash
# kill -9 of the node that has the rules, or of the gateway, at random moments while rules come and go: ROUNDS times (default 4;
# 200 by hand) KILLS of them (5), reproducible by SEED. Nothing is left behind in the host's network; after the restart every change that
# was acknowledged is there, what was removed stays closed, and the network's rules are those of the rules that live.
# Timeout: 10800 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"
ROUNDS=${ROUNDS:-4} KILLS=${KILLS:-5}
RANDOM=${SEED:-1}

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
lan_host l n
hub_start
gw=$(lab_public4 gw) own=$(own4 n)
service_start n 7000
service_start n 7100 100
service_start l 7300
declare -A before up
before[gw]=$(footprint gw) before[n]=$(footprint n)

gateway_start gw
nodes_start n
kernel=$(forward_public n "$own:7000" --proto both --name stays-kernel)
lan=$(forward_public n 10.9.1.2:7300 --proto both --name stays-lan)
user=$(forward_public n "$own:7000" --proto both --name stays-user --public-port 7200 --source-ip nat)
org=$(forward_add n --local "$own:7000" --scope org --name stays-org)
works() {
	[[ "$(ask v tcp "$gw" 7000 --wait 2)" = 1\ $1 ]] && [[ "$(ask v tcp "$gw" 7300 --wait 2)" = 1\ $1 ]] &&
		[[ "$(ask v udp "$gw" 7000 --wait 2)" = 1\ $1 ]] && [[ "$(ask v udp "$gw" 7300 --wait 2)" = 1\ $1 ]] &&
		[[ "$(ask v tcp "$gw" 7200 --apart -200 --wait 2)" =~ ^1\ [0-9] ]] &&
		[[ "$(ask gw tcp "$(status n .self.ip4)" 7000 --wait 2)" =~ ^1\ [0-9] ]]
}
v=$(lab_public4 v)
lab_until 30 "all of it works" works "$v"
# The order of rules and the ports of the tunnel may be others after a restart.
shape() { footprint "$1" | sed -E 's/was_([01])_[0-9]+/was_\1_N/; s/\b[12][0-9]{4}(-[12][0-9]{4})?\b/PORT/g' | sort; }
up[gw]=$(shape gw) up[n]=$(shape n)

# Rules come and go. $LAB/acts tells what was asked and what was acknowledged: "try|done add|rm NAME ID".
churn() {
	local i=0 id name port protos=(tcp udp both)
	set +eE
	trap - ERR EXIT
	while :; do
		i=$((i + 1)) port=$((7100 + RANDOM % 100)) name=churn-$1-$i
		echo "try add $name -" >>"$LAB/acts"
		id=$(forward n add --local "$own:$port" --name "$name" --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24 \
			--proto "${protos[RANDOM % 3]}" 2>/dev/null | jq -er .forward_id 2>/dev/null) || {
			sleep 0.02
			continue
		}
		echo "done add $name $id" >>"$LAB/acts"
		forward n set "$id" --max-conn $((RANDOM % 100 + 1)) >/dev/null 2>&1
		[ $((RANDOM % 3)) != 0 ] || sleep "0.$((RANDOM % 3))"
		[ $((RANDOM % 5)) != 0 ] || continue
		echo "try rm $name $id" >>"$LAB/acts"
		forward n rm "$id" >/dev/null 2>&1 && echo "done rm $name $id" >>"$LAB/acts"
	done
}

# Rules whose fate is known: "lives ID" and "gone ID"; those in the air when it was killed are not told.
fates() {
	awk '$1 == "done" && $2 == "add" { id[$3] = $4; fate[$3] = "lives" }
		$1 == "try" && $2 == "rm" { fate[$3] = "unknown" }
		$1 == "done" && $2 == "rm" { fate[$3] = "gone" }
		END { for (n in id) if (fate[n] != "unknown") print fate[n], id[n] }' "$LAB/acts"
}

# What the book says, against what was acknowledged.
judge_book() {
	local fate id ids
	ids=$(forward n ls -q)
	while read -r fate id; do
		case $fate in
		lives) grep -qx "$id" <<<"$ids" || lab_fail "round $round: an acknowledged rule is lost: $id" ;;
		gone) ! grep -qx "$id" <<<"$ids" || lab_fail "round $round: a removed rule is back: $id" ;;
		esac
	done < <(fates)
	for id in "$kernel" "$lan" "$user" "$org"; do
		grep -qx "$id" <<<"$ids" || lab_fail "round $round: a rule of the beginning is lost: $id"
	done
}

: >"$LAB/times"
: >"$LAB/acts"
begin() { if [ "$1" = gw ]; then gateway_begin gw; else node_start n; fi; }
changes=0
for round in $(seq "$ROUNDS"); do
	churn "$round" &
	churning=$!
	# Some of the moments are in the middle of a start.
	for _ in $(seq "$KILLS"); do
		victims=(gw n n)
		victim=${victims[RANDOM % 3]}
		sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
		lab_kill $victim KILL
		same_footprint $victim "${before[$victim]}"
		start=$(lab_now_ms)
		begin $victim
	done
	{ kill $churning && wait $churning; } 2>/dev/null || true
	lab_until 60 "round $round: all works again" works "$v"
	lab_took "$start" >>"$LAB/times"
	changes=$((changes + $(grep -c ^done "$LAB/acts" || true)))
	judge_book
	jq -e . "$LAB/n.state/"*.json >/dev/null || lab_fail "round $round: a file is no JSON"
	! ls "$LAB"/{n,gw}.state/*.spoilt* >/dev/null 2>&1 || lab_fail "round $round: a file was spoilt: $(ls "$LAB"/{n,gw}.state)"
	# Back to the rules of the beginning: then no port of the others is open, and the hosts are as they were then.
	forward n ls -q 'churn-*' | forward n rm - >/dev/null
	: >"$LAB/acts"
	for host in gw n; do
		for _ in $(seq 50); do
			[ "$(shape $host)" != "${up[$host]}" ] || break
			sleep 0.2
		done
		[ "$(shape $host)" = "${up[$host]}" ] ||
			lab_fail "round $round: $host is not as it was: $(diff <(echo "${up[$host]}") <(shape $host) | head -40)"
	done
	[ $((round % 20)) != 0 ] || echo "$round rounds done"
done
lab_note "$((ROUNDS * KILLS)) kills, $changes changes of rules meanwhile: none lost, nothing left behind; all worked again after" \
	"$(median <"$LAB/times") ms in the median, $(sort -n "$LAB/times" | tail -1) ms at most"
gets "100 (refused|silent|reset)" v tcp "$gw" 7100 100 --wait 3
