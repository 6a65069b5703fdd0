#!/bin/bash
# p2pd and a stock WireGuard (Debian's wireguard-go): both roles, with and without PSK, over IPv4 and IPv6, restart of
# either side, 1 GiB each way, every byte compared, and a rekey in both roles under traffic. RESTART=0 and REKEY=0 leave out
# the two that take minutes.
# Mostly waits: it runs beside others.
# Timeout: 400 s
export LAB_IP6=1 LAB_DELAY=1
. "$(dirname "$0")/p2pd.sh"
RESTART=${RESTART:-1} REKEY=${REKEY:-1}
BYTES=$(numfmt --from=iec "${BYTES:-1G}")
PORT=51820
command -v wireguard-go wg >/dev/null || lab_skip "wireguard-go and wg are not installed"

# Stock peers of p2pd on host p: who sends first, PSK, outer address. Their overlay addresses are 10.77.200.N.
#     name initiator psk outer
cases=(
	"w1 stock   no  4"
	"w2 p2pd    yes 4"
	"w3 stock   yes 6"
	"w4 p2pd    no  6"
)

outer() {
	if [ "$2" = 4 ]; then lab_public4 "$1"; else echo "2001:db8:${LAB_SITE_NO[$1]}::2"; fi
}
bracket() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }

# The stock side. Only the one that is to initiate knows an endpoint.
stock_start() {
	local name=$1 initiator=$2 psk=$3 outer=$4 words
	lab_start "$name" "$name" env WG_PROCESS_FOREGROUND=1 wireguard-go "wg-$name"
	lab_until 5 "wireguard-go is up" lab_in "$name" wg show "wg-$name"
	words="peer $p_key allowed-ips $p_ip4/32,$p_ip6/128"
	[ "$psk" = no ] || words+=" preshared-key $LAB/$name.psk"
	[ "$initiator" = p2pd ] || words+=" endpoint $(bracket "$(outer p "$outer")"):$PORT"
	# shellcheck disable=SC2086
	lab_in "$name" wg set "wg-$name" listen-port $PORT private-key "$LAB/$name.key" $words
	ip -n "$name" -batch - <<-END
		addr add 10.77.200.${name#w}/32 dev wg-$name
		addr add $(stock_ip6 "$name")/128 dev wg-$name
		link set dev wg-$name mtu 1380 up
		route add $p_ip4/32 dev wg-$name
		route add $p_ip6/128 dev wg-$name
	END
}
stock_ip6() { echo "fd99::${1#w}"; }

p2pd_knows() {
	local name=$1 initiator=$2 psk=$3 outer=$4 words
	words="--allowed-ips 10.77.200.${name#w}/32,$(stock_ip6 "$name")/128"
	[ "$psk" = no ] || words+=" --psk file:$LAB/$name.psk"
	[ "$initiator" = stock ] || words+=" --endpoint $(bracket "$(outer "$name" "$outer")"):$PORT"
	# shellcheck disable=SC2086
	node p wg add "$name" --key "$(wg pubkey <"$LAB/$name.key")" $words
}

# One answered TCP connection; the one who connects sends the first packet.
talk() { lab_in "$1" python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 7), 2).recv(9)' "$2"; }
echo_start() {
	lab_start "echo-$1" "$1" python3 -c 'import socket
s = socket.create_server(("::", 7), family=socket.AF_INET6, dualstack_ipv6=True)
while True: s.accept()[0].sendall(b"here")'
	lab_until 5 "the server on $1 listens" lab_listens "$1" 7
}
p_to() { talk p "10.77.200.${1#w}" && talk p "$(stock_ip6 "$1")"; }
to_p() { talk "$1" "$p_ip4" && talk "$1" "$p_ip6"; }
first_try() { if [ "$2" = p2pd ]; then p_to "$1"; else to_p "$1"; fi; }
handshake_of() { lab_in "$1" wg show "wg-$1" latest-handshakes | cut -f2; }

# A stream, and an eighth of it in trains of datagrams.
transfer() {
	local server=$1 client=$2 ip=$3 stream trains
	lab_start "ferry-$server" "$server" "$P2PD_BIN/ferry" serve 5300
	lab_until 5 "ferry listens" lab_listens "$server" 5300
	stream=$(lab_in "$client" "$P2PD_BIN/ferry" tcp "$ip" 5300 "$BYTES") || lab_fail "$client to $server, TCP: $stream"
	trains=$(lab_in "$client" "$P2PD_BIN/ferry" udp "$ip" 5300 $((BYTES / 8)) size=1200 gso=40) ||
		lab_fail "$client to $server, UDP: $trains"
	lab_note "$client to $server: $(numfmt --to=iec "$BYTES") at $stream; UDP $trains; no byte wrong"
	lab_kill "ferry-$server"
}

lab_internet
lab_site p open
hub_start
node_start p --port $PORT
lab_until 10 "p has joined" is_joined p
p_key=$(node p wg key) p_ip4=$(status p .self.ip4) p_ip6=$(status p .self.ip6)
echo_start p

for case in "${cases[@]}"; do
	read -r name initiator psk outer <<<"$case"
	lab_site "$name" open
	(umask 077 && wg genkey >"$LAB/$name.key" && wg genpsk >"$LAB/$name.psk")
	stock_start "$name" "$initiator" "$psk" "$outer"
	p2pd_knows "$name" "$initiator" "$psk" "$outer"
	echo_start "$name"
	lab_until 8 "$case: the first connection" first_try "$name" "$initiator"
	to_p "$name" || lab_fail "$case: $name does not reach p"
	p_to "$name" || lab_fail "$case: p does not reach $name"
	lab_note "$name: $initiator initiates, psk $psk, outer IPv$outer: works both ways"
done
[ "$(node p wg ls | grep -c 'w[1-4]')" = 4 ] || lab_fail "wg ls does not list the four"

restart_either_side() {
	local case name initiator psk outer
	for case in "${cases[@]}"; do
		read -r name initiator psk outer <<<"$case"
		lab_kill "$name" KILL
		stock_start "$name" "$initiator" "$psk" "$outer"
		# The side that was not restarted notices after 15 s without an answer (WireGuard, section 6.5), and calls anew.
		lab_until 30 "$case: works again after a restart of wireguard-go" first_try "$name" "$initiator"
	done
	lab_kill p KILL
	node_start p --port $PORT
	lab_until 10 "p has joined again" is_joined p
	for case in "${cases[@]}"; do
		read -r name initiator psk outer <<<"$case"
		lab_until 30 "$case: works again after a restart of p2pd" first_try "$name" "$initiator"
	done
	lab_note "all four work again after a restart of either side"
}
[ "$RESTART" = 0 ] || restart_either_side

# A trickle through w1 (which initiates and rekeys) and w2 (p2pd does), while w3 and w4 carry the bulk.
if [ "$REKEY" = 1 ]; then
	trickle=135
	declare -A before
	for name in w1 w2; do
		before[$name]=$(handshake_of $name)
		lab_start "trickle-server-$name" p iperf3 -s -1 -p "520${name#w}"
		lab_until 5 "iperf3 listens" lab_listens p "520${name#w}"
	done
	lab_start trickle-w1 w1 iperf3 -c "$p_ip4" -p 5201 -u -b 200K -l 500 -t $trickle -J
	lab_start trickle-w2 w2 iperf3 -R -c "$p_ip4" -p 5202 -u -b 200K -l 500 -t $trickle -J
fi

transfer p w3 "$p_ip4"
transfer w3 p 10.77.200.3
transfer p w4 "$p_ip6"
[ "$(status p '.peers[] | select(.name == "w3") | .rx_bytes')" -gt 1000000 ] || lab_fail "status counts no bytes of w3"

if [ "$REKEY" = 1 ]; then
	for name in w1 w2; do
		wait "${LAB_PID[trickle-$name]}" || lab_fail "the trickle through $name: exit code $?"
		lost=$(jq ".end.sum.lost_percent * 100 | round / 100" "$LAB/trickle-$name.log")
		rekeys=$(($(handshake_of $name) - ${before[$name]}))
		lab_note "$name: new keys $rekeys s after the first, $lost % of the trickle lost meanwhile"
		[ $rekeys -ge 100 ] || lab_fail "$name: no rekey"
		jq -e '.end.sum.lost_percent < 1' "$LAB/trickle-$name.log" >/dev/null || lab_fail "$name: traffic lost at the rekey"
	done
fi

node p wg rm w1
lab_until 10 "w1 is gone after wg rm" eval '! to_p w1'
node_stop p
