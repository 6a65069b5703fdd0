#!/bin/bash
# Beside other people's firewalls: ufw (Debian's own program, default deny) and the rules that Docker makes (FORWARD drops, its
# NAT chains, a published port), on the gateway, on the node and on both. Forwarded ports work without a word of theirs being
# changed, and what they do goes on.
# Timeout: 240 s
LAB_IP6=1
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"
for tool in ufw iptables-restore ip6tables-restore; do
	command -v $tool >/dev/null || lab_skip "the lab needs $tool"
done

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
lan_host l n
hub_start
v=$(lab_public4 v) v6=$(own6 v) gw=$(lab_public4 gw) gw6=$(own6 gw)
service_start n --bind :: 7000
service_start l --bind :: 7100

# ufw keeps its settings in /etc: the host has its own there, which nobody else sees.
ufw_on() {
	local host=$1 dir=$LAB/ufw-$1
	mkdir -p "$dir"
	cp -a /etc/ufw "$dir/etc"
	sed 's/^IPV6=.*/IPV6=yes/' /etc/default/ufw >"$dir/default"
	lab_in "$host" unshare --mount bash -euc '
		mount --bind "$1/etc" /etc/ufw
		mount --bind "$1/default" /etc/default/ufw
		ufw --force reset
		ufw allow 22/tcp
		ufw --force enable
		ufw status verbose' - "$dir" >"$LAB/ufw-$host.log" 2>&1 || lab_skip "ufw does not start: $(tail -3 "$LAB/ufw-$host.log")"
	grep -q 'Status: active' "$LAB/ufw-$host.log" || lab_skip "ufw does not start: $(tail -3 "$LAB/ufw-$host.log")"
}

# What Docker 24 and later make at start, and for `docker run -p 8088:80`, with a container that is a namespace.
docker_on() {
	local host=$1
	lab_namespace "c-$host" 0
	ip -n "$host" link add docker0 type bridge
	ip -n "$host" addr add 172.17.0.1/16 dev docker0
	ip link add dev vethc netns "$host" type veth peer name eth0 netns "c-$host"
	ip -n "$host" link set vethc master docker0 up
	ip -n "$host" link set docker0 up
	ip -n "c-$host" addr add 172.17.0.2/16 dev eth0
	ip -n "c-$host" link set eth0 up
	ip -n "c-$host" route add default via 172.17.0.1
	lab_in "$host" sysctl -qw net.ipv4.ip_forward=1
	lab_in "$host" iptables-restore <<-'END'
		*nat
		:PREROUTING ACCEPT [0:0]
		:INPUT ACCEPT [0:0]
		:OUTPUT ACCEPT [0:0]
		:POSTROUTING ACCEPT [0:0]
		:DOCKER - [0:0]
		-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
		-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
		-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
		-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
		-A DOCKER -i docker0 -j RETURN
		-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
		COMMIT
		*filter
		:INPUT ACCEPT [0:0]
		:FORWARD DROP [0:0]
		:OUTPUT ACCEPT [0:0]
		:DOCKER - [0:0]
		:DOCKER-ISOLATION-STAGE-1 - [0:0]
		:DOCKER-ISOLATION-STAGE-2 - [0:0]
		:DOCKER-USER - [0:0]
		-A FORWARD -j DOCKER-USER
		-A FORWARD -j DOCKER-ISOLATION-STAGE-1
		-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		-A FORWARD -o docker0 -j DOCKER
		-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
		-A FORWARD -i docker0 -o docker0 -j ACCEPT
		-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
		-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
		-A DOCKER-ISOLATION-STAGE-1 -j RETURN
		-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
		-A DOCKER-ISOLATION-STAGE-2 -j RETURN
		-A DOCKER-USER -j RETURN
		COMMIT
	END
	service_start "c-$host" 80
}
firewalls_off() {
	local host
	for host in gw n; do
		lab_in $host nft flush ruleset
		ip -n $host link del docker0 2>/dev/null || true
		[ ! -e "/run/netns/c-$host" ] || { lab_kill "service-c-$host-80" && ip netns del "c-$host"; }
	done
}

# A firewall's own rules, and how it judges: what it denied before is denied still.
others() { lab_in "$1" sh -c 'iptables-save; ip6tables-save' 2>/dev/null | grep -v '^#' | sed 's/\[[0-9]*:[0-9]*\]//' || true; }

check() {
	local what=$1 host
	shift
	declare -A kept foot
	for host in gw n; do
		kept[$host]=$(others $host)
		foot[$host]=$(footprint $host)
	done
	gateway_start gw
	nodes_start n
	own=$(forward_public n "$(own4 n):7000" --proto both)
	lan=$(forward_public n 10.9.1.2:7100 --proto both)
	six=$(forward_public n "[$(own6 n)]:7000" --proto both --public-port 7600)
	lan6=$(forward_public n "[fd00:9:1::2]:7100" --proto both --public-port 7700)
	user=$(forward_public n "$(own4 n):7000" --proto both --public-port 7200 --source-ip nat)
	for id in "$own" "$lan" "$six" "$lan6"; do forward_ready n "$id" kernel; done
	forward_ready n "$user" user
	gets "1 $v" v tcp "$gw" 7000
	gets "1 $v" v udp "$gw" 7000
	gets "1 $v" v tcp "$gw" 7100
	gets "1 $v" v udp "$gw" 7100
	gets "1 $v6" v tcp "$gw6" 7600 --apart -600
	gets "1 $v6" v udp "$gw6" 7600 --apart -600
	gets "1 $v6" v tcp "$gw6" 7700 --apart -600
	gets "1 $v6" v udp "$gw6" 7700 --apart -600
	gets "1 [0-9.]+" v tcp "$gw" 7200 --apart -200
	gets "1 [0-9.]+" v udp "$gw" 7200 --apart -200
	"$@"
	forward n ls -q | forward n rm - >"$LAB/out"
	node_stop n
	node_stop gw
	for host in gw n; do
		same_footprint $host "${foot[$host]}"
		[ "$(others $host)" = "${kept[$host]}" ] || lab_fail "$what: $host's own rules changed: $(diff <(echo "${kept[$host]}") <(others $host))"
	done
	lab_note "$what: kernel and user mode, IPv4 and IPv6, the node and its LAN host; its rules are as they were"
}

# While p2pd runs: nothing else is let in, a container keeps its port, and its way out.
ufw_judges() { gets "1 (refused|silent|unreachable)" v tcp "$gw" 4444 --wait 2; }
docker_works() {
	local host
	for host; do
		gets "1 [0-9.]+" v tcp "$(lab_public4 gw)" 8088 --apart -8008
		lab_in "c-$host" ping -qc 1 -W 5 $GATEWAY_IP4 >/dev/null || lab_fail "the container on $host has no way out"
	done
}

check "no firewall" true
ufw_on gw
ufw_on n
# As strict as many distributions are, or were.
lab_in gw sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1
lab_in n sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1
check "ufw on both, strict reverse path filters" ufw_judges
firewalls_off
docker_on gw
docker_on n
check "Docker's rules on both" docker_works gw
