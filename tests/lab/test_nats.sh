#!/bin/bash
# The lab's NATs are what their names say, and its cables do what they are told.
# Timeout: 240 s
. "$(dirname "$0")/lib.sh"

probe() {
	local host=$1
	shift
	lab_in "$host" python3 "$LAB_HERE/probe.py" "$@"
}
answered() { [ "$(probe "$1" knock 4000 "${2:-$HUB_IP4}:3478")" != silence ]; }

lab_internet
declare -A host=([open]=open [full-cone]=cone [address-restricted]=addr [port-restricted]=port [symmetric]=sym
	[sequential]=seq [sequential-down]=down [stride]=stride [block-512]=b512 [block-1024]=b1024
	[home-carrier]=home [home-carrier-symmetric]=homesym [udp-blocked]=blocked)
for kind in "${!host[@]}"; do
	lab_site "${host[$kind]}" "$kind"
done
lab_start probe hub python3 "$LAB_HERE/probe.py" serve $HUB_IP4 $HUB2_IP4
lab_until 5 "the probe answers" answered open
for kind in "${!host[@]}"; do
	lab_start "check-$kind" "${host[$kind]}" python3 "$LAB_HERE/probe.py" check $HUB_IP4 $HUB2_IP4
done

# check KIND MAPPING FILTERING ALLOCATION: random-512 stands for ports within one aligned block of 512.
check() {
	local kind=$1 want=$2 rtt got least most size
	lab_until 20 "the check of $kind is done" test -s "$LAB/check-$kind.log"
	read -r rtt got <"$LAB/check-$kind.log"
	lab_note "$kind: $got, round trip $rtt ms"
	if [[ $want == *" random-"* ]]; then
		size=${want##*-} least=${got% *} most=${got##* }
		least=${least##* }
		[ $((least / size)) = $((most / size)) ] || lab_fail "$kind: $least to $most is no block of $size"
		[ $((most - least)) -ge $((size / 2)) ] || lab_fail "$kind: 32 ports from $least to $most are not random"
		got=${got% * *}-$size
	fi
	[ "$got" = "$want" ] || lab_fail "$kind: expected $want, got $got"
	# A cable is 12.5 ms long.
	case $rtt in
	- | 2[5-9].* | 3?.*) ;;
	*) lab_fail "$kind: the round trip is not the 25 ms of its cable" ;;
	esac
}

check open "independent independent preserving"
check full-cone "independent independent preserving"
check address-restricted "independent address preserving"
check port-restricted "independent address-and-port preserving"
check symmetric "address-and-port address-and-port random-65536"
check sequential "address-and-port address-and-port step 1"
check sequential-down "address-and-port address-and-port step -1"
check stride "address-and-port address-and-port step 2"
check block-512 "address-and-port address-and-port random-512"
check block-1024 "address-and-port address-and-port random-1024"
check home-carrier "independent address-and-port preserving"
check home-carrier-symmetric "address-and-port address-and-port random-65536"
check udp-blocked "blocked blocked -"
# A full cone lets in whoever knocks; a port that was never opened stays closed.
let_in() { [ "$(probe open knock 4001 "$(lab_public4 cone):3478")" = "$(lab_public4 open):4001" ]; }
lab_start serve cone python3 "$LAB_HERE/probe.py" serve 0.0.0.0
lab_until 5 "the server on the LAN is up" answered cone 127.0.0.1
! let_in || lab_fail "full-cone lets in what nobody asked for"
lab_kill serve
probe cone knock 3478 $HUB_IP4:3478 >/dev/null
lab_start serve cone python3 "$LAB_HERE/probe.py" serve 0.0.0.0
lab_until 5 "full-cone lets a stranger in to an open mapping" let_in

mapped() { probe "$1" knock "$2" $HUB_IP4:3478; }

# expect WHAT WANT CMD...
expect() {
	local what=$1 want=$2 got
	shift 2
	got=$("$@")
	[ "$got" = "$want" ] || lab_fail "$what: expected $want, got $got"
}

# --- Flags

# By the mapping of a neighbour, if the router turns round what comes from inside.
for hairpin in 0 1; do
	lab_site hairpin full-cone hairpin=$hairpin
	lab_host neighbour hairpin
	mapped hairpin 3478 >/dev/null
	lab_start neighbour hairpin python3 "$LAB_HERE/probe.py" serve 0.0.0.0
	lab_until 5 "the neighbour is up" answered hairpin 127.0.0.1
	want=refused
	[ $hairpin = 0 ] || want=$(lab_public4 hairpin):4004
	expect "hairpin=$hairpin" "$want" probe neighbour knock 4004 "$(lab_public4 hairpin):3478"
	lab_kill neighbour
	lab_remove hairpin
done

udp_entries() { lab_in "$1-nat" conntrack -L -p udp 2>/dev/null | grep -c . || true; }

# A stranger knocks at the router itself: only what is accepted leaves an entry. That takes the tuple which a flow from
# inside to the stranger wants for itself: its port is moved.
for case in drop/silence/0/kept reject/refused/0/kept accept/refused/1/moved; do
	IFS=/ read -r input answer entries port <<<"$case"
	lab_site stranger port-restricted input="$input"
	expect "input=$input" "$answer" probe open knock 3478 "$(lab_public4 stranger):5000"
	expect "entries with input=$input" "$entries" udp_entries stranger
	lab_start serve open python3 "$LAB_HERE/probe.py" serve 0.0.0.0
	lab_until 5 "the stranger serves" answered open 127.0.0.1
	got=$(probe stranger knock 5000 "$(lab_public4 open):3478")
	lab_note "input=$input: after a stranger's knock at port 5000 our port 5000 becomes ${got##*:}"
	case $port/${got##*:} in
	kept/5000) ;;
	kept/* | moved/5000 | */silence) lab_fail "expected that the port is $port" ;;
	esac
	lab_kill serve
	lab_remove stranger
done

lab_site short sequential timeout=2 stream=2
expect "at once with timeout=2" same probe short hold $HUB_IP4 0.5
expect "after 3 s with timeout=2" another probe short hold $HUB_IP4 3
lab_remove short

lab_site small port-restricted limit=100
few=$(probe small flows $HUB_IP4 300)
lab_note "limit=100: of 300 flows $few are answered; $(lab_entries small) entries"
{ [ "$few" -ge 90 ] && [ "$few" -le 100 ]; } || lab_fail "a table of 100 entries carries $few flows"
lab_remove small

# --- What happens to routers

before=$(lab_public4 seq)
lab_readdress seq
after=$(lab_public4 seq)
[ "$before" != "$after" ] || lab_fail "the site has the address that it had"
case $(mapped seq 4006) in
"$after":*) ;;
*) lab_fail "with another address: $(mapped seq 4006), expected $after" ;;
esac
before=$(mapped seq 4007)
expect "a mapping in use" "$before" mapped seq 4007
lab_flush seq
[ "$(mapped seq 4007)" != "$before" ] || lab_fail "the flushed router has the mapping still"
lab_readdress open
expect "no NAT, another address" "$(lab_public4 open):4008" mapped open 4008

lab_host mover port
expect "before the move" "$(lab_public4 port):4009" mapped mover 4009
lab_move mover home
expect "after the move" "$(lab_public4 home):4009" mapped mover 4009

lab_watch stride
lab_background stride 200
lab_foreign down 50
lab_until 15 "the others have 400 entries" eval '[ "$(lab_entries stride)" -ge 400 ]'
sleep 1
got=$(probe stride allocate $HUB_IP4 16)
case $got in random*) ;; *) lab_fail "with others' flows: $got" ;; esac
lab_kill noise-stride
most=$(lab_most stride)
[ "$most" -ge 400 ] || lab_fail "200 flows a second for 3 s left $most entries"
read -r sent lost _ < <(lab_foreign_end down)
lab_note "others' flows: $most entries; of $sent datagrams $lost were lost"
{ [ "$sent" -ge 100 ] && [ "$lost" = 0 ]; } || lab_fail "foreign flows: of $sent datagrams $lost were lost"

# --- Cables

lab_cable open mtu=1300
expect "1300 bytes through mtu=1300" "$(lab_public4 open):4010" probe open knock 4010 $HUB_IP4:3478 1272
expect "1301 bytes through mtu=1300" silence probe open knock 4011 $HUB_IP4:3478 1273
lab_cable open mtu=0

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
