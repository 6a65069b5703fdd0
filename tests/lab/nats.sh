# shellcheck shell=bash
# The lab's routers: what their NATs do, and what can happen to them. lib.sh sources this.
#
# Kinds. Mapping and filtering in RFC 4787's words, and how ports are allocated:
#   open                   no NAT
#   full-cone              endpoint-independent, endpoint-independent
#   address-restricted     endpoint-independent, address-dependent
#   port-restricted        endpoint-independent, address-and-port-dependent (what a plain Linux router does)
#   symmetric              address-and-port-dependent, both; a port at random
#   sequential, -down      likewise, but the port after (before) that of the flow before, whoever's it was; 4,096 ports
#                          that begin anywhere, then the first again
#   stride                 likewise, the second port after it; 2,048 ports
#   block-512, block-1024  symmetric within an aligned block of that many ports
#   home-carrier           a port-restricted home router behind a port-restricted router of the carrier, 100.64.0.0/10
#                          between them
#   home-carrier-symmetric the same behind a symmetric one
#   udp-blocked            port-restricted for everything else; no UDP passes
#
# Flags of lab_site, for every router of the site:
#   hairpin=1              a LAN host reaches the others by the public address and mapped port (endpoint-independent kinds)
#   input=accept|reject    what comes unasked from outside for the router itself (drop)
#   timeout=S, stream=S    seconds until a UDP mapping ends, without and with answers seen (the kernel's 30 and 120)
#   limit=N                the connection tracking table has N entries; packets of any flow beyond are dropped
#
#   lab_routers SITE            the namespaces of its routers, the one with the public address last
#   lab_entries SITE            entries in the fullest table of its routers, now
#   lab_watch SITE, lab_most SITE    watch that from now on; end watching and print the most seen
#   lab_flush SITE              the routers forget all flows, as after a restart
#   lab_readdress SITE          the site has another public address from now on
#   lab_background SITE RATE    a LAN host sends to RATE new flows a second (Poisson) from now on: lab_kill noise-SITE
#   lab_foreign SITE COUNT      a LAN host keeps COUNT flows alive, each sends a packet a second that is to be answered;
#                               every fifth begins anew after 10 s
#   lab_foreign_end SITE        ends them, prints "SENT LOST LATEST" (ms until the latest answer)
#   lab_drops SITE              what its routers, its cable and the echo server have dropped, in the kernel's own words

NAT_COUNTED_PORTS=4096

lab_flag() {
	local flag
	for flag in ${LAB_FLAGS[$1]}; do
		[ "${flag%%=*}" != "$2" ] || echo "${flag#*=}"
	done
}

lab_routers() {
	case ${LAB_KIND[$1]} in
	open) ;;
	home-carrier*) echo "$1-nat $1-carrier" ;;
	*) echo "$1-nat" ;;
	esac
}

# --- What lab_site sets up

lab_routers_up() {
	local site=$1 n=${LAB_SITE_NO[$1]}
	# Any port of the upper half at which all counted ports still are above 20000 and below 65536.
	lab_first_port[$site]=$((RANDOM % 16384 + 32768))
	lab_namespace "$site-nat" 1
	ip -n "$site-nat" link add lan type bridge
	# Where the host has br_netfilter, what is bridged would be NATed, and never be routed back to where it came from.
	lab_in "$site-nat" sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 \
		2>/dev/null || true
	lab_ip6 "$site-nat" lan
	ip -n "$site-nat" -batch - <<-END
		addr add 192.168.$n.1/24 dev lan
		link set dev lan up
	END
	[ "$LAB_IP6" != 1 ] || ip -n "$site-nat" addr add 2001:db8:$n:1::1/64 dev lan
	case ${LAB_KIND[$site]} in
	home-carrier*) lab_carrier_up "$site" ;;
	*) lab_uplink "$site" "$site-nat" wan ;;
	esac
	lab_routers_configure "$site"
}

# The carrier's router, and a wire from it to the home's.
lab_carrier_up() {
	local site=$1 n=${LAB_SITE_NO[$1]}
	lab_namespace "$site-carrier" 1
	lab_uplink "$site" "$site-carrier" wan
	ip link add dev lan netns "$site-carrier" type veth peer name wan netns "$site-nat"
	lab_ip6 "$site-carrier" lan
	lab_ip6 "$site-nat" wan
	ip -n "$site-carrier" -batch - <<-END
		addr add 100.64.$n.1/24 dev lan
		link set dev lan up
	END
	ip -n "$site-nat" -batch - <<-END
		addr add 100.64.$n.2/24 dev wan
		link set dev wan up
		route add default via 100.64.$n.1
	END
	if [ "$LAB_IP6" = 1 ]; then
		ip -n "$site-carrier" -batch - <<-END
			addr add 2001:db8:$n:2::1/64 dev lan
			route add 2001:db8:$n:1::/64 via 2001:db8:$n:2::2
		END
		ip -n "$site-nat" -batch - <<-END
			addr add 2001:db8:$n:2::2/64 dev wan
			route add default via 2001:db8:$n:2::1
		END
	fi
}

lab_routers_configure() {
	local site=$1 router kind
	for router in $(lab_routers "$site"); do
		kind=${LAB_KIND[$site]}
		case $kind-$router in
		home-carrier-symmetric-*-carrier) kind=symmetric ;;
		home-carrier*) kind=port-restricted ;;
		esac
		nat_rules "$site" "$kind" | lab_in "$router" nft -f -
		nat_timeouts "$site" "$router"
	done
}

nat_timeouts() {
	local timeout stream
	timeout=$(lab_flag "$1" timeout)
	stream=$(lab_flag "$1" stream)
	[ -z "$timeout" ] || lab_in "$2" sysctl -qw net.netfilter.nf_conntrack_udp_timeout="$timeout"
	[ -z "$stream" ] || lab_in "$2" sysctl -qw net.netfilter.nf_conntrack_udp_timeout_stream="$stream"
}

# --- The rules of a router

# New UDP flows get ports $2, $2 + $3, $2 + 2 * $3 ... in the order of their first packets.
nat_counted() {
	local public=$1 first=$2 step=$3 count=$NAT_COUNTED_PORTS
	[ "$step" != 2 ] || count=$((count / 2))
	printf 'oifname "wan" meta l4proto udp snat to %s : numgen inc mod %d map {' "$public" $count
	seq "$first" "$step" $((first + (count - 1) * step)) | awk '{ printf "%s %d : %d", (NR > 1 ? "," : ""), NR - 1, $1 }'
	echo ' }'
}

nat_source() {
	local site=$1 kind=$2 first=${lab_first_port[$1]} public size
	public=$(lab_public4 "$site")
	case $kind in
	sequential) nat_counted "$public" "$first" 1 ;;
	sequential-down) nat_counted "$public" "$first" -1 ;;
	stride) nat_counted "$public" "$first" 2 ;;
	block-*)
		size=${kind#block-}
		first=$((first / size * size))
		echo "oifname \"wan\" meta l4proto udp masquerade to :$first-$((first + size - 1)) fully-random"
		;;
	symmetric) echo 'oifname "wan" masquerade fully-random' ;;
	esac
	echo 'oifname "wan" masquerade'
}

# Linux keeps the source port when it is free, so a mapping is known from the inside port alone: the sets below
# remember which host opened it (full cone, hairpin), and towards whom (address-restricted). Loading the rules again
# forgets that.
nat_rules() {
	local site=$1 kind=$2 opened="" inbound="" blocked="" hairpin="" hairpinned="" limit input public
	public=$(lab_public4 "$site")
	case $kind in
	full-cone)
		opened='ip protocol udp update @opened { udp sport timeout 180s : ip saddr }'
		inbound='iifname "wan" dnat to udp dport map @opened'
		;;
	address-restricted)
		opened='ip protocol udp update @contacted { udp sport . ip daddr timeout 180s : ip saddr }'
		inbound='iifname "wan" dnat to udp dport . ip saddr map @contacted'
		;;
	udp-blocked) blocked='iifname "lan" oifname "wan" meta l4proto udp drop' ;;
	port-restricted | symmetric | sequential | sequential-down | stride | block-512 | block-1024) ;;
	*) lab_fail "no such NAT: $kind" ;;
	esac
	if [ "$(lab_flag "$site" hairpin)" = 1 ]; then
		[ "$kind" = address-restricted ] ||
			opened='ip protocol udp update @opened { udp sport timeout 180s : ip saddr }'
		hairpin="iifname \"lan\" ip daddr $public dnat to udp dport map @opened"
		hairpinned="ip saddr { 192.168.0.0/16, 100.64.0.0/10 } oifname \"lan\" ct status dnat snat to $public"
	fi
	limit=$(lab_flag "$site" limit)
	[ -z "$limit" ] || limit="ct state new ct count over $limit drop"
	input=$(lab_flag "$site" input)
	cat <<-END
		table ip nat
		delete table ip nat
		table inet firewall
		delete table inet firewall
		table ip nat {
			map opened { type inet_service : ipv4_addr; flags dynamic,timeout; size 4096; }
			map contacted { type inet_service . ipv4_addr : ipv4_addr; flags dynamic,timeout; size 4096; }
			chain prerouting {
				type nat hook prerouting priority dstnat
				$inbound
				$hairpin
			}
			chain postrouting {
				type nat hook postrouting priority srcnat
				$hairpinned
				$(nat_source "$site" "$kind")
			}
			chain forward {
				type filter hook forward priority filter + 1
				iifname "lan" oifname "wan" $opened
			}
		}
		table inet firewall {
			chain prerouting {
				type filter hook prerouting priority mangle
				$limit
			}
			chain input {
				type filter hook input priority filter; policy accept
				iifname "wan" ip protocol icmp accept
				iifname "wan" ct state new ${input:-drop}
			}
			chain forward {
				type filter hook forward priority filter; policy drop
				meta l4proto ipv6-icmp accept
				$blocked
				ct state established,related accept
				ct status dnat accept
				iifname "lan" accept
			}
		}
	END
}

# --- What can happen to a router

lab_entries() {
	local router most=0 n
	for router in $(lab_routers "$1"); do
		n=$(lab_in "$router" cat /proc/sys/net/netfilter/nf_conntrack_count)
		[ "$n" -le $most ] || most=$n
	done
	echo $most
}

lab_watch() {
	local router
	for router in $(lab_routers "$1"); do
		rm -f "$LAB/entries-$router.log"
		lab_start "entries-$router" "$router" python3 "$LAB_HERE/flows.py" entries
	done
}

lab_most() {
	local router
	for router in $(lab_routers "$1"); do
		lab_kill "entries-$router"
		cat "$LAB/entries-$router.log"
	done | sort -n | tail -1
}

lab_flush() {
	local router
	for router in $(lab_routers "$1"); do
		lab_in "$router" conntrack -F 2>/dev/null
		lab_in "$router" nft "flush map ip nat opened; flush map ip nat contacted"
	done
}

lab_readdress() {
	local site=$1 ns=$1 dev=eth0 old new
	old=$(lab_public4 "$site")
	lab_turn[$site]=$((1 - ${lab_turn[$site]}))
	new=$(lab_public4 "$site")
	if [ "${LAB_KIND[$site]}" != open ]; then
		ns=$(lab_routers "$site")
		ns=${ns##* } dev=wan
	fi
	ip -n inet -batch - <<-END
		route del $old dev $site
		route add $new dev $site
	END
	ip -n "$ns" -batch - <<-END
		addr add $new/32 dev $dev
		route replace default via $GATEWAY_IP4 dev $dev src $new
		addr del $old/32 dev $dev
	END
	[ "$dev" = eth0 ] || lab_routers_configure "$site"
	[ "$dev" = eth0 ] || lab_in "$ns" conntrack -F 2>/dev/null
}

lab_background() {
	lab_host "$1-noise" "$1"
	lab_start "noise-$1" "$1-noise" python3 "$LAB_HERE/flows.py" noise $GATEWAY_IP4 $LAB_DISCARD "$2"
}

lab_foreign() {
	if [ -z "${LAB_PID[echo]:-}" ]; then
		lab_start echo inet python3 "$LAB_HERE/flows.py" echo $LAB_ECHO
		lab_until 5 "the echo server is up" eval "lab_in inet ss -Hlun 'sport = :$LAB_ECHO' | grep -q ."
	fi
	lab_host "$1-foreign" "$1"
	lab_start "foreign-$1" "$1-foreign" python3 "$LAB_HERE/flows.py" foreign $GATEWAY_IP4 $LAB_ECHO "$2"
}

lab_foreign_end() {
	lab_kill "foreign-$1"
	tail -1 "$LAB/foreign-$1.log"
}

lab_drops() {
	local router
	for router in $(lab_routers "$1"); do
		echo "$router: $(lab_in "$router" conntrack -S | grep -oE '(insert_failed|drop|early_drop|clash_resolve)=[1-9][0-9]*' |
			tr '\n' ' ')"
	done
	echo "cable: $(lab_cable "$1" stats)"
	echo "echo: $(lab_in inet awk '$1 == "Udp:" && NR > 1 { print "InErrors " $4 " RcvbufErrors " $6 " SndbufErrors " $7 }' \
		/proc/net/snmp | tail -1)"
}
