# shellcheck shell=bash
# Port forwarding in the lab: a gateway, services and their visitors. Source it after p2pd.sh.
#
#   gateway_start NAME [OPTION...]   node_start, as a gateway at the public addresses of its (open) site
#   gateway_begin NAME [OPTION...]   the same, without waiting until it has joined
#   nodes_start NAME...              node_join with more patience: what is judged here is not joining
#   lan_host NAME NODE               a host at 10.9.N.2 (and fd00:9:N::2), whose router is the node's host
#   no_router NAME                   the host forwards for nobody, as most do; lan_host makes it a router
#   own4 NAME, own6 NAME             the address of the host on its cable
#
#   forward NAME WORD...             `p2pd portmap WORD...` for that node
#   forward_add NAME OPTION...       makes a rule and prints its id
#   forward_public NAME LOCAL OPTION...   the same, public through `gw` and open to all
#   forward_ready NAME ID [MODE]     waits until it is active, and carried so
#   forward_look NAME ID FILTER      jq over what `show` tells, raw
#   forward_is NAME ID STATE
#   forward_count NAME ID FILTER     jq over `stats`
#   refused CODE PATTERN CMD...      the command ends with that exit code (a glob) and says so
#
#   service_start HOST WORD...       service.py there (label service-HOST-PORT), ready
#   nginx_start HOST, haproxy_start HOST   HTTP on 8080, and behind PROXY v2 headers on 8081 (HAProxy: 8090, 8091); what
#   nginx_saw, haproxy_saw HOST      ... the last line of the log is the visitor's address
#   ask HOST WORD...                 visitor.py ask, its answer in one line: "1000 198.51.100.23"
#   gets EXPECTED HOST WORD...       the same; the test fails when it is something else, twice
#   hold_start LABEL HOST WORD...    visitor.py hold, in the background
#   held_after LABEL TIME            ms from then to the first message that came back, - if none did
#   held_last LABEL                  the last word of its log
#
#   footprint HOST                   all that a node may have changed in its host's network, but for its TUN device
#   has_footprint HOST TEXT
[ "$(command -v nginx)" ] && [ "$(command -v haproxy)" ] || lab_skip "the lab needs nginx and haproxy"

declare -A forward_lan
forward_lans=0

nodes_start() {
	local name
	for name; do
		node_start "$name"
	done
	for name; do
		lab_until 30 "$name has joined" is_joined "$name"
	done
}

gateway_begin() {
	local name=$1 words=(--gateway "$(lab_public4 "$1")")
	shift
	[ "$LAB_IP6" != 1 ] || words+=(--gateway "$(own6 "$name")")
	node_start "$name" "${words[@]}" "$@"
}
gateway_start() {
	gateway_begin "$@"
	lab_until 30 "$1 has joined" is_joined "$1"
}

lan_host() {
	local name=$1 node=$2 n=$((++forward_lans))
	forward_lan[$name]=$n
	lab_namespace "$name" 0
	ip link add dev "lan$n" netns "$node" type veth peer name eth0 netns "$name"
	lab_ip6 "$node" "lan$n"
	lab_ip6 "$name" eth0
	ip -n "$node" addr add 10.9.$n.1/24 dev "lan$n"
	ip -n "$name" addr add 10.9.$n.2/24 dev eth0
	if [ "$LAB_IP6" = 1 ]; then
		ip -n "$node" addr add fd00:9:$n::1/64 dev "lan$n"
		ip -n "$name" addr add fd00:9:$n::2/64 dev eth0
	fi
	ip -n "$node" link set dev "lan$n" up
	ip -n "$name" link set dev eth0 up
	ip -n "$name" route add default via 10.9.$n.1
	[ "$LAB_IP6" != 1 ] || ip -n "$name" route add default via fd00:9:$n::1
	lab_in "$node" sysctl -qw net.ipv4.ip_forward=1
	[ "$LAB_IP6" != 1 ] || lab_in "$node" sysctl -qw net.ipv6.conf.all.forwarding=1
}
no_router() { lab_in "$1" sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0; }

own4() { ip -n "$1" -j -4 addr show dev eth0 | jq -r '.[0].addr_info[0].local'; }
own6() { ip -n "$1" -j -6 addr show dev eth0 scope global | jq -r '[.[].addr_info[]?][0].local'; }

# --- Rules

forward() {
	local name=$1
	shift
	node "$name" portmap "$@"
}
forward_add() {
	local name=$1
	shift
	forward "$name" add "$@" >"$LAB/added.json" 2>"$LAB/added.err" ||
		lab_fail "portmap add $*: $(cat "$LAB/added.json" "$LAB/added.err")" >&2
	jq -er .forward_id "$LAB/added.json"
}
forward_public() {
	local name=$1 local=$2
	shift 2
	forward_add "$name" --local "$local" --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24 --allow 2001:db8::/32 "$@"
}
forward_look() { forward "$1" show "$2" --json | jq -er "$3"; }
forward_is() { [ "$(forward_look "$1" "$2" .state)" = "$3" ]; }
forward_count() { forward "$1" stats "$2" --json | jq -er "$3"; }

forward_ready() {
	local name=$1 id=$2 mode=${3:-} start
	start=$(lab_now_ms)
	until forward_is "$name" "$id" active 2>/dev/null; do
		[ "$(lab_took "$start")" -lt 20000 ] ||
			lab_fail "not active within 20 s: $(forward_look "$name" "$id" '[.name, .state, .why] | join(" ")' 2>&1)"
		sleep 0.05
	done
	[ -z "$mode" ] || [ "$(forward_look "$name" "$id" .mode)" = "$mode" ] ||
		lab_fail "$(forward_look "$name" "$id" '[.name, "is carried by", .mode, .mode_why] | join(" ")'), not by $mode"
}

refused() {
	local code=$1 pattern=$2 rc=0
	shift 2
	"$@" >"$LAB/out" 2>"$LAB/err" || rc=$?
	# shellcheck disable=SC2053
	[[ $rc = $code ]] || lab_fail "$*: exit code $rc, not $code: $(cat "$LAB/out" "$LAB/err")"
	grep -Eqi -- "$pattern" "$LAB/out" "$LAB/err" ||
		lab_fail "$*: does not say '$pattern': $(cat "$LAB/out" "$LAB/err")"
}

# --- Services

service_start() {
	local host=$1 port
	shift
	port=$(printf '%s\n' "$@" | grep -m1 -xE '[0-9]+')
	lab_start "service-$host-$port" "$host" python3 "$LAB_HERE/service.py" "$@"
	lab_until 20 "the service on $host listens" grep -qs ^ready "$LAB/service-$host-$port.log"
}

nginx_start() {
	local host=$1 dir=$LAB/nginx-$1
	mkdir -p "$dir"
	cat >"$dir/conf" <<-END
		daemon off;
		user root;
		worker_processes 1;
		pid $dir/pid;
		error_log stderr warn;
		events { worker_connections 1024; }
		http {
			log_format seen '\$remote_addr';
			log_format told '\$proxy_protocol_addr';
			client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f;
			uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
			server { listen 8080; access_log $dir/seen seen; return 200 "nginx \$remote_addr\n"; }
			server { listen 8081 proxy_protocol; access_log $dir/told told; return 200 "nginx \$proxy_protocol_addr\n"; }
		}
	END
	lab_start "nginx-$host" "$host" nginx -e stderr -p "$dir" -c "$dir/conf"
	lab_until 10 "nginx listens" lab_listens "$host" 8081
}
nginx_saw() { tail -n 1 "$LAB/nginx-$1/$2"; }

haproxy_start() {
	local host=$1
	cat >"$LAB/haproxy-$host.conf" <<-'END'
		global
			log stdout format raw local0
		defaults
			mode http
			timeout client 60s
			timeout connect 5s
			timeout server 60s
		frontend seen
			bind :8090
			log global
			log-format "seen %ci"
			http-request return status 200 content-type text/plain lf-string "haproxy %ci\n"
		frontend told
			bind :8091 accept-proxy
			log global
			log-format "told %ci"
			http-request return status 200 content-type text/plain lf-string "haproxy %ci\n"
	END
	lab_start "haproxy-$host" "$host" haproxy -db -f "$LAB/haproxy-$host.conf"
	lab_until 10 "HAProxy listens" lab_listens "$host" 8091
}
haproxy_saw() { sed -n "s/^$2 //p" "$LAB/haproxy-$1.log" | tail -n 1; }

# --- Visitors

visitor() {
	local host=$1
	shift
	lab_in "$host" python3 "$LAB_HERE/visitor.py" "$@"
}
ask() { visitor "$1" ask "${@:2}" | paste -sd, | sed 's/,/, /g'; }
gets() {
	local expected=$1 got
	shift
	got=$(ask "$@")
	[[ $got =~ ^($expected)$ ]] || {
		lab_note "once more, as $* got $got"
		sleep 1
		got=$(ask "$@")
	}
	[[ $got =~ ^($expected)$ ]] || lab_fail "ask $*: $got; expected: $expected"
}
# A web page's text.
page() {
	local host=$1
	shift
	lab_in "$host" curl -s --max-time 10 "$@"
}

hold_start() {
	local label=$1 host=$2
	shift 2
	rm -f "$LAB/$label.log"
	lab_start "$label" "$host" python3 "$LAB_HERE/visitor.py" hold "$@"
	lab_until 20 "$label: the first message is answered" eval "[ \$(wc -l <'$LAB/$label.log') -ge 2 ]"
}
held_after() { awk -v since="$2" '$1 > since && $2 ~ /^[0-9]+$/ { print $1 - since; ok = 1; exit } END { if (!ok) print "-" }' "$LAB/$1.log"; }
held_last() { tail -n 1 "$LAB/$1.log" | cut -d' ' -f2; }
# When the last message before now came back.
held_at() { awk '$2 ~ /^[0-9]+$/ { at = $1 } END { print at }' "$LAB/$1.log"; }

# --- What is left of it

footprint() {
	lab_in "$1" sh -c '
		nft -s list ruleset 2>/dev/null
		ip rule; ip -6 rule
		ip route show table all; ip -6 route show table all
		cd /proc/sys/net
		grep -s . ipv4/ip_forward ipv[46]/conf/*/forwarding \
			ipv4/conf/*/rp_filter ipv4/conf/*/src_valid_mark ipv4/conf/*/accept_local ipv4/conf/*/route_localnet' |
		grep -Ev 'p2pd[0-9]|^(multicast|anycast|local|broadcast|ff00)' || true
}
has_footprint() { [ "$(footprint "$1")" = "$2" ]; }
# Within 10 s, for what cleans up after a crash takes a moment.
same_footprint() {
	local host=$1 before=$2
	for _ in $(seq 50); do
		! has_footprint "$host" "$before" || return 0
		sleep 0.2
	done
	lab_fail "$host is not as it was before: $(diff <(echo "$before") <(footprint "$host") | head -40)"
}
