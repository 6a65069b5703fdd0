#!/bin/bash
# The lab's NATs are what their names say, and its cables do what they are told.
. "$(dirname "$0")/lib.sh"

probe() {
	local host=$1
	shift
	lab_in "$host" python3 "$LAB_HERE/probe.py" "$@"
}
answered() { [ "$(probe "$1" knock 4000 "${2:-$HUB_IP4}:3478")" != silence ]; }

lab_internet
declare -A host=([open]=open [full-cone]=cone [address-restricted]=addr [port-restricted]=port
	[symmetric]=sym [udp-blocked]=blocked)
for kind in "${!host[@]}"; do
	lab_site "${host[$kind]}" "$kind"
done
lab_start probe hub python3 "$LAB_HERE/probe.py" serve $HUB_IP4 $HUB2_IP4
lab_until 5 "the probe answers" answered open

for kind in "${!host[@]}"; do
	lab_start "check-$kind" "${host[$kind]}" python3 "$LAB_HERE/probe.py" check $HUB_IP4 $HUB2_IP4
done

check() {
	local kind=$1 want=$2 got
	lab_until 20 "the check of $kind is done" test -s "$LAB/check-$kind.log"
	got=$(cat "$LAB/check-$kind.log")
	lab_note "$kind: $got"
	[ "${got% *}" = "$want" ] || lab_fail "$kind: expected $want, got $got"
	# A cable is 12.5 ms long.
	case ${got##* } in
	- | 2[5-9].* | 3?.*) ;;
	*) lab_fail "$kind: the round trip is not the 25 ms of its cable" ;;
	esac
}

check open "independent independent"
check full-cone "independent independent"
check address-restricted "independent address"
check port-restricted "independent address-and-port"
check symmetric "address-and-port address-and-port"
check udp-blocked "blocked blocked"

# A full cone lets in whoever knocks; a port that was never opened stays closed.
let_in() { [ "$(probe open knock 4001 "$(lab_public4 cone):3478")" = "$(lab_public4 open):4001" ]; }
lab_start serve cone python3 "$LAB_HERE/probe.py" serve 0.0.0.0
lab_until 5 "the server on the LAN is up" answered cone 127.0.0.1
! let_in || lab_fail "full-cone lets in what nobody asked for"
lab_kill serve
probe cone knock 3478 $HUB_IP4:3478 >/dev/null
lab_start serve cone python3 "$LAB_HERE/probe.py" serve 0.0.0.0
lab_until 5 "full-cone lets a stranger in to an open mapping" let_in

flood() {
	local setting=$1 least=$2 most=$3 out_of_order=$4 got
	lab_cable open $setting
	got=$(probe open flood $HUB_IP4 1000)
	lab_note "$setting: of 1000 datagrams ${got% *} answered, ${got#* } out of order"
	{ [ "${got% *}" -ge "$least" ] && [ "${got% *}" -le "$most" ]; } || lab_fail "$setting: wrong loss"
	[ "${got#* }" -ge "$out_of_order" ] || lab_fail "$setting: nothing out of order"
	lab_cable open loss=0 reorder=0 jitter=0 cut=0
}
flood loss=0 1000 1000 0
flood "a.loss=10 seed=1" 850 950 0
flood loss=10 760 860 0
flood reorder=10 1000 1000 50
flood jitter=5 1000 1000 0
flood cut=1 0 0 0

rate_of() { lab_in open iperf3 -c $HUB_IP4 -t 2 -J | jq '.end.sum_received.bits_per_second / 1e6 | floor'; }
lab_start iperf hub iperf3 -s
lab_until 5 "iperf3 listens" lab_listens hub 5201
lab_cable open delay=0
free=$(rate_of)
lab_cable open rate=50
limited=$(rate_of)
lab_note "a cable carries $free Mbit/s without limit and delay, $limited with a limit of 50"
[ "$free" -ge 300 ] || lab_fail "a cable without limit carries only $free Mbit/s"
{ [ "$limited" -ge 40 ] && [ "$limited" -le 50 ]; } || lab_fail "a cable limited to 50 Mbit/s carries $limited"
