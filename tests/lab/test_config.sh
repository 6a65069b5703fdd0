#!/bin/bash
# Hub and node run by files of settings, and read them again at SIGHUP without losing anything.
# Timeout: 120 s
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a open
lab_site b open

says() { grep -q -- "$2" "$LAB/$1.log"; }

cat >"$LAB/p2phub.yaml" <<END
data: $LAB/hub
listen:
  tls: $HUB_IP4:443
  udp: ["$HUB_IP4:3478", "$HUB_IP4:3479"]
url_host: $HUB_IP4
END
"$P2PD_BIN/p2phub" config check "$LAB/p2phub.yaml" >"$LAB/out" || lab_fail "config check refused the hub's file"
grep -q "^listen.tls *$HUB_IP4:443$" "$LAB/out" || lab_fail "config check does not tell what is in effect"
lab_start hub hub "$P2PD_BIN/p2phub" serve --config "$LAB/p2phub.yaml"
lab_until 5 "the hub listens" lab_listens hub 443
HUB_URL=$("$P2PD_BIN/p2phub" url --data "$LAB/hub")

cat >"$LAB/a.yaml" <<END
hub: "$HUB_URL"
network: $NETWORK
secret: file:$LAB/secret
name: not-a
port: 4711
portmap: no
END
"$P2PD_BIN/p2pd" config check "$LAB/a.yaml" >/dev/null || lab_fail "config check refused the node's file"
# An option wins over the file.
lab_start a a "$P2PD_BIN/p2pd" up --foreground --config "$LAB/a.yaml" --name a --state "$LAB/a.state" \
	--socket "$LAB/a.sock" </dev/null
node_join b
lab_until 10 "a has joined" is_joined a
lab_until 20 "a reaches b" reaches a b
lab_in a ss -Hlun "sport = :4711" | grep -q . || lab_fail "a does not use the port of its file"
[ "$(status a .self.name)" = a ] || lab_fail "the name of the option did not win"

printf 'log: {level: debug}\n' >>"$LAB/a.yaml"
sed -i 's/4711/4712/' "$LAB/a.yaml"
kill -HUP "${LAB_PID[a]}"
lab_until 5 "a tells what changed" says a "log.level: info -> debug"
lab_until 5 "a tells what needs a restart" says a "port: 4711 -> 4712, after a restart"
printf 'portt: 1\n' >>"$LAB/a.yaml"
kill -HUP "${LAB_PID[a]}"
lab_until 5 "a tells what is wrong" says a "a.yaml:8:1: unknown key 'portt'"
says a "nothing was changed" || lab_until 5 "a tells that nothing changed" says a "nothing was changed"

printf 'limits:\n  nodes: 5\nlog: {level: debug}\n' >>"$LAB/p2phub.yaml"
kill -HUP "${LAB_PID[hub]}"
lab_until 5 "the hub tells what changed" says hub "limits.nodes: [0-9]* -> 5"
is_joined a && reaches a b || lab_fail "the nodes do not reach each other after the reload"
lab_running a && lab_running hub || lab_fail "somebody ended"
lab_note "hub and node took their settings anew: $(grep -c config: "$LAB/hub.log" "$LAB/a.log" | tr '\n' ' ')"
