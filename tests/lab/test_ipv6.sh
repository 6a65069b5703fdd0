#!/bin/bash
# IPv6 is taken where both have it, though the NATs of IPv4 are hard; an IPv6 that leads nowhere is not in IPv4's way.
LAB_IP6=1
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a symmetric
lab_site b symmetric
lab_site c port-restricted
lab_site d port-restricted
for way in 'iifname "c" oifname "d"' 'iifname "d" oifname "c"'; do
	lab_in inet nft add rule inet internet forward "$way" meta nfproto ipv6 drop
done
hub_start
node_join a b c d

# How long $1 and $2 take to be direct, which is to be by $3.
becomes_direct() {
	local from=$1 to=$2 technique=$3 start
	lab_until 5 "$from knows $to" peer "$from" "$to" .name
	start=$(lab_now_ms)
	lab_until 5 "$from has a direct path to $to" reaches_directly "$from" "$to"
	lab_note "$from and $to: direct after $(($(lab_now_ms) - start)) ms by $(peer "$from" "$to" .path.technique)"
	[ "$(peer "$from" "$to" .path.technique)" = "$technique" ] || lab_fail "$from and $to: not by $technique"
}
becomes_direct a b ipv6
becomes_direct c d simultaneous-open
