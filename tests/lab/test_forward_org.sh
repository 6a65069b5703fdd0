#!/bin/bash
# Rules for members: `org` for all of them, `nodes` for the named ones, at the node's overlay address. Services see the member's
# overlay address; others, and the internet, get nothing.
# Timeout: 180 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site n port-restricted
lab_site a symmetric
lab_site b port-restricted
lan_host l n
hub_start
nodes_start n a b
n=$(status n .self.ip4) a=$(status a .self.ip4) b=$(status b .self.ip4)
n6=$(status n .self.ip6) a6=$(status a .self.ip6)
lab_until 20 "a reaches n" reaches a n
lab_until 20 "b reaches n" reaches b n

service_start n 7000
service_start n --bind "$(own4 n)" 7050
service_start n --bind 127.0.0.1 7100
service_start l 3300 10

org=$(forward_add n --local "10.9.1.2:3300-3309" --proto both --scope org --name db-lab-3300)
forward_ready n "$org" kernel
[ "$(forward_look n "$org" '.addresses | length')" -ge 1 ] || lab_fail "no addresses are told"
gets "10 $a" a tcp "$n" 3300 10
gets "10 $b" b udp "$n" 3300 10
lab_note "org: members reach a LAN host behind the node, which sees their overlay addresses"

# Of its own host, at another port than the service's; by name too, where the node has one.
mapped=$(forward_add n --local 127.0.0.1:7100 --proto tcp --scope org --public-port 9100)
forward_ready n "$mapped"
gets "1 ($a|127.0.0.1)" a tcp "$n" 9100 --apart -2000

# Not for all: b is not named.
nodes=$(forward_add n --local "$(own4 n):7000" --proto both --scope nodes --to a --public-port 9000)
forward_ready n "$nodes" kernel
gets "1 $a" a tcp "$n" 9000 --apart -2000
gets "1 $a" a udp "$n" 9000 --apart -2000
gets "1 (refused|reset|closed|silent)" b tcp "$n" 9000 --wait 3
gets "1 (refused|silent)" b udp "$n" 9000 --wait 3
rejected() { [ "$(forward_count n "$nodes" .rejected.not_allowed)" -ge 1 ]; }
lab_until 20 "who is not named is counted" rejected
lab_note "nodes: the named member gets in, another does not and is counted"

# A program at one address alone, which is not what members ask it at.
alone=$(forward_add n --local "$(own4 n):7050" --proto both --scope org)
forward_ready n "$alone" kernel
gets "1 $b" b tcp "$n" 7050
gets "1 $b" b udp "$n" 7050

# It is named later, and then no more.
forward n set "$nodes" --to a,b >"$LAB/out"
lab_until 5 "b gets in when it is named" eval '[ "$(ask b tcp "$n" 9000 --apart -2000 --wait 2)" = "1 $b" ]'
forward n set "$nodes" --to b >"$LAB/out"
lab_until 5 "a gets in no more" eval '[[ "$(ask a tcp "$n" 9000 --apart -2000 --wait 2)" =~ (refused|reset|silent|closed) ]]'

# By our own sockets likewise.
user=$(forward_add n --local "$(own4 n):7000" --proto both --scope nodes --to a --public-port 9200 --source-ip nat)
forward_ready n "$user" user
gets "1 [0-9.]+" a tcp "$n" 9200 --apart -2200
gets "1 [0-9.]+" a udp "$n" 9200 --apart -2200
gets "1 (refused|reset|closed|silent)" b tcp "$n" 9200 --wait 3
gets "1 (refused|silent)" b udp "$n" 9200 --wait 3
lab_until 20 "b reaches n by IPv6" lab_in b ping -6 -c 1 -W 1 "$n6"
gets "1 [0-9a-f.:]+" a tcp "$n6" 9200 --apart -2200
gets "1 [0-9a-f.:]+" a udp "$n6" 9200 --apart -2200
gets "1 (refused|reset|closed|silent)" b tcp "$n6" 9200 --wait 3
lab_note "nodes, by sockets: the named member gets in by IPv4 and by IPv6 ($a6)"

# An allow-list narrows it further, with both scopes, by the kernel and by our own sockets.
for source in kernel nat; do
	for scope in org nodes; do
		to=()
		[ $scope = org ] || to=(--to a,b)
		some=$(forward_add n --local "$(own4 n):7000" --proto both --scope $scope "${to[@]}" --allow "$a" --public-port 9400 --source-ip $source)
		forward_ready n "$some" "${source/nat/user}"
		gets "1 [0-9.]+" a tcp "$n" 9400 --apart -2400
		gets "1 [0-9.]+" a udp "$n" 9400 --apart -2400
		gets "1 (refused|reset|closed|silent)" b tcp "$n" 9400 --wait 3
		gets "1 (refused|silent)" b udp "$n" 9400 --wait 3
		forward n rm "$some" >"$LAB/out"
	done
done
lab_note "an allow-list narrows org and nodes"

# A network of the node's own cannot use its overlay address as a way in.
lab_in l ip route replace "$n" via 10.9.1.1
gets "1 (refused|reset|closed|silent|unreachable)" l tcp "$n" 9000 --wait 2
gets "1 (refused|reset|closed|silent|unreachable)" l tcp "$n" 9200 --wait 2

# A node that is not known.
id=$(forward_add n --local 127.0.0.1:7100 --scope nodes --to nobody --public-port 9300)
forward_look n "$id" .why | lab_says nobody || lab_fail "it does not say that nobody has that name"
