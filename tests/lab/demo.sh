#!/bin/bash
# ./dev demo: a hub and two machines behind NATs, all in namespaces of this one, gone when it ends.
. "$(dirname "${BASH_SOURCE[0]}")"/lib.sh

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { sed "s/^/  /"; }
# Prints a command as a person would type it, then runs it on that machine.
type_on() {
	local host=$1
	shift
	printf '  %s%s$ %s%s\n' "$dim" "$host" "$*" "$plain"
	"on_$host" "$@" 2>&1 | show
}
on_nas() { lab_in nas "$P2PD_BIN/$1" "${@:2}" --socket "$LAB/nas.sock"; }
on_laptop() { lab_in laptop "$P2PD_BIN/$1" "${@:2}" --socket "$LAB/laptop.sock"; }

between_sites() {
	lab_in inet nft -f - <<-END
		table ip cut
		delete table ip cut
		$([ "$1" = restored ] || echo "table ip cut {
			chain forward {
				type filter hook forward priority -10
				ip saddr $(lab_public4 nas) ip daddr $(lab_public4 laptop) drop
				ip saddr $(lab_public4 laptop) ip daddr $(lab_public4 nas) drop
			}
		}")
	END
}

relayed() { on_laptop p2pd status --json | jq -e '.peers[] | select(.name == "nas") | .path.kind == "relay-udp"'; }

say "A hub on the internet, and two machines behind home routers, 50 ms apart."
lab_internet
lab_site nas port-restricted
lab_site laptop port-restricted
lab_start hub hub "$P2PD_BIN"/p2phub serve --data $LAB/hub --tls $HUB_IP4:443 --udp $HUB_IP4:3478 --udp $HUB_IP4:3479
lab_until 10 "the hub is up" lab_listens hub 443
hub=$(lab_in hub "$P2PD_BIN"/p2phub url --data $LAB/hub --host $HUB_IP4)
echo "  hub at ${hub%%#*}, its key pinned in the URL; nas has $(lab_public4 nas), laptop $(lab_public4 laptop)"
"$P2PD_BIN"/p2pd keygen >$LAB/secret

say "Both join the network \"home\". All they share is its name and a secret."
for host in nas laptop; do
	"on_$host" p2pd up --hub "$hub" --network home --secret file:$LAB/secret --name $host --state $LAB/$host 2>&1 | show
done

say "The first packet goes through the hub at once; the direct path follows as soon as it is proven."
type_on laptop p2pd ping nas --until-direct

say "A TCP stream over it (sealed by the same session, whichever way it takes):"
address=$(on_nas p2pd status --json | jq -r .self.ip4)
lab_start iperf nas iperf3 -s -1
lab_until 5 "iperf3 listens" lab_listens nas 5201
lab_in laptop iperf3 -c "$address" -t 3 -f m | awk '/receiver/ { print "  " $7 " Mbit/s over 50 ms" }'

say "What the laptop knows:"
type_on laptop p2pd status

say "Now the direct path is cut. The relay takes over; nothing is restarted."
on_laptop p2pd ping nas -c 6 >$LAB/ping.log 2>&1 &
between_sites cut
lab_until 10 "the relay takes over" relayed
wait $! || true
show <$LAB/ping.log

say "And back:"
between_sites restored
type_on laptop p2pd ping nas --until-direct

for host in nas laptop; do "on_$host" p2pd down >/dev/null; done
lab_kill hub
say "All of it is gone again. Two machines of yours: see README.md."
