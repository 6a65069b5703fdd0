# shellcheck shell=bash
# A hub and nodes in the lab. Source it instead of lib.sh.
#
#   hub_start                    p2phub on the host `hub`; sets HUB_URL. State stays in $LAB/hub.
#   node_start NAME [OPTION...]  `p2pd up` on the host NAME, in the foreground (label NAME), in the network $NETWORK
#   node_join NAME...            node_start for each, and waits until all are joined
#   node NAME CMD...             `p2pd CMD` for that node
#   node_stop NAME               `p2pd down`, and waits until it has ended
#   status NAME FILTER           jq over its status, raw
#   peer NAME PEER FILTER        the same for one of its peers
#   traffic_start A B [BYTES]    datagrams to and fro through the tunnel (traffic.py), from now on; traffic_end A B
#   traffic_since A B TIME       what became of them since a time (lab_now_ms): "ANSWERED DIRECT LOST"
#   direct_since A B TIME        whether they go directly, as the internet sees it
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ -x "$P2PD_BIN/p2pd" ] && [ -x "$P2PD_BIN/p2phub" ] || lab_skip "p2pd and p2phub are not built"
HUB_URL=""
NETWORK=${NETWORK:-lab}
head -c 24 /dev/urandom | base64 >"$LAB/secret"

hub_start() {
	lab_start hub hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls $HUB_IP4:443 --udp $HUB_IP4:3478 \
		--udp $HUB_IP4:3479 --udp $HUB2_IP4:3478 --udp $HUB2_IP4:3479
	lab_until 5 "the hub listens" lab_listens hub 443
	HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub" --host $HUB_IP4)
}

# Its words after `p2pd`, for those who start it in their own way. Options given later win.
node_up_words() {
	local name=$1
	echo up --hub "$HUB_URL" --network "$NETWORK" --secret "file:$LAB/secret" --name "$name" \
		--state "$LAB/$name.state" --socket "$LAB/$name.sock"
}

node_start() {
	local name=$1
	shift
	# shellcheck disable=SC2046
	lab_start "$name" "$name" "$P2PD_BIN/p2pd" $(node_up_words "$name") --foreground "$@"
}

node() {
	local name=$1 command=$2
	shift 2
	lab_in "$name" "$P2PD_BIN/p2pd" "$command" "$@" --socket "$LAB/$name.sock"
}

status() { node "$1" status --json | jq -er "$2"; }
peer() { status "$1" ".peers[] | select(.name == \"$2\") | $3"; }

# Waits without a loss of time: for a test that measures from here on.
is_joined() { status "$1" .hub.connected >/dev/null 2>&1; }
reaches() { node "$1" ping "$2" -c 1 -W 1 >/dev/null 2>&1; }
path_is() { [ "$(peer "$1" "$2" .path.kind 2>/dev/null)" = "$3" ]; }
# A direct path is looked for while there is something to send.
reaches_directly() { reaches "$1" "$2" && path_is "$1" "$2" direct; }

node_join() {
	local name
	for name; do
		node_start "$name"
	done
	for name; do
		lab_until 10 "$name has joined" is_joined "$name"
	done
}

node_stop() {
	node "$1" down
	lab_until 10 "$1 ends" lab_ended "${LAB_PID[$1]}"
	wait "${LAB_PID[$1]}" || lab_fail "$1 ended with exit code $?"
	unset "LAB_PID[$1]"
}

traffic_start() {
	lab_start "traffic-$1-$2" hub python3 "$LAB_HERE/traffic.py" run "$1" "$2" "$(status "$2" .self.ip4)" "${3:-700}"
}
traffic_end() {
	lab_kill "traffic-$1-$2"
	rm "$LAB/traffic-$1-$2.log"
}
traffic_since() { "$LAB_HERE/traffic.py" after "$LAB/traffic-$1-$2.log" "$3"; }
direct_since() { [ "$(traffic_since "$1" "$2" "$3" | cut -d' ' -f2)" != - ]; }

# Mbit/s of an iperf3 run from $1 to the overlay address of $2, of $3 (for iperf3: -t 3, -n 1G ...).
overlay_rate() {
	local from=$1 to=$2 ip
	shift 2
	ip=$(status "$to" .self.ip4)
	lab_start "iperf-$to" "$to" iperf3 -s -1
	lab_until 5 "iperf3 listens" lab_listens "$to" 5201
	lab_in "$from" iperf3 -c "$ip" "$@" -J >"$LAB/iperf.json" || {
		jq -r .error "$LAB/iperf.json"
		lab_fail "iperf3 from $from to $to"
	}
	lab_kill "iperf-$to"
	jq '.end.sum_received.bits_per_second / 1e6 | floor' "$LAB/iperf.json"
}

# Numbers from stdin, one a line: their median.
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)]; else print "-" }'; }
