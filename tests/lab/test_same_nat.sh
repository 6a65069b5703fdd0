#!/bin/bash
# Several nodes behind one NAT: among themselves directly on the LAN, whatever the NAT; each of them directly with a peer
# outside, though they want the same UDP port (the router can give it to one of them only).
# Timeout: 200 s
. "$(dirname "$0")/p2pd.sh"
PORT=5000

lab_internet
lab_site h1 port-restricted
lab_host h2 h1
lab_host h3 h1
lab_site s1 symmetric
lab_host s2 s1
lab_site out port-restricted
hub_start
for name in h1 h2 h3; do
	node_start $name --port $PORT
done
node_join s1 s2 out
for name in h1 h2 h3; do
	lab_until 10 "$name has joined" is_joined $name
done

# On the LAN: the path's address is a private one.
on_the_lan() { reaches_directly "$1" "$2" && [[ $(peer "$1" "$2" .path.endpoint) == 192.168.* ]]; }
for pair in "h1 h2" "h1 h3" "h3 h2" "s1 s2"; do
	since=$(lab_now_ms)
	# shellcheck disable=SC2086
	lab_until 10 "$pair on their LAN" on_the_lan $pair
	lab_note "$pair: directly on the LAN after $(($(lab_now_ms) - since)) ms"
done

failed=""
for name in h1 h2 h3 s1 s2; do
	since=$(lab_now_ms)
	node $name ping out --until-direct -c 100 -W 1 >"$LAB/pings-$name" || true
	if path_is $name out direct; then
		lab_note "$name and the peer outside: directly after $(($(lab_now_ms) - since)) ms," \
			"by $(peer $name out .path.technique)"
	else
		lab_note "$name and the peer outside: $(peer $name out .path.kind)"
		failed+=" $name"
	fi
done
[ -z "$failed" ] || lab_fail "no direct path to the peer outside:$failed"
for name in h1 h2 h3 s1 s2; do
	lab_until 5 "$name is direct still" reaches_directly $name out
done
