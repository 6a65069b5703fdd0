#!/bin/bash
# What goes wrong is said in one line that tells what to do, and by the exit code.
. "$(dirname "$0")/p2pd.sh"

lab_internet
lab_site a open
lab_site b open

# expect CODE PATTERN WHAT CMD...: the command, run on host a, ends with CODE and one line on stderr that has PATTERN.
expect() {
	local code=$1 pattern=$2 what=$3 rc=0
	shift 3
	lab_in a timeout 60 "$@" >"$LAB/out" 2>"$LAB/err" </dev/null || rc=$?
	lab_note "$what: $rc, $(cat "$LAB/err")"
	[ $rc = "$code" ] || lab_fail "$what: exit code $rc, expected $code"
	[ "$(wc -l <"$LAB/err")" = 1 ] || lab_fail "$what: not one line on stderr"
	grep -Eqi "$pattern" "$LAB/err" || lab_fail "$what: the line does not say '$pattern'"
}
p2pd=$P2PD_BIN/p2pd
# The same for `p2pd up`: a node of its own for each case, so that none finds another's state.
expect_up() {
	local code=$1 pattern=$2 what=$3 dir=$LAB/case-$RANDOM$RANDOM
	shift 3
	expect "$code" "$pattern" "$what" "$p2pd" up --network "$NETWORK" --secret "file:$LAB/secret" --state "$dir" \
		--socket "$dir.sock" --name c "$@"
}

hub_start
node_join b

expect 3 "daemon|running" "status without a daemon" "$p2pd" status --socket "$LAB/none.sock"
expect 3 "daemon|running" "ping without a daemon" "$p2pd" ping b --socket "$LAB/none.sock"
expect 3 "daemon|running" "down without a daemon" "$p2pd" down --socket "$LAB/none.sock"
expect_up 2 "hub" "up without a hub"
expect 2 "nonsense" "an unknown option" "$p2pd" status --nonsense
expect 2 "secret" "a bare secret" "$p2pd" up --hub "$HUB_URL" --network n --secret hunter2 --state "$LAB/x"
expect_up 2 "no-such-file" "a secret that is not there" --hub "$HUB_URL" --secret "file:$LAB/no-such-file"

expect_up 8 "198.51.100.99" "an unreachable hub" --hub "https://198.51.100.99${HUB_URL#"https://$HUB_IP4"}"
expect_up 8 "refused" "a hub that is not there" --hub "https://$HUB_IP4:444#${HUB_URL#*#}"
wrong=$(python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="))')
expect_up 7 "pin|key" "a wrong pin" --hub "${HUB_URL%#*}#sha256:$wrong"
head -c 24 /dev/urandom | base64 >"$LAB/other-secret"
expect_up 7 "secret" "a wrong secret" --hub "$HUB_URL" --secret "file:$LAB/other-secret"

mkdir -m 777 "$LAB/nobody"
cp "$LAB/secret" "$LAB/nobody/secret"
chmod 644 "$LAB/nobody/secret"
expect 7 "root|cap|right|permi" "no right to make a TUN device" setpriv --reuid 65534 --regid 65534 --clear-groups \
	"$p2pd" up --hub "$HUB_URL" --network "$NETWORK" --secret "file:$LAB/nobody/secret" \
	--state "$LAB/nobody/state" --socket "$LAB/nobody/sock"

lab_start taken a python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 4242))
t = socket.socket(); t.bind(("0.0.0.0", 4243)); t.listen(); time.sleep(1000)'
lab_until 5 "the ports are taken" lab_listens a 4243
expect_up 6 "4242" "a UDP port in use" --hub "$HUB_URL" --port 4242
expect 6 "4243" "a hub's TCP port in use" "$P2PD_BIN/p2phub" serve --data "$LAB/hub2" --tls 0.0.0.0:4243 --udp 0.0.0.0:4244
expect 6 "4242" "a hub's UDP port in use" "$P2PD_BIN/p2phub" serve --data "$LAB/hub3" --tls 0.0.0.0:4245 --udp 0.0.0.0:4242

node_join a
expect_up 6 "$LAB/a.sock" "a second daemon on one socket" --hub "$HUB_URL" --socket "$LAB/a.sock"
expect_up 6 "$LAB/a.state" "a second daemon in one state" --hub "$HUB_URL" --state "$LAB/a.state"
expect 5 "nobody" "ping of an unknown peer" "$p2pd" ping nobody --socket "$LAB/a.sock"
lab_until 5 "the first daemon still works" reaches a b

# A prefix that is taken says so, and by whom.
node_stop a
ip -n a link add dev office type veth peer name office2
ip -n a addr add 10.77.3.1/24 dev office
ip -n a link set dev office up
ip -n a link set dev office2 up
expect_up 6 "10.77.3.0/24.*office|office.*10.77.3.0/24" "a route that clashes" --hub "$HUB_URL"
