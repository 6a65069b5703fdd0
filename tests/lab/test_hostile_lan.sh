#!/bin/bash
# The router itself is hostile: its answers to SSDP, HTTP, NAT-PMP and PCP are malformed, endless, slow, redirected or
# lies. The node joins, answers and ends as quickly as ever, speaks to nobody but that router, and no address that it
# was lied to becomes a path.
# Timeout: 400 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a port-restricted
lab_site b open
router=192.168.${LAB_SITE_NO[a]}.1
victim=$HUB2_IP4:8088
hub_start
node_join b

# The victim would tell of it.
lab_start victim hub python3 -u -m http.server -b "${victim%:*}" "${victim#*:}"
lab_until 5 "the victim listens" lab_listens hub "${victim#*:}"

asked() { [ "$(grep -cE "$1" "$LAB/hostile-$mode.log")" -gt 0 ]; }

for mode in garbage huge drip redirect lying silent flood; do
	lab_start hostile-$mode a-nat python3 "$LAB_HERE/hostile_lan.py" "$router" $mode $victim
	lab_until 5 "the hostile router is up" grep -q ready "$LAB/hostile-$mode.log"
	before=$(lab_now_ms)
	node_start a
	lab_until 10 "a joins beside $mode" is_joined a
	joined=$(($(lab_now_ms) - before))
	for what in "^ssdp" "^pcp" "^natpmp"; do
		lab_until 5 "$mode is asked: $what" asked "$what"
	done
	lab_until 5 "b reaches a beside $mode" reaches_directly b a
	# Beyond the three seconds that a job may take, and while it is answered all the while.
	worst=0
	for _ in {1..20}; do
		start=$(lab_now_ms)
		status a .hub.connected >/dev/null
		took=$(lab_took "$start")
		[ $took -le $worst ] || worst=$took
		sleep 0.2
	done
	lab_running a || lab_fail "a ended beside $mode"
	path_is b a direct || lab_fail "$mode: b's path to a is $(peer b a .path.kind)"
	endpoint=$(peer b a .path.endpoint)
	[ "${endpoint%:*}" = "$(lab_public4 a)" ] || lab_fail "$mode: b's path to a is $endpoint"
	told=$(status a '.self.nat.portmap | "pcp \(.pcp), natpmp \(.natpmp), upnp \(.upnp), external \(.external)"')
	start=$(lab_now_ms)
	node_stop a
	down=$(lab_took "$start")
	lab_note "$mode: joined after $joined ms, status within $worst ms, down within $down ms; $told;" \
		"asked $(grep -c . "$LAB/hostile-$mode.log") times"
	[ $worst -le 1000 ] || lab_fail "$mode: status took $worst ms"
	[ $down -le 2500 ] || lab_fail "$mode: p2pd down took $down ms"
	[ "$(grep -c . "$LAB/hostile-$mode.log")" -le 200 ] || lab_fail "$mode: it is asked without end"
	case $mode in
	lying | flood)
		# It is believed to be what it says, but nobody finds the node there.
		[[ $told = *"external $victim"* ]] || lab_fail "$mode: the lie did not even arrive: $told"
		;;
	redirect) [[ $told = *"upnp absent"* ]] || lab_fail "$mode: $told" ;;
	*) [[ $told = *"external null"* ]] || lab_fail "$mode: $told" ;;
	esac
	lab_kill hostile-$mode KILL
done
! grep -q "GET\|POST" "$LAB/victim.log" || lab_fail "the victim was spoken to: $(cat "$LAB/victim.log")"
