#!/bin/bash
# What must not be: bad input, ports that are taken, members that ask a gateway for what they may not have. A clear error, an
# audit line, and nothing is opened.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"
. "$(dirname "$0")/forward.sh"

lab_internet
lab_site gw open
lab_site n port-restricted
lab_site x port-restricted
lab_site y port-restricted
lab_site v open
hub_start
gw=$(lab_public4 gw)
service_start n 7000
service_start gw 9090
cat >"$LAB/gw.yaml" <<-END
	gateway:
	  ports: [7000-7999, 9090]
	  owners: [n, y]
	  max_ports: 100
END
gateway_start gw --config "$LAB/gw.yaml"
nodes_start n x y
local_api() { lab_in "$1" curl -s --unix-socket "$LAB/$1.sock" "http://p2pd/api/v1/portmap$2"; }
# But for the ports that p2pd itself takes at random.
listening() { lab_in "$1" ss -Hlntu | awk '{ port = $5; sub(".*:", "", port); if ($1 == "tcp" || port < 20000) print $1, $5 }' | sort -u; }
ruleset() { lab_in "$1" nft -s list ruleset; }
before=$(for host in gw n; do listening $host; ruleset $host; done)
unchanged() { [ "$(for host in gw n; do listening $host; ruleset $host; done)" = "$before" ]; }

# --- Nonsense: usage, exit 2, and the words say what is wrong.
own=$(own4 n)
org="--scope org"
public="--scope public --via gw --allow 198.51.100.0/24"
while IFS='|' read -r pattern words; do
	# shellcheck disable=SC2086
	refused 2 "$pattern" forward n add $words
done <<-END
	port|--local $own:0 $org
	port|--local $own:70000 $org
	port|--local $own:7001-7000 $org
	port|--local $own $org
	port|--local $own:80,80 $org
	overlap|--local $own:7000-7010,7005 $org
	port|--local $own:7000-70000 $org
	address|--local nonsense:80 $org
	IPv4|--local [::ffff:$own]:80 $org
	IPv4|--local [::ffff:127.0.0.1]:80 $org
	not the address|--local 224.0.0.1:80 $org
	address|--local 0.0.0.0:80 $org
	address|--local 255.255.255.255:80 $org
	overlay|--local $(status x .self.ip4):80 $org
	overlay|--local [$(status x .self.ip6)]:80 $org
	proto|--local $own:80 --proto icmp $org
	scope|--local $own:80 --scope world
	via|--local $own:80 --scope public --allow 198.51.100.0/24
	itself|--local $own:80 --scope public --via n --allow 198.51.100.0/24
	word of p2pd|--local $own:80 --name api-token
	7 days|--local $own:80 --idle 8d
	2027-02-30|--local $own:80 --expires 2027-02-30
	prefix|--local $own:80 --scope public --via gw --allow 198.51.100.0/33
	address|--local $own:80 --scope public --via gw --allow nonsense
	IPv4|--local $own:80 --scope public --via gw --allow ::ffff:198.51.100.0/120
	port|--local $own:80 $public --public-port 70000
	port|--local $own:60000-60010 $public --public-port 65530
	to|--local $own:80 --scope nodes
	rate|--local $own:80 $org --rate nonsense
	idle|--local $own:80 $org --idle nonsense
	expires|--local $own:80 $org --expires nonsense
	source|--local $own:80 $org --source-ip nonsense
	max-conn|--local $own:80 $org --max-conn -1
END
refused 2 "anybody.*allow.*token" forward n add --local "$own:80" --scope public --via gw
refused 2 "anybody.*allow.*token" forward n add --local "$own:80" --scope public --via gw --allow 0.0.0.0/0
unchanged || lab_fail "something was opened: $(diff <(echo "$before") <(for host in gw n; do listening $host; ruleset $host; done))"
[ "$(forward n ls --json | jq '.forwards | length')" = 0 ] || lab_fail "a rule was made: $(forward n ls --json)"
lab_note "nonsense: each refused with words, nothing opened"

# --- What the gateway does not give: a port out of its ranges, one that its own program has, too many, another member's.
denied() {
	local name=$1 pattern=$2 id why
	shift 2
	id=$(forward_add "$name" "$@" --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24)
	is_denied() {
		why=$(forward_look "$name" "$id" '.state + ": " + .why')
		[[ $why =~ ^failed.*($pattern) ]]
	}
	lab_until 20 "$name: $* is refused by the gateway" is_denied
	lab_note "$why"
	forward "$name" rm "$id" >"$LAB/out"
}
denied n "does not give out" --local "$own:8000"
denied n "use|taken|has" --local "$own:9090" --proto tcp
denied n "ports|many" --local "$own:7100-7300"
denied x "not|may|owner" --local "$(own4 x):7000"
# A member that takes the name which the gateway lets have ports: of the two neither is meant.
node_stop x
node_start x --name n
lab_until 30 "x has joined" is_joined x
lab_until 30 "the gateway knows two of that name" eval '[ "$(status gw "[.peers[] | select(.name == \"n\")] | length")" = 2 ]'
denied x "two nodes are called" --local "$(own4 x):7000"
denied n "two nodes are called" --local "$own:7000"
node_stop x
node_start x
lab_until 30 "x has joined" is_joined x
lab_until 30 "n has its name for itself" eval '[ "$(status gw "[.peers[] | select(.name == \"n\")] | length")" = 1 ]'
audited() { [ "$(local_api gw /audit | jq '[.entries[] | select(.outcome == "refused")] | length')" -ge "$1" ]; }
lab_until 20 "the gateway audits what it refuses" audited 4
unchanged || lab_fail "something was opened: $(diff <(echo "$before") <(for host in gw n; do listening $host; ruleset $host; done))"

# --- A hostile member talks to the gateway itself.
gw_overlay=$(status gw .self.ip4)
lease() { lab_in "$1" curl -s -o "$LAB/answer" -w '%{http_code}' --max-time 10 -X "$2" -d "${3:-}" "http://$gw_overlay:7781/lease/$4" || true; }
id=$(forward_add n --local "$own:7000" --proto both --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24)
forward_ready n "$id"
for body in '' '{' '[]' '{"ranges":1}' "$(head -c 100000 /dev/zero | tr '\0' '[')"; do
	printf %s "$body" >"$LAB/body"
	code=$(lease x PUT "@$LAB/body" "$id")
	[[ $code = 4?? || $code = 000 ]] || lab_fail "the gateway answers $code to ${body:0:40}"
done
code=$(lease x DELETE "" "$id")
[[ $code = 4?? ]] || lab_fail "another member takes the rule away: $code"
code=$(lease x GET "" "$id")
[[ $code = 4?? ]] || lab_fail "another member sees the counts of a rule: $code"
v=$(lab_public4 v)
gets "1 $v" v tcp "$gw" 7000
# From outside the overlay nobody gets there at all.
[ "$(lab_in v curl -s -o /dev/null -w '%{http_code}' --max-time 3 "http://$gw:7781/lease/$id" || true)" = 000 ] ||
	lab_fail "the gateway's link answers the internet"
lab_note "a member can neither take away nor look at another's rule"

# --- Ports that overlap: exit 6, the object names the one that has it; --force replaces it, the new id is another.
refused 6 "$id" forward n add --local "$own:7000" --proto tcp --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24
refused 6 "$id" forward n add --local "$own:6990-7010" --public-port 6990 --proto tcp --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24
forward n add --local "$own:7000" --proto both --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24 --force >"$LAB/forced.json"
new=$(jq -er .forward_id "$LAB/forced.json")
[ "$new" != "$id" ] || lab_fail "an id is used again"
forward_is n "$id" removed || lab_fail "the replaced rule is $(forward_look n "$id" .state)"
forward_ready n "$new"
gets "1 $v" v tcp "$gw" 7000
refused 6 "$new" forward n restore "$id"
forward n rm "$new" >"$LAB/out"
forward n restore "$id" >"$LAB/out"
forward_ready n "$id"
gets "1 $v" v tcp "$gw" 7000

# --- A lease that the gateway's kernel does not take, whatever the reason: sockets carry it, and nobody else is any worse off.
nft=$(command -v nft)
cp "$nft" "$LAB/nft.real"
cat >"$LAB/nft.bad" <<-END
	#!/bin/bash
	script=\$(cat)
	if [[ \$script == *". 7077 :"* ]]; then
		echo "/dev/stdin:1:1-2: Error: Could not process rule: File exists" >&2
		exit 1
	fi
	"$LAB/nft.real" "\$@" <<<"\$script"
END
chmod +x "$LAB/nft.bad"
mount --bind "$LAB/nft.bad" "$nft"
hold_start live v tcp "$gw" 7000
bad=$(forward_add n --local "$own:7000" --public-port 7077 --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24)
forward_ready n "$bad" user
lab_note "the kernel refuses one: $(forward_look n "$bad" .mode_why)"
gets "1 [0-9.]+" v tcp "$gw" 7077 --apart -77
good=$(forward_add n --local "$own:7000" --public-port 7078 --scope public --via gw --allow 198.51.100.0/24 --allow 203.0.113.0/24)
forward_ready n "$good" kernel
gets "1 $v" v tcp "$gw" 7078 --apart -78
forward_ready n "$id" kernel
since=$(lab_now_ms)
lab_until 10 "the live connection goes on" eval '[ "$(held_after live $since)" != - ]'
umount "$nft"
forward n rm "$bad" "$good" >"$LAB/out"
lab_kill live
lab_note "what one rule asks for leaves the others as they are"

# Another member's: made, but failed; the words, the object and the exit code tell which rule has the port, and nothing more of it.
refused 6 "y-7000 is failed.*$id" forward y add --local "$(own4 y):7000" --name y-7000 --scope public --via gw --allow 198.51.100.0/24
jq -e --arg id "$id" '.state == "failed" and .conflict == $id' "$LAB/out" >"$LAB/jq" || lab_fail "y's rule: $(cat "$LAB/out")"
if grep -Fq -e "$own" -e "$(status n .self.ip4)" "$LAB/out" "$LAB/err"; then
	lab_fail "y is told more of n's rule than its id: $(cat "$LAB/out" "$LAB/err")"
fi
lab_note "another member's port: $(cat "$LAB/err")"
gets "1 $v" v tcp "$gw" 7000
refused 6 "$id" forward y set y-7000 --max-conn 7
forward y set y-7000 --public-port 7001 >"$LAB/out"
forward_ready y "$(jq -er .forward_id "$LAB/out")"
forward y rm y-7000 >"$LAB/out"

# --- A rule that was removed is told as such, and which of several is to be restored is asked.
forward n add --local "$own:80" --name twice --scope org >"$LAB/out"
forward n rm twice >"$LAB/out"
gone=$(jq -er .forward_id "$LAB/out")
for word in rm pause resume ping "set --max-conn 7"; do
	# shellcheck disable=SC2086
	refused 5 "was removed; until 20.*restore $gone" forward n $word "$gone"
done
forward n add --local "$own:80" --name twice --scope org >"$LAB/out"
forward n rm twice >"$LAB/out"
refused 5 "2 removed rules.*$gone" forward n restore twice
refused 5 "no name of a rule" forward n rm api-token

# --- Files that are none.
printf 'portmap:\n  - name: a\n    local: %s:80\n\0  - name: b\n' "$own" >"$LAB/nul.yaml"
refused 2 "nul.yaml:4:1" forward n apply -f "$LAB/nul.yaml"
printf 'gateway:\n  ports: 443\n' >"$LAB/lone.yaml"
refused 2 "lone.yaml:2:10.*address" lab_in n "$P2PD_BIN/p2pd" config check "$LAB/lone.yaml"

# --- Unknown ids and names.
for word in show pause resume rm restore ping stats; do
	refused 5 "no|unknown|not" forward n $word 01980000-0000-7000-8000-000000000000
done
refused 2 "" forward n nonsense
refused 3 "" lab_in n "$P2PD_BIN/p2pd" portmap ls --socket "$LAB/nobody.sock"

# --- `-`: ids from stdin.
printf '%s\n' "$id" | forward n pause - >"$LAB/out"
forward_is n "$id" paused || lab_fail "pause - did nothing"
printf '%s\n' "$id" | forward n rm - >"$LAB/out"
gets "1 (refused|silent|reset)" v tcp "$gw" 7000 --wait 2
lab_until 10 "all is as it was" unchanged
