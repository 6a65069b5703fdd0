#!/bin/bash
# How fast data goes: p2pd beside other VPNs that run in user space, and beside no VPN at all, between two network
# namespaces of this machine, joined by a veth.
#
#   ./dev bench data [--quick] [-t] [CONTENDER...]
#
# A round measures every contender once, each alone: its daemons are started, do all works, and are stopped. So what the
# machine does meanwhile (noise, heat, other guests) meets all of them alike; a ratio is taken within a round. The first
# round is discarded, and finds the rates for the floods; then come ROUNDS=6. A work takes DURATION=2 seconds (not
# SECONDS, which is the shell's own). --quick: two rounds of one second. -t makes the table and the picture only.
# The works, and what is counted, stand in data_works.py; CONTENDERs are named below.
#
# Raw numbers: tests/bench/results.json; from it results.md, results.svg and the words in README.md between its two
# `data` marks. With --quick or named contenders all of these go to build/bench only, and README.md stays.
cd "$(dirname "$0")/../.." || exit 1
CONTENDERS=(veth wireguard-go nebula fastd aegis chacha20 relay relay-tls plain)
export LAB_IP6=0
. tests/lab/p2pd.sh

A_IP4=192.0.2.1 B_IP4=192.0.2.2
PORT=51820
VPN_MTU=1420 # of the others, wireguard-go's own choice; p2pd sets its own
BENCH=$PWD/build/bench
STARTED=() # labels of the daemons of this turn
TUNNEL=""  # and where b is reached through them

# --- The place: a and b joined by eth0, and the hub that each reaches by a cable of its own

data_cable() {
	local name=$1 ip4=$2
	ip link add dev "to-$name" netns hub type veth peer name hub netns "$name"
	lab_ip6 hub "to-$name"
	lab_ip6 "$name" hub
	ip -n hub -batch - <<-END
		link set dev to-$name up
		route add $ip4 dev to-$name src $HUB_IP4
	END
	ip -n "$name" -batch - <<-END
		addr add $ip4/32 dev hub
		link set dev hub up
		route add $HUB_IP4 dev hub src $ip4
		route add $HUB2_IP4 dev hub src $ip4
	END
}

data_place() {
	local name
	for name in a b hub; do
		lab_namespace $name 0
	done
	ip -n hub addr add $HUB_IP4/32 dev lo
	ip -n hub addr add $HUB2_IP4/32 dev lo
	ip link add dev eth0 netns a type veth peer name eth0 netns b
	lab_ip6 a eth0
	lab_ip6 b eth0
	ip -n a addr add $A_IP4/24 dev eth0
	ip -n b addr add $B_IP4/24 dev eth0
	ip -n a link set dev eth0 up
	ip -n b link set dev eth0 up
	data_cable a 198.51.100.21
	data_cable b 198.51.100.22
}

data_start() {
	STARTED+=("$1")
	lab_start "$@"
}

# The tunnel device of another VPN: data_device HOST DEVICE OWN-ADDRESS
data_device() {
	lab_until 5 "$2 on $1" ip -n "$1" link show dev "$2"
	ip -n "$1" addr add "$3" dev "$2"
	ip -n "$1" link set dev "$2" mtu $VPN_MTU up
}

# --- The contenders: start_X sets TUNNEL; missing_X tells why it cannot be measured. Names with - have _ there.

missing_veth() { :; }
start_veth() { TUNNEL=$B_IP4; }

version_of() { sed 's/[+-].*//' "$BENCH/$1/version"; }
missing_wireguard_go() { [ -x "$BENCH/wireguard-go/usr/bin/wireguard-go" ] || echo "not fetched"; }
start_wireguard_go() {
	local host
	for host in a b; do
		[ -s "$LAB/wg-$host" ] || (umask 077 && wg genkey >"$LAB/wg-$host")
		data_start "wg-$host" $host env WG_PROCESS_FOREGROUND=1 "$BENCH/wireguard-go/usr/bin/wireguard-go" "wg-$host"
		lab_until 5 "wireguard-go is up" lab_in $host wg show "wg-$host"
	done
	lab_in a wg set wg-a listen-port $PORT private-key "$LAB/wg-a" \
		peer "$(wg pubkey <"$LAB/wg-b")" allowed-ips 10.66.1.2/32 endpoint $B_IP4:$PORT
	lab_in b wg set wg-b listen-port $PORT private-key "$LAB/wg-b" \
		peer "$(wg pubkey <"$LAB/wg-a")" allowed-ips 10.66.1.1/32 endpoint $A_IP4:$PORT
	data_device a wg-a 10.66.1.1/24
	data_device b wg-b 10.66.1.2/24
	TUNNEL=10.66.1.2
}

missing_nebula() { [ -x "$BENCH/nebula/usr/bin/nebula" ] || echo "not fetched"; }
# As it comes: AES-256-GCM, and what else its defaults are.
nebula_config() {
	local host=$1 peer=$2 peer_ip4=$3
	cat <<-END
		pki: { ca: $LAB/nebula/ca.crt, cert: $LAB/nebula/$host.crt, key: $LAB/nebula/$host.key }
		static_host_map: { "$peer": ["$peer_ip4:$PORT"] }
		lighthouse: { am_lighthouse: false, hosts: [] }
		listen: { host: 0.0.0.0, port: $PORT }
		tun: { dev: nebula0, mtu: $VPN_MTU }
		logging: { level: warning }
		firewall:
		  outbound: [{ port: any, proto: any, host: any }]
		  inbound: [{ port: any, proto: any, host: any }]
	END
}
nebula_keys() (
	mkdir "$LAB/nebula"
	cd "$LAB/nebula"
	"$BENCH/nebula/usr/bin/nebula-cert" ca -name bench
	"$BENCH/nebula/usr/bin/nebula-cert" sign -name a -ip 10.66.2.1/24
	"$BENCH/nebula/usr/bin/nebula-cert" sign -name b -ip 10.66.2.2/24
	nebula_config a 10.66.2.2 $B_IP4 >a.yml
	nebula_config b 10.66.2.1 $A_IP4 >b.yml
)
start_nebula() {
	local host
	[ -d "$LAB/nebula" ] || nebula_keys
	for host in a b; do
		data_start "nebula-$host" $host "$BENCH/nebula/usr/bin/nebula" -config "$LAB/nebula/$host.yml"
	done
	TUNNEL=10.66.2.2
}

# Without a cipher: what its way of moving packets can do at most.
missing_fastd() { command -v fastd >/dev/null || echo "not installed"; }
fastd_config() {
	local host=$1 peer=$2 peer_ip4=$3
	cat <<-END
		log level warn;
		interface "fastd0";
		mode tun;
		method "null";
		mtu $VPN_MTU;
		bind any:$PORT;
		secret "$(sed -n 's/^Secret: //p' "$LAB/fastd-$host.key")";
		peer "$peer" { key "$(sed -n 's/^Public: //p' "$LAB/fastd-$peer.key")"; remote ipv4 "$peer_ip4" port $PORT; }
	END
}
start_fastd() {
	local host
	if [ ! -s "$LAB/fastd-b.conf" ]; then
		for host in a b; do
			(umask 077 && fastd --generate-key >"$LAB/fastd-$host.key" 2>/dev/null)
		done
		fastd_config a b $B_IP4 >"$LAB/fastd-a.conf"
		fastd_config b a $A_IP4 >"$LAB/fastd-b.conf"
	fi
	for host in a b; do
		data_start "fastd-$host" $host fastd --config "$LAB/fastd-$host.conf"
	done
	data_device a fastd0 10.66.3.1/24
	data_device b fastd0 10.66.3.2/24
	TUNNEL=10.66.3.2
}

# Ours. Each contender has a network of its own: the hub remembers for a while who was in the last one.
start_ours() {
	local program=$1 way=$2 host NETWORK=$contender
	shift 2
	for host in a b; do
		# shellcheck disable=SC2046
		data_start "$contender-$host" $host "$program" $(node_up_words $host) --foreground --no-portmap \
			--state "$LAB/$contender-$host.state" "$@"
	done
	for host in a b; do
		lab_until 15 "$host has joined" is_joined $host
	done
	lab_until 30 "a reaches b, $way" reaches_by a b "$way"
	lab_until 30 "b reaches a, $way" reaches_by b a "$way"
	TUNNEL=$(status b .self.ip4)
}
seals_with() { [ "$(peer a b .cipher) $(peer b a .cipher)" = "$1 $1" ]; }
reaches_by() { reaches "$1" "$2" && path_is "$1" "$2" "$3"; }

missing_aegis() { grep -qw aes /proc/cpuinfo || echo "this CPU has no AES instructions"; }
start_aegis() {
	start_ours "$P2PD_BIN/p2pd" direct --cipher auto
	lab_until 10 "AEGIS-256 is agreed" seals_with aegis-256
}
missing_chacha20() { :; }
start_chacha20() {
	start_ours "$P2PD_BIN/p2pd" direct --cipher chacha20
	lab_until 10 "ChaCha20-Poly1305 is used" seals_with chacha20-poly1305
}
# No UDP by these devices.
data_block_udp() {
	local host
	for host in a b; do
		lab_in $host nft "table inet relayed { chain output { type filter hook output priority 0; oifname { $1 } meta l4proto udp drop; }; }"
	done
}
missing_relay() { :; }
start_relay() {
	data_block_udp eth0
	start_ours "$P2PD_BIN/p2pd" relay-udp
}
missing_relay_tls() { :; }
start_relay_tls() {
	data_block_udp "eth0, hub"
	start_ours "$P2PD_BIN/p2pd" relay-tls
}
missing_plain() { [ -x build/plain/bin/p2pd ] || echo "not built"; }
start_plain() { start_ours build/plain/bin/p2pd direct; }

data_stop() {
	local label host
	for label in "${STARTED[@]}"; do
		lab_kill "$label"
	done
	STARTED=()
	for host in a b; do
		lab_in $host nft delete table inet relayed 2>/dev/null || true
	done
}

# --- A turn, a round, all of it

data_turn() {
	local round=$1 label pids="" result
	contender=$2
	"start_${contender//-/_}"
	for label in "${STARTED[@]}"; do
		pids+=" --daemon ${LAB_PID[$label]}"
	done
	[[ $contender != relay* ]] || pids+=" --helper ${LAB_PID[hub]}"
	lab_until 10 "$contender carries packets" lab_in a ping -c 1 -W 1 "$TUNNEL"
	# shellcheck disable=SC2086
	if result=$(python3 tests/bench/data_works.py --round "$round" --contender "$contender" --to "$TUNNEL" \
		--duration "$DURATION" --rates "$LAB/rates" --flood "$P2PD_BIN/flood" $pids); then
		echo "$result" | tee -a "$RAW"
	else
		lab_note "round $round: $contender could not do all works"
		failures=$((failures + 1))
	fi
	data_stop
}

data_rounds() {
	local round name
	for ((round = 0; round <= ROUNDS; round++)); do
		for name; do
			data_turn $round "$name"
		done
		lab_note "round $round of $ROUNDS done after $SECONDS s"
	done
}

# One daemon with 1, 100 and 1,000 peers: a bench of its own, whose notes join the results.
data_crowd() {
	[ -x tests/bench/crowd.sh ] || return 0
	env -u LAB_INSIDE tests/bench/crowd.sh | tee "$BENCH/crowd.log" || lab_note "tests/bench/crowd.sh failed"
}

data_contenders() {
	local name why
	for name; do
		declare -F "missing_${name//-/_}" >/dev/null || lab_fail "no such contender: $name; there are: ${CONTENDERS[*]}"
		why=$("missing_${name//-/_}")
		if [ -z "$why" ]; then
			chosen+=("$name")
		else
			lab_note "left out: $name ($why)"
		fi
	done
}

versions() {
	[ ! -s "$BENCH/wireguard-go/version" ] || echo "wireguard-go $(version_of wireguard-go)"
	[ ! -s "$BENCH/nebula/version" ] || echo "nebula $(version_of nebula)"
	command -v fastd >/dev/null && fastd --version 2>&1
	echo "p2pd $(git describe --always --dirty 2>/dev/null || echo "of no known commit")"
}

OUT=tests/bench failures=0 chosen=() names=() table_only=0
while [ $# -gt 0 ]; do
	case $1 in
	--quick) ROUNDS=${ROUNDS:-2} DURATION=${DURATION:-1} OUT=$BENCH ;;
	-t) table_only=1 ;;
	-*)
		sed -n '2,17s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	*) names+=("$1") OUT=$BENCH ;;
	esac
	shift
done
ROUNDS=${ROUNDS:-6} DURATION=${DURATION:-2} RAW=$BENCH/data.jsonl
mkdir -p "$BENCH"
if [ $table_only = 0 ]; then
	[ ${#names[@]} -gt 0 ] || names=("${CONTENDERS[@]}")
	data_contenders "${names[@]}"
	data_place
	hub_start
	: >"$RAW"
	rm -f "$BENCH/crowd.log"
	data_rounds "${chosen[@]}"
	[ "$OUT" = "$BENCH" ] || data_crowd
	versions >"$BENCH/versions"
	python3 tests/bench/data_table.py results "$BENCH" >"$LAB/results.json"
	mv "$LAB/results.json" "$OUT/results.json"
fi
python3 tests/bench/data_table.py table <"$OUT/results.json" >"$OUT/results.md"
python3 tests/bench/data_table.py picture <"$OUT/results.json" >"$OUT/results.svg"
cat "$OUT/results.md"
if [ "$OUT" != "$BENCH" ]; then
	python3 tests/bench/data_table.py readme <"$OUT/results.json" >"$BENCH/readme.md"
	sed -i -e "/<!-- data -->/,/<!-- end of data -->/ {
		//!d
		/<!-- data -->/r $BENCH/readme.md
	}" README.md
fi
[ $failures = 0 ] || lab_fail "$failures turns were incomplete and are not in the results"
