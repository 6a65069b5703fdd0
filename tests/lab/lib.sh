# shellcheck shell=bash
# The lab: an internet in network namespaces, with real NATs (nftables) and cables of a given delay (linkem).
# Source it first; the script then runs again inside mount, PID and network namespaces of its own. So names cannot
# clash, nothing of the host is touched, and all of it vanishes with the script, however that ends.
#
#   lab_internet                      the middle, and the host `hub` at $HUB_IP4, $HUB2_IP4 and $HUB_IP6
#   lab_site NAME KIND [FLAG...]      a host NAME behind a router NAME-nat of that kind, joined to the internet by a cable
#   lab_host NAME SITE                one more host on the LAN of that site
#   lab_move HOST SITE                the host's network cable is moved to the LAN of another site
#   lab_in HOST CMD...                runs a command there
#   lab_start LABEL HOST CMD...       starts a program there, in the background, its output in $LAB/LABEL.log
#   lab_kill LABEL [SIGNAL]           ends it and waits until it has ended
#   lab_cable SITE SETTING...         changes the site's cable: cut=1, cut=0, loss=5, a.delay=40 ... (see linkem.c)
#   lab_part SITE SITE, lab_rejoin    nothing passes between the two sites any more; all may talk again
#   lab_narrow SITE SITE BYTES        larger packets between them vanish without a word, until lab_rejoin
#   lab_remove SITE                   the site with its hosts (LAN hosts that joined by lab_host too)
#   lab_until SECONDS WHAT CMD...     waits until the command succeeds; the test fails when it does not in time
#   lab_took TIME                     ms since then (lab_now_ms), for what is judged by its time
#   lab_listens HOST PORT             whether a TCP server listens there
#   lab_fail, lab_skip, lab_note      end the test, or say something
#
# Kinds and flags of NATs, and what can be done to a router while it runs, stand in nats.sh. LAB_IP6=1 gives every site IPv6 too (routed, with a stateful firewall where there is a NAT); without it an
# IPv6 path would stand in for the NAT that a test is about. LAB_DELAY is the one-way delay of a cable in ms.
set -Eeuo pipefail

LAB_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
P2PD_BIN=$(cd "${P2PD_BIN:-$LAB_HERE/../../build/bin}" 2>/dev/null && pwd) || {
	echo "no programs in ${P2PD_BIN:-build/bin}: build first" >&2
	exit 1
}
LAB_SKIPPED=77
LAB_DELAY=${LAB_DELAY:-12.5}
LAB_IP6=${LAB_IP6:-0}
# So many routers lie between two sites: a packet with a smaller TTL dies on the way.
LAB_HOPS=6

HUB_IP4=198.51.100.10 HUB2_IP4=203.0.113.10 HUB_IP6=2001:db8:10::10
# The middle itself: takes whatever is sent to port 9 (discard), and can echo on port 7.
GATEWAY_IP4=198.51.100.1
LAB_DISCARD=9 LAB_ECHO=7

lab_note() { printf '# %s\n' "$*"; }
lab_skip() { printf 'SKIP: %s\n' "$*"; exit $LAB_SKIPPED; }
lab_fail() { printf 'FAIL: %s\n' "$*"; exit 1; }

# --- Into namespaces of our own

lab_needs() {
	local tool
	[ "$(id -u)" = 0 ] || lab_skip "the lab needs root"
	[ -c /dev/net/tun ] || lab_skip "the lab needs /dev/net/tun"
	for tool in ip ss nft conntrack unshare nsenter setpriv jq iperf3 python3; do
		command -v $tool >/dev/null || lab_skip "the lab needs $tool"
	done
	unshare --net --mount --pid --fork true 2>/dev/null || lab_skip "no right to make namespaces"
}

if [ -z "${LAB_INSIDE:-}" ]; then
	lab_needs
	export LAB_INSIDE=1
	exec unshare --net --mount --pid --mount-proc --kill-child "$BASH" "$0" "$@"
fi

# Our own /run: the namespaces' names, the logs and the daemons' state live in memory and go with us.
mount -t tmpfs lab /run
LAB=/run/lab
mkdir -p $LAB /run/netns
ip link set dev lo up

declare -A LAB_PID LAB_SITE_NO LAB_KIND LAB_FLAGS LAB_SITE_OF lab_hosts_of lab_last_host lab_turn lab_first_port
lab_sites=0

# What a person needs who looks into a failure: which programs have ended, and each one's last words.
lab_dump() {
	local log label
	for label in "${!LAB_PID[@]}"; do
		lab_ended "${LAB_PID[$label]}" || continue
		wait "${LAB_PID[$label]}" 2>/dev/null && true
		echo "--- $label has ended with $?"
	done
	for log in "$LAB"/*.log; do
		[ -s "$log" ] || continue
		printf -- '--- %s\n' "$(basename "$log")"
		tail -n "${LAB_TAIL:-25}" "$log"
	done
}

lab_exit() {
	local rc=$?
	trap - EXIT
	if grep -Eqs 'Sanitizer|runtime error:' "$LAB"/*.log; then
		echo "FAIL: a sanitizer found something"
		rc=1
	fi
	[ $rc = 0 ] || [ $rc = $LAB_SKIPPED ] || lab_dump
	[ -z "${LAB_LOGS:-}" ] || { mkdir -p "$LAB_LOGS" && cp "$LAB"/*.log "$LAB_LOGS"/; } || true
	exit $rc
}
trap lab_exit EXIT
trap 'exit 130' INT TERM
trap 'trap - ERR; echo "FAIL: line $LINENO: $BASH_COMMAND"' ERR

# --- Programs

lab_in() {
	local host=$1
	shift
	nsenter --net=/run/netns/"$host" -- "$@"
}

# The program is a direct child: its PID is known and it dies with the test.
lab_start() {
	local label=$1 host=$2
	shift 2
	nsenter --net=/run/netns/"$host" -- setpriv --pdeathsig KILL "$@" >>"$LAB/$label.log" 2>&1 </dev/null &
	LAB_PID[$label]=$!
}

lab_running() { kill -0 "${LAB_PID[$1]}" 2>/dev/null; }

lab_kill() {
	local pid=${LAB_PID[$1]}
	{
		# The shell would tell of every child that a signal ended.
		kill -"${2:-TERM}" "$pid" || true
		lab_until 10 "$1 ends" lab_ended "$pid"
		wait "$pid" || true
	} 2>/dev/null
	unset "LAB_PID[$1]"
}

lab_ended() {
	local state
	state=$(awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null) || true
	[ -z "$state" ] || [ "$state" = Z ]
}

# What comes in is read whole, unlike by grep -q alone: a program that has more to write is not ended in the middle.
lab_says() {
	local text
	text=$(cat)
	[ -n "$text" ] && grep -q "$@" <<<"$text"
}
lab_listens() { lab_in "$1" ss -Hltn "sport = :$2" | grep -q .; }

lab_now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# A machine that others use, too, can stand still for seconds, and no program on it is to blame: each nap of this one that
# took much longer than it should is written down, as "END EXCESS" in ms.
lab_watch_standstill() {
	local nap=50 before now nothing
	exec {nothing}<> <(:)
	now=$(lab_now_ms)
	while :; do
		before=$now
		read -rt 0.0$nap -u "$nothing" _ || true
		now=$((${EPOCHREALTIME/[.,]/} / 1000))
		[ $((now - before)) -lt $((nap + 100)) ] || echo "$now $((now - before - nap))" >>"$LAB/standstill"
	done
}
: >"$LAB/standstill"
lab_watch_standstill &

# Ms since then, without those in which the machine stood still.
lab_took() {
	local now
	now=$(lab_now_ms)
	sleep 0.1 # the watcher may wake up after us
	awk -v since="$1" -v now="$now" '$1 > since && $1 - $2 < now { now -= $2 } END { print now - since }' "$LAB/standstill"
}

lab_until() {
	local start limit=$1 what=$2
	start=$(lab_now_ms)
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $(($(lab_now_ms) - start)) -lt $((limit * 1000)) ] || [ "$(lab_took "$start")" -lt $((limit * 1000)) ] ||
			lab_fail "not within $limit s: $what"
		sleep 0.02
	done
}

# --- Networks

# New namespace, IPv4 forwarding and IPv6 as asked.
lab_namespace() {
	local name=$1 forward=$2
	ip netns add "$name"
	lab_in "$name" sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
		net.ipv4.ip_forward="$forward" net.ipv6.conf.all.forwarding="$forward" \
		net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 \
		net.ipv6.conf.default.accept_ra=0 net.ipv4.ping_group_range="0 65535"
	ip -n "$name" link set dev lo up
}

# Without LAB_IP6 an interface has no IPv6 at all, not even link-local.
lab_ip6() {
	[ "$LAB_IP6" = 1 ] || lab_in "$1" sysctl -qw net.ipv6.conf."$2".disable_ipv6=1
}

lab_internet() {
	lab_namespace inet 1
	lab_namespace hub 0
	ip link add dev hub netns inet type veth peer name eth0 netns hub
	lab_ip6 inet hub
	lab_ip6 hub eth0
	ip -n inet -batch - <<-END
		addr add $GATEWAY_IP4/32 dev hub
		link set dev hub up
		route add $HUB_IP4 dev hub
		route add $HUB2_IP4 dev hub
	END
	ip -n hub -batch - <<-END
		addr add $HUB_IP4/32 dev eth0
		addr add $HUB2_IP4/32 dev eth0
		link set dev eth0 up
		route add $GATEWAY_IP4 dev eth0
		route add default via $GATEWAY_IP4 dev eth0 src $HUB_IP4
	END
	if [ "$LAB_IP6" = 1 ]; then
		ip -n inet -batch - <<-END
			addr add 2001:db8:10::1/64 dev hub
		END
		ip -n hub -batch - <<-END
			addr add $HUB_IP6/64 dev eth0
			route add default via 2001:db8:10::1
		END
	fi
	lab_in inet nft -f - <<-END
		table inet internet {
			set parted { type ipv4_addr . ipv4_addr; }
			set narrowed { typeof ip saddr . ip daddr . ip length; flags interval; }
			chain input {
				type filter hook input priority 0
				udp dport $LAB_DISCARD drop
			}
			chain forward {
				type filter hook forward priority 0
				ip saddr . ip daddr @parted drop
				ip saddr . ip daddr . ip length @narrowed drop
				oifname != "hub" iifname != "hub" ip ttl < $LAB_HOPS drop
				oifname != "hub" iifname != "hub" ip6 hoplimit < $LAB_HOPS drop
			}
		}
	END
}

# A cable from the internet to device $3 of namespace $2, which gets the public address of site $1.
lab_uplink() {
	local site=$1 ns=$2 dev=$3 n=${LAB_SITE_NO[$1]} ip4
	ip4=$(lab_public4 "$site")
	"$P2PD_BIN"/linkem inet:"$site" "$ns:$dev" "$LAB/$site.cable" delay="$LAB_DELAY" >>"$LAB/$site-cable.log" 2>&1 &
	LAB_PID[cable-$site]=$!
	lab_until 5 "cable to $site" "$P2PD_BIN"/linkem ctl "$LAB/$site.cable" stats
	lab_ip6 inet "$site"
	lab_ip6 "$ns" "$dev"
	ip -n inet -batch - <<-END
		addr add $GATEWAY_IP4/32 dev $site
		link set dev $site up
		route add $ip4 dev $site
	END
	ip -n "$ns" -batch - <<-END
		addr add $ip4/32 dev $dev
		link set dev $dev up
		route add $GATEWAY_IP4 dev $dev
		route add default via $GATEWAY_IP4 dev $dev src $ip4
	END
	if [ "$LAB_IP6" = 1 ]; then
		ip -n inet -batch - <<-END
			addr add 2001:db8:$n::1/64 dev $site
			route add 2001:db8:$n:1::/64 via 2001:db8:$n::2
		END
		ip -n "$ns" -batch - <<-END
			addr add 2001:db8:$n::2/64 dev $dev
			route add default via 2001:db8:$n::1
		END
	fi
}

# The public addresses of a site; hosts behind its router have 2001:db8:N:1::/64 addresses of their own.
lab_public4() {
	local n=${LAB_SITE_NO[$1]}
	if [ $(((n + ${lab_turn[$1]}) % 2)) = 0 ]; then echo 198.51.100.$n; else echo 203.0.113.$n; fi
}

lab_site() {
	local name=$1 kind=$2
	shift 2
	lab_sites=$((lab_sites + 1))
	LAB_SITE_NO[$name]=$((lab_sites % 200 + 20))
	LAB_KIND[$name]=$kind LAB_FLAGS[$name]="$*" LAB_SITE_OF[$name]=$name
	lab_hosts_of[$name]="" lab_last_host[$name]=9 lab_turn[$name]=0
	if [ "$kind" = open ]; then
		lab_hosts_of[$name]=$name
		lab_namespace "$name" 0
		lab_uplink "$name" "$name" eth0
		return
	fi
	lab_routers_up "$name"
	lab_host "$name" "$name"
}

lab_host() {
	local name=$1 site=$2
	lab_namespace "$name" 0
	ip link add dev "$name" netns "$site-nat" type veth peer name eth0 netns "$name"
	lab_plug "$name" "$site"
}

# The cable of a host, whose other end is in the router already, into its LAN.
lab_plug() {
	local name=$1 site=$2 n=${LAB_SITE_NO[$2]} i
	lab_hosts_of[$site]+=" $name"
	LAB_SITE_OF[$name]=$site
	i=$((${lab_last_host[$site]} + 1))
	lab_last_host[$site]=$i
	ip -n "$site-nat" link set dev "$name" master lan up
	lab_ip6 "$site-nat" "$name"
	lab_ip6 "$name" eth0
	ip -n "$name" -batch - <<-END
		addr add 192.168.$n.$i/24 dev eth0
		link set dev eth0 up
		route add default via 192.168.$n.1
	END
	if [ "$LAB_IP6" = 1 ]; then
		ip -n "$name" -batch - <<-END
			addr add 2001:db8:$n:1::$i/64 dev eth0
			route add default via 2001:db8:$n:1::1
		END
	fi
}

lab_move() {
	local name=$1 site=$2 from=${LAB_SITE_OF[$1]}
	lab_hosts_of[$from]=${lab_hosts_of[$from]/ $name/}
	ip -n "$from-nat" link set dev "$name" netns "$site-nat"
	ip -n "$name" addr flush dev eth0
	lab_plug "$name" "$site"
}

lab_cable() {
	local site=$1
	shift
	"$P2PD_BIN"/linkem ctl "$LAB/$site.cable" "$@"
}

lab_part() {
	local a b
	a=$(lab_public4 "$1")
	b=$(lab_public4 "$2")
	lab_in inet nft add element inet internet parted "{ $a . $b, $b . $a }"
}

lab_narrow() {
	local a b
	a=$(lab_public4 "$1")
	b=$(lab_public4 "$2")
	lab_in inet nft add element inet internet narrowed "{ $a . $b . $(($3 + 1))-65535, $b . $a . $(($3 + 1))-65535 }"
}

lab_rejoin() { lab_in inet nft "flush set inet internet parted; flush set inet internet narrowed"; }

lab_remove() {
	local site=$1 host
	lab_kill "cable-$site" KILL
	for host in ${lab_hosts_of[$site]} $(lab_routers "$site"); do
		ip netns del "$host" 2>/dev/null || true
	done
	rm -f "$LAB/$site.cable"
	unset "LAB_SITE_NO[$site]" "lab_hosts_of[$site]" "lab_first_port[$site]"
}

. "$LAB_HERE/nats.sh"
