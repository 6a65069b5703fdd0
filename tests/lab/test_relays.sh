#!/bin/bash
# The hub is far, another relay is near: two nodes that cannot reach each other directly are relayed there, and by the hub
# again within two seconds when it dies.
# Timeout: 90 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site far open
lab_cable far delay=80
lab_site near open
lab_site a symmetric
lab_site b symmetric
far=$(lab_public4 far) near=$(lab_public4 near)

(umask 077; "$P2PD_BIN/p2pd" keygen >"$LAB/relay-key")
lab_start relay near "$P2PD_BIN/p2phub" serve --relay-only --relay-key "$LAB/relay-key" --udp "$near:3478"
lab_start hub far "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls "$far:443" --udp "$far:3478" --udp "$far:3479" \
	--relay "$near:3478" --relay-key "$LAB/relay-key"
lab_until 5 "the hub listens" lab_listens far 443
HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub" --host "$far")
node_join a b

home_is() { [ "$(status "$1" .hub.home_relay 2>/dev/null)" = "$2" ]; }
by_home() { [ "$(peer "$1" "$2" .path.home_relay 2>/dev/null)" = true ]; }
lab_until 15 "a has the near relay for its home" home_is a "$near:3478"
lab_until 15 "b has it, too" home_is b "$near:3478"
traffic_start a b
lab_until 15 "a's data goes by b's home" by_home a b
lab_until 15 "b's data goes by a's home" by_home b a
node a status | lab_says "relayed by its home relay $near:3478" || lab_fail "status does not say so"
lab_note "$(node a ping b -c 1)"

# It dies.
died=$(lab_now_ms)
lab_kill relay KILL
lab_until 10 "b is reached by the hub again" eval '! by_home a b && ! by_home b a'
sleep 2
read -r answered _ lost <<<"$(traffic_since a b "$died")"
lab_note "the relay died: answered again after $answered ms, $lost datagrams lost"
[ "$answered" != - ] && [ "$answered" -le 2000 ] || lab_fail "answered again after $answered ms"
traffic_end a b

# Nobody gets in without a ticket: the relay serves who has one under another key no more than a stranger.
(umask 077; "$P2PD_BIN/p2pd" keygen >"$LAB/other-key")
lab_start relay near "$P2PD_BIN/p2phub" serve --relay-only --relay-key "$LAB/other-key" --udp "$near:3478"
sleep 3
by_home a b && lab_fail "a relay with another key is used"
exit 0
