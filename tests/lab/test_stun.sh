#!/bin/bash
# The hub's STUN server tells other people's clients what NAT they are behind: Debian's `stun` (RFC 3489) and coturn's
# turnutils_natdiscovery (RFC 5780), the latter over IPv6, too, and with requests that go in fragments.
# Timeout: 180 s
LAB_IP6=1
. "$(dirname "$0")/p2pd.sh"
for tool in stun turnutils_natdiscovery; do
	command -v $tool >/dev/null || lab_skip "needs $tool (Debian: stun-client, coturn)"
done
HUB2_IP6=2001:db8:10::11

declare -A says=(
	[open]="Open"
	[full-cone]="Independent Mapping, Independent Filter"
	[address-restricted]="Independent Mapping, Address Dependent Filter"
	[port-restricted]="Independent Mapping, Port Dependent Filter"
	[symmetric]="Dependent Mapping"
	[udp-blocked]="Blocked or could not reach STUN server"
)
none="No NAT! (Endpoint Independent Mapping)"
declare -A maps=(
	[open]="$none; NAT with Endpoint Independent Mapping!"
	[full-cone]="NAT with Endpoint Independent Mapping!"
	[address-restricted]="NAT with Endpoint Independent Mapping!"
	[port-restricted]="NAT with Endpoint Independent Mapping!"
	[symmetric]="NAT with Address and Port Dependent Mapping!"
)
declare -A filters=(
	[open]="$none; NAT with Endpoint Independent Filtering!"
	[full-cone]="NAT with Endpoint Independent Filtering!"
	[address-restricted]="NAT with Address Dependent Filtering!"
	[port-restricted]="NAT with Address and Port Dependent Filtering!"
	[symmetric]="NAT with Address and Port Dependent Filtering!"
)
declare -A host=([open]=open [full-cone]=cone [address-restricted]=addr [port-restricted]=port [symmetric]=sym
	[udp-blocked]=blocked)

address() { ip -n "$1" -o "-$2" addr show dev eth0 scope global | awk '{ sub("/.*", "", $4); print $4; exit }'; }

# discover HOST LABEL SERVER FLAG... runs that client there, in the background; its words are in LABEL-HOST.log.
discover() {
	local name=$1 label=$2 server=$3 family=4
	shift 3
	[ "$server" = "${server#*:}" ] || family=6
	lab_start "$label-$name" "$name" turnutils_natdiscovery "$@" -L "$(address "$name" $family)" "$server"
}

all_ended() {
	local label
	for label; do
		lab_ended "${LAB_PID[$label]}" || return 1
	done
}

# What a client found, all its verdicts in one line.
verdict() { grep -E "^(NAT with|No NAT!)" "$LAB/$1.log" | paste -sd'~' | sed 's/~/; /g'; }
# The type alone, without what it says about ports and hairpin.
primary() { sed -nE 's/^Primary: //; T; s/, (preserves ports|random port|no hairpin|will hairpin).*//; s/\s*$//; p' "$LAB/$1.log"; }

expect() {
	local what=$1 want=$2 got=$3
	[ "$got" = "$want" ] || lab_fail "$what: expected '$want', got '$got'"
}

# Serves with these --udp; the clients see a hub of four endpoints either way.
serve() {
	lab_start hub hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls $HUB_IP4:443 "$@"
	lab_until 5 "the hub listens" lab_listens hub 443
}

ipv4_verdicts_are_right() {
	local run=$1 kind name labels=()
	for kind in "${!host[@]}"; do
		name=${host[$kind]}
		lab_start "$run-stun-$name" "$name" stun $HUB_IP4
		labels+=("$run-stun-$name")
		[ "$kind" != udp-blocked ] || continue
		discover "$name" "$run-map" $HUB_IP4 -m
		discover "$name" "$run-filter" $HUB_IP4 -f
		discover "$name" "$run-fragments" $HUB_IP4 -f -P
		discover "$name" "$run-port" $HUB_IP4 -t -T 1
		labels+=("$run"-{map,filter,fragments,port}-"$name")
	done
	lab_until 40 "all clients have ended" all_ended "${labels[@]}"
	for kind in "${!host[@]}"; do
		name=${host[$kind]}
		expect "$kind, stun" "${says[$kind]}" "$(primary "$run-stun-$name")"
		[ "$kind" != udp-blocked ] || continue
		expect "$kind, mapping" "${maps[$kind]}" "$(verdict "$run-map-$name")"
		expect "$kind, filtering" "${filters[$kind]}" "$(verdict "$run-filter-$name")"
		expect "$kind, filtering by fragments" "${filters[$kind]}" "$(verdict "$run-fragments-$name")"
		# A second socket asks for an answer to the first one's mapping.
		! grep -q timeout "$LAB/$run-port-$name.log" || lab_fail "$kind: no answer to RESPONSE-PORT"
		lab_note "$run, $kind: stun: ${says[$kind]}; natdiscovery: ${filters[$kind]}"
	done
}

ipv6_verdicts_are_right() {
	local name labels=()
	for name in open port; do
		discover "$name" six-map $HUB_IP6 -m
		discover "$name" six-filter $HUB_IP6 -f
		discover "$name" six-fragments $HUB_IP6 -f -P
		labels+=(six-{map,filter,fragments}-"$name")
	done
	lab_until 40 "all IPv6 clients have ended" all_ended "${labels[@]}"
	for name in open port; do
		local filtering="NAT with Endpoint Independent Filtering!"
		[ $name = open ] || filtering="NAT with Address and Port Dependent Filtering!"
		expect "IPv6 $name, mapping" "${maps[open]}" "$(verdict six-map-$name)"
		expect "IPv6 $name, filtering" "$none; $filtering" "$(verdict six-filter-$name)"
		expect "IPv6 $name, filtering by fragments" "$none; $filtering" "$(verdict six-fragments-$name)"
	done
	lab_note "IPv6: natdiscovery finds the open host and the stateful firewall"
}

lab_internet
ip -n hub addr add $HUB2_IP6/64 dev eth0
for kind in "${!host[@]}"; do
	lab_site "${host[$kind]}" "$kind"
done

endpoints=()
for ip in $HUB_IP4 $HUB2_IP4 "[$HUB_IP6]" "[$HUB2_IP6]"; do
	endpoints+=(--udp "$ip:3478" --udp "$ip:3479")
done
serve "${endpoints[@]}"
ipv4_verdicts_are_right named
ipv6_verdicts_are_right
lab_kill hub

# The machine's two public addresses are found by themselves.
serve
ipv4_verdicts_are_right any
