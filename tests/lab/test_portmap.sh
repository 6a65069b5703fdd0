#!/bin/bash
# A router that can be asked forwards the node's port, by each protocol: a peer behind a symmetric NAT then gets in
# directly. The mapping is renewed, asked for anew when the router restarts, and given back at the end.
# Timeout: 300 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/portmap.sh"

lab_internet
for site in pcp natpmp upnp; do
	lab_site $site port-restricted
done
lab_site b symmetric
hub_start
node_join b

# Of 30 s the half is over soon.
router_start pcp enable_natpmp=yes enable_upnp=no min_lifetime=20 max_lifetime=30
router_deaf_to pcp natpmp
router_start natpmp enable_natpmp=yes enable_upnp=no
router_deaf_to natpmp pcp
router_start upnp enable_upnp=yes

declare -A port
for site in pcp natpmp upnp; do
	node_start $site
	lab_until 10 "$site has joined" is_joined $site
	lab_until 10 "the router maps by $site" portmap $site $site working
	port[$site]=$(status $site .self.port)
	external=$(lab_public4 $site):${port[$site]}
	[ "$(status $site .self.nat.portmap.external)" = "$external" ] ||
		lab_fail "$site: $(status $site .self.nat.portmap), not $external"
	[ "$(status $site .self.nat.portmap.double_nat)" = false ] || lab_fail "$site: double NAT"
	router_maps $site "${port[$site]}" || lab_fail "the router of $site has no rule: $(router_rules $site)"
	start=$(lab_now_ms)
	lab_until 10 "b reaches $site directly" reaches_directly b $site
	[ "$(peer b $site .path.endpoint)" = "$external" ] ||
		lab_fail "b reaches $site at $(peer b $site .path.endpoint), not at $external"
	[ "$(peer b $site .path.technique)" = mapped ] ||
		lab_fail "b reaches $site by $(peer b $site .path.technique)"
	lab_note "$site: mapped at $external, a symmetric NAT gets in after $(($(lab_now_ms) - start)) ms"
done
for site in pcp natpmp upnp; do
	for other in pcp natpmp upnp; do
		[ $site = $other ] || lab_until 5 "$site has no $other" portmap $site $other absent
	done
done

# Renewal: the router hears of the same mapping again.
asked() { grep -c "PCP request received" "$LAB/pcp-upnpd.log"; }
asked_more_than() { [ "$(asked)" -gt "$1" ]; }
before=$(asked)
lab_until 25 "the lease is renewed" asked_more_than "$before"
# It says so before it has replaced the rule.
lab_until 5 "the renewed mapping is there" router_maps pcp "${port[pcp]}"

# A restart: its rules are gone, and it says so.
for site in pcp natpmp; do
	router_stop $site KILL
	router_maps_nothing $site || lab_fail "the router of $site kept its rules"
	start=$(lab_now_ms)
	router_start $site enable_natpmp=yes enable_upnp=no
	lab_until 15 "the mapping of $site is back after the router's restart" router_maps $site "${port[$site]}"
	lab_note "$site: the mapping was back $(($(lab_now_ms) - start)) ms after the router's restart"
done

for site in pcp natpmp upnp; do
	start=$(lab_now_ms)
	node_stop $site
	took=$(lab_took "$start")
	lab_note "$site: p2pd down took $took ms"
	[ $took -le 2000 ] || lab_fail "p2pd down took $took ms"
	router_maps_nothing $site || lab_fail "$site left its mapping behind: $(router_rules $site)"
done

# Kept from asking, also the next time.
node_start upnp --no-portmap
lab_until 10 "upnp has joined" is_joined upnp
[ "$(status upnp '.self.nat.portmap == null')" = true ] || lab_fail "it asks the router all the same"
node_stop upnp
node_start upnp
lab_until 10 "upnp has joined" is_joined upnp
[ "$(status upnp '.self.nat.portmap == null')" = true ] || lab_fail "--no-portmap was forgotten"
router_maps_nothing upnp || lab_fail "the router maps nevertheless"
