#!/bin/bash
# A hub that listens on all of its addresses relays for nodes that know it by another than the system would answer from.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a symmetric
lab_site b symmetric
lab_start hub hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls 0.0.0.0:443
lab_until 5 "the hub listens" lab_listens hub 443
hub_url() { HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub" --host "$1"); }

hub_url $HUB2_IP4
node_join a
hub_url $HUB_IP4
node_join b
relayed() { reaches a b && path_is a b relay-udp && reaches b a && path_is b a relay-udp; }
lab_until 10 "the relay carries UDP between them" relayed
lab_note "a at $HUB2_IP4 and b at $HUB_IP4 of one hub: relayed over UDP"
