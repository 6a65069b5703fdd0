#!/bin/bash
# What a gateway has granted and then cannot carry: its owner hears of it, at each ask; and what becomes of a lease whose id is
# that of a rule of the gateway's own.
# Timeout: 180 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site v open
hub_start
gateway_start gw
nodes_start n
gw=$(lab_public4 gw) own=$(own4 n)
service_start n 7000

# --- While the gateway is away another program takes the port.
id=$(forward_public n "$own:7000" --proto tcp --source-ip nat --public-port 7010)
forward_ready n "$id" user
gets "1 [0-9.]+" v tcp "$gw" 7010 --apart -10
node_stop gw
service_start gw 7010
gateway_start gw
is_failed() {
	why=$(forward_look n "$id" '.state + ": " + .why')
	[[ $why =~ ^failed.*"another program has this port" ]]
}
lab_until 20 "the owner hears of it" is_failed
lab_note "$why"
node_stop n # it asks again when it comes back
nodes_start n
lab_until 20 "the owner hears of it again" is_failed
sleep 12 # tries, each 5 s
is_failed || lab_fail "it says now: $why"
said=$(grep -c "a lease cannot be carried" "$LAB/gw.log")
[ "$said" -le 2 ] || lab_fail "the gateway says so $said times"
lab_kill service-gw-7010
node_stop n
nodes_start n
forward_ready n "$id" user
gets "1 [0-9.]+" v tcp "$gw" 7010 --apart -10
lab_note "it is carried when the port is free again"

# --- The id is that of a rule of the gateway's own.
service_start gw 7100
same=$(forward_add gw --local "$(own4 gw):7100" --scope org --proto tcp)
forward_ready gw "$same"
node_stop n
sed -i "s/$id/$same/g" "$LAB/n.state"/forwards.json
nodes_start n
is_denied() {
	why=$(forward_look n "$same" '.state + ": " + .why')
	[[ $why =~ ^failed.*"gateway's own" ]]
}
lab_until 20 "the lease is refused" is_denied
lab_note "$why"
lab_until 20 "n reaches gw" reaches n gw
gets "1 .*" n tcp "$(status gw .self.ip4)" 7100
forward_ready gw "$same"
