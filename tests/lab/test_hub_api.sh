#!/bin/bash
# Who administers a hub: tokens are made and revoked while it runs, the API tells of nodes that are there, also after the
# hub started anew, and makes a backup.
# Timeout: 240 s
. "$(dirname "$0")/p2pd.sh"

p2phub() { "$P2PD_BIN/p2phub" "$1" --data "$LAB/hub" "${@:2}"; }

# api TOKEN METHOD PATH: the status, and the answer in the next line
api() {
	lab_in a python3 - "https://$HUB_IP4/api/v1$3" "$1" "$2" <<-'EOF'
		import ssl, sys, urllib.error, urllib.request
		url, token, method = sys.argv[1:4]
		context = ssl._create_unverified_context()
		request = urllib.request.Request(url, method=method, headers={"Authorization": "Bearer " + token})
		try:
		    answer = urllib.request.urlopen(request, context=context, timeout=10)
		except urllib.error.HTTPError as error:
		    answer = error
		print(answer.status, answer.read().decode(), sep="\n")
	EOF
}
status_of() { api "$@" | sed -n 1p; }
look() { api "$reader" GET "$1" | tail -n +2 | jq -er "$2"; }
expect() { [ "$1" = "$2" ] || lab_fail "$3: $1, not $2"; }

lab_internet
lab_site a symmetric
lab_site b symmetric

code=0
p2phub status 2>/dev/null || code=$?
expect $code 3 "the exit code without a hub"
hub_start
admin=$(p2phub apikey create --name admin --scope admin 2>/dev/null)
reader=$(p2phub apikey create --name reader --scope read --expires 1h 2>/dev/null)
code=0
p2phub apikey create --name reader --scope read 2>/dev/null || code=$?
expect $code 6 "the exit code for a name that is taken"
node_join a b
relayed() { reaches a b && reaches b a && [ "$(look /sessions '.sessions | length')" = 1 ]; }
lab_until 10 "the relay carries" relayed

expect "$(look /health .online)" 2 "nodes online"
netid=$(look /networks '.networks[0].netid')
expect "$(look "/networks/$netid/nodes" '[.nodes[] | select(.online and .relay_endpoint)] | length')" 2 "bound nodes"
ik=$(look /sessions '.sessions[0].nodes[0]')
expect "$(look "/nodes/$ik" '.memberships[0].netid')" "$netid" "a node's network"
expect "$(status_of "$reader" POST /backup)" 403 "a backup by a reader"
expect "$(status_of "$admin" POST /backup)" 201 "a backup by an administrator"
[ -s "$(echo "$LAB"/hub/backups/hub-*.db)" ] || lab_fail "there is no backup"
lab_note "$(p2phub status | tr '\n' ';')"

id=$(p2phub apikey list --json | jq -er '.tokens[] | select(.name == "reader") | .id')
p2phub apikey revoke "$id"
expect "$(status_of "$reader" GET /health)" 401 "a revoked token"
reader=$admin
expect "$(look /audit '[.audit[] | select(.action == "token.revoke")] | length')" 1 "entries of the revocation"

node_stop b
left() { [ "$(look /health .online)" = 1 ]; }
lab_until 5 "b has left" left
lab_kill hub
hub_start
back() { left && [ "$(look "/networks/$netid/nodes" '.nodes | length')" = 2 ]; }
lab_until 30 "a is back, and b is remembered" back
lab_note "tokens, nodes and the audit log outlive the hub: $(look /audit '.audit | length') entries"
