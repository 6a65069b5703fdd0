#!/bin/bash
# natcheck is right about every NAT of the lab, IPv4 and IPv6 side by side, with the hub's STUN server and with coturn's.
# Timeout: 240 s
LAB_IP6=1
. "$(dirname "$0")/p2pd.sh"
[ -x "$P2PD_BIN/natcheck" ] || lab_skip "natcheck is not built"
command -v turnserver >/dev/null || lab_skip "needs turnserver (Debian: coturn)"
HUB2_IP6=2001:db8:10::11

# host|kind and flags|exit code|what jq has to find true of the report
cases="
open|open|0|.type == \"open\" and .mapping == \"none\" and .nat == false and .depth == 0
cone|full-cone|0|.type == \"nat1\" and .allocation.pattern == \"preserving\" and .hairpin == false
hairpin|full-cone hairpin=1|0|.type == \"nat1\" and .hairpin == true
addr|address-restricted|0|.type == \"nat2\"
port|port-restricted|0|.type == \"nat3\" and .clash_moves_port == false
clash|port-restricted input=accept|0|.type == \"nat3\" and .clash_moves_port == true
sym|symmetric|10|.type == \"nat4\" and .allocation.pattern == \"random\" and .allocation.block == null
seq|sequential|10|.type == \"nat4\" and .allocation.pattern == \"sequential\" and .allocation.step == 1
down|sequential-down|10|.type == \"nat4\" and .allocation.pattern == \"sequential\" and .allocation.step == -1
stride|stride|10|.type == \"nat4\" and .allocation.pattern == \"sequential\" and .allocation.step == 2
b512|block-512|10|.type == \"nat4\" and .allocation.pattern == \"random\" and \$block <= 1024
b1024|block-1024|10|.type == \"nat4\" and .allocation.pattern == \"random\" and \$block <= 2048
home|home-carrier|0|.type == \"nat3\" and .depth == 2 and .cgnat == true
homesym|home-carrier-symmetric|10|.type == \"nat4\" and .depth == 2 and .cgnat == true
blocked|udp-blocked|11|.type == \"blocked\" and .udp == \"blocked\" and .ipv6.udp == \"blocked\"
"

lab_internet
ip -n hub addr add $HUB2_IP6/64 dev eth0
while IFS='|' read -r host kind _; do
	# shellcheck disable=SC2086
	[ -z "$host" ] || lab_site "$host" $kind
done <<<"$cases"

all_ended() {
	local label
	for label; do
		lab_ended "${LAB_PID[$label]}" || return 1
	done
}

# ask LABEL SERVERS HOST... runs natcheck on all of them at once; reports are in LABEL-HOST.log. These routers map no ports
# on request, and asking them each time would use up the ICMP errors that they send.
ask() {
	local label=$1 servers=$2 host labels=()
	shift 2
	for host; do
		lab_start "$label-$host" "$host" "$P2PD_BIN/natcheck" --server "$servers" --json --no-mapping
		labels+=("$label-$host")
	done
	lab_until 20 "all checks end" all_ended "${labels[@]}"
}

holds() { jq -e "((.allocation.block // {}) | if type == \"object\" then (.hi // 0) - (.lo // 0) + 1 else 0 end) as \$block | $2" "$LAB/$1.log" >/dev/null; }

# check LABEL HOST: its exit code and its report are as they should be.
check() {
	local label=$1 host=$2 line kind code want rc=0
	line=$(grep "^$host|" <<<"$cases")
	IFS='|' read -r _ kind code want <<<"$line"
	wait "${LAB_PID[$label-$host]}" || rc=$?
	lab_note "$label, $kind: $rc, $(jq -c '[.type, .allocation.pattern, .allocation.step, .allocation.block, .hairpin,
		.clash_moves_port, .depth, .ipv6.type?]' "$LAB/$label-$host.log")"
	[ $rc = "$code" ] || lab_fail "$label, $kind: exit code $rc, not $code"
	holds "$label-$host" "$want" || lab_fail "$label, $kind: not $want: $(cat "$LAB/$label-$host.log")"
	case $host in
	blocked) return ;;
	open) want='.ipv6.type == "open"' ;;
	*) want='.ipv6.type == "firewall" and .ipv6.filtering == "address-and-port-dependent" and .cgnat == (.depth == 2)' ;;
	esac
	holds "$label-$host" "$want" || lab_fail "$label, $kind: not $want: $(cat "$LAB/$label-$host.log")"
	want='.mtu == 1500 and .fragments.up == true and .alg == false and .ipv6.mtu == 1500 and .pooling != true'
	[ "$label" = coturn ] || holds "$label-$host" "$want" ||
		lab_fail "$label, $kind: not $want: $(cat "$LAB/$label-$host.log")"
}

# --- The hub, with two addresses of each family

lab_start hub hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls $HUB_IP4:443 --udp $HUB_IP4:3478 --udp $HUB_IP4:3479 \
	--udp $HUB2_IP4:3478 --udp $HUB2_IP4:3479 --udp "[$HUB_IP6]:3478" --udp "[$HUB_IP6]:3479" \
	--udp "[$HUB2_IP6]:3478" --udp "[$HUB2_IP6]:3479"
lab_until 5 "the hub listens" lab_listens hub 443
hub=$HUB_IP4,[$HUB_IP6]
# Not all at once: on two cores that would be a delay of its own.
ask hub "$hub" open cone hairpin addr port clash sym blocked
ask hub "$hub" seq down stride b512 b1024 home homesym
while IFS='|' read -r host _; do
	[ -z "$host" ] || check hub "$host"
done <<<"$cases"

# --- How long it takes with 50 ms to the hub and back

lab_cable sym delay=25
lab_cable cone delay=25
for host in sym cone; do
	start=$(lab_now_ms)
	lab_in $host "$P2PD_BIN/natcheck" --server "$hub" --no-mapping >"$LAB/text-$host.log" || true
	took=$(lab_took "$start")
	lab_note "$host: $took ms at a round trip of 50 ms"
	[ $took -le 3000 ] || lab_fail "the verdict took $took ms"
done
grep -q "^NAT4, symmetric" "$LAB/text-sym.log" || lab_fail "in words: $(cat "$LAB/text-sym.log")"
grep -q "^NAT1, full cone" "$LAB/text-cone.log" || lab_fail "in words: $(cat "$LAB/text-cone.log")"
lab_cable sym delay="$LAB_DELAY"
lab_cable cone delay="$LAB_DELAY"

# --- One server cannot compare, and says so; what a report of elsewhere foretells

rc=0
lab_in sym "$P2PD_BIN/natcheck" -4 --server $HUB_IP4 --against "file:$LAB/hub-sym.log" --json --no-mapping \
	>"$LAB/against.log" || rc=$?
[ $rc = 10 ] || lab_fail "against a report: exit code $rc"
[ "$(jq -r '.predict[0].technique' "$LAB/against.log")" = none ] || lab_fail "against a report: $(cat "$LAB/against.log")"
rc=0
lab_in seq "$P2PD_BIN/natcheck" -4 --server $HUB_IP4 --against "file:$LAB/hub-down.log" --json --no-mapping \
	>"$LAB/against.log" || rc=$?
[ "$(jq -r '.predict[0].technique' "$LAB/against.log")" = rendezvous ] ||
	lab_fail "against a report: $(cat "$LAB/against.log")"

# --- A tunnel on the way: what is too large for it gets lost

lab_site tunnel port-restricted
ip -n inet link set dev tunnel mtu 1420
ip -n tunnel-nat link set dev wan mtu 1420
for end in inet tunnel-nat; do
	lab_in $end nft -f - <<-END
		table inet hole {
			chain out {
				type filter hook output priority 0
				icmp type destination-unreachable drop
				icmpv6 type packet-too-big drop
			}
		}
	END
done
lab_in tunnel "$P2PD_BIN/natcheck" --server "$hub" --json --no-mapping >"$LAB/tunnel.log"
lab_note "an MTU of 1420 on the way: $(jq -c '[.mtu_up, .mtu_down, .fragments, .ipv6.mtu]' "$LAB/tunnel.log")"
[ "$(jq -c '[.mtu, .ipv6.mtu]' "$LAB/tunnel.log")" = "[1420,1420]" ] || lab_fail "the MTU: $(cat "$LAB/tunnel.log")"

# --- coturn

lab_kill hub
lab_start turn hub turnserver -n --stun-only --no-auth --no-cli --no-tls --no-dtls --log-file stdout --simple-log \
	-L $HUB_IP4 -L $HUB2_IP4 -L $HUB_IP6 -L $HUB2_IP6 -p 3478 --alt-listening-port 3479 --pidfile "$LAB/turn.pid" \
	--userdb "$LAB/turn.db"
lab_until 10 "coturn listens" eval "lab_in hub ss -Hlun 'sport = :3479' | grep -q ."
ask coturn "$hub" open cone addr port clash sym blocked
ask coturn "$hub" seq down stride b512 b1024 home homesym
for host in open cone addr port clash sym blocked seq down stride b512 b1024 home homesym; do
	check coturn "$host"
done
