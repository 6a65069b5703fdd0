#!/bin/bash
# A network that lets its hosts out by an HTTP proxy only (tinyproxy, with and without a password), and a hub that stands
# behind nginx: passed through as it is, and ended and made anew (HTTPS with nginx's own certificate, under a path).
. "$(dirname "$0")/p2pd.sh"

for tool in tinyproxy nginx openssl curl; do
	command -v $tool >/dev/null || lab_skip "the lab needs $tool"
done

# --- The proxy stands in the office's LAN and may go out; nobody else there may.
lab_internet
lab_site office open
lab_site b open
lab_host_behind() {
	local name=$1 n=$2
	lab_namespace "$name" 0
	ip link add dev "$name" netns office type veth peer name eth0 netns "$name"
	lab_ip6 "$name" eth0
	ip -n office addr add 10.9.$n.1/24 dev "$name"
	ip -n office link set dev "$name" up
	ip -n "$name" addr add 10.9.$n.2/24 dev eth0
	ip -n "$name" link set dev eth0 up
	ip -n "$name" route add default via 10.9.$n.1
}
lab_host_behind a 1
lab_host_behind c 2

# proxy_start PORT WORD...: with these further lines in its configuration.
proxy_start() {
	local port=$1 config=$LAB/tinyproxy-$1.conf
	shift
	{
		printf '%s\n' "Port $port" "Timeout 600" "MaxClients 20" "Allow 10.9.0.0/16" "ConnectPort 443" "$@"
	} >"$config"
	lab_start "proxy-$port" office tinyproxy -d -c "$config"
	lab_until 5 "the proxy listens" lab_listens office "$port"
}
proxy_start 3128
proxy_start 3129 "BasicAuth anna s3cret"

hub_start
! lab_in a timeout 2 bash -c "exec 3<>/dev/tcp/$HUB_IP4/443" 2>/dev/null || lab_fail "the office lets its hosts out"
seen_from_office() { lab_in hub ss -Htn "sport = :443" | grep -c "$(lab_public4 office)"; }

# fails NAME CODE PATTERN OPTION...: `p2pd up` there ends with the code and a line that has the pattern.
fails() {
	local name=$1 code=$2 pattern=$3 rc=0 dir=$LAB/case-$RANDOM$RANDOM
	shift 3
	# shellcheck disable=SC2046
	lab_in "$name" timeout 30 "$P2PD_BIN/p2pd" $(node_up_words "$name") --state "$dir" --socket "$dir.sock" "$@" \
		>"$LAB/out" 2>"$LAB/err" </dev/null || rc=$?
	lab_note "$rc: $(cat "$LAB/err")"
	[ $rc = "$code" ] || lab_fail "exit code $rc, expected $code"
	grep -Eqi "$pattern" "$LAB/err" || lab_fail "the line does not say '$pattern'"
}
fails a 8 "no answer from the hub|cannot be reached" --timeout 2
fails a 7 "wants a user and password" --proxy http://10.9.1.1:3129
fails a 7 "does not take this user" --proxy http://anna:wrong@10.9.1.1:3129
fails a 8 "refused by the proxy" --timeout 2 --proxy http://10.9.1.1:3127
fails a 8 "does not allow connections.*port 444" --timeout 2 --proxy http://10.9.1.1:3128 --hub "https://$HUB_IP4:444#${HUB_URL#*#}"
fails a 8 "cannot reach 198.51.100.99|no answer from the proxy" --timeout 12 --proxy http://10.9.1.1:3128 \
	--hub "https://198.51.100.99#${HUB_URL#*#}"
wrong=$(python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="))')
fails a 7 "pin" --proxy http://10.9.1.1:3128 --hub "${HUB_URL%#*}#sha256:$wrong"

# --- By the environment, and with a password that comes from a file and is kept.
HTTPS_PROXY=http://10.9.1.1:3128 node_start a
lab_until 10 "a joins through the proxy" is_joined a
[ "$(seen_from_office)" = 1 ] || lab_fail "the link does not come from the proxy"
[ "$(status a .hub.proxy)" = http://10.9.1.1:3128 ] || lab_fail "status: $(status a .hub)"
lab_note "a joined by HTTPS_PROXY"

echo "http://anna:s3cret@10.9.2.1:3129" >"$LAB/proxy-url"
chmod 600 "$LAB/proxy-url"
# shellcheck disable=SC2046
lab_in c "$P2PD_BIN/p2pd" $(node_up_words c) --proxy "file:$LAB/proxy-url" >"$LAB/c.out"
rm "$LAB/proxy-url"
[ "$(status c .hub.proxy)" = http://10.9.2.1:3129 ] || lab_fail "status: $(status c .hub)"
! node c status --json | lab_says s3cret || lab_fail "the password is shown"
node c down
lab_in c env -i "$P2PD_BIN/p2pd" up --state "$LAB/c.state" --socket "$LAB/c.sock" >"$LAB/c.out"
is_joined c || lab_fail "c did not join again"
lab_note "c joined with a password, and again without being told of the proxy"
[ "$(stat -c %a "$LAB/c.state/proxy")" = 600 ] || lab_fail "others may read the kept password"

# The link goes on when the proxy comes back.
lab_kill proxy-3128
lab_until 10 "a sees that the proxy is gone" eval '! is_joined a'
proxy_start 3128
lab_until 15 "a comes back with the proxy" is_joined a
node c down
node_stop a

# --- nginx before the hub.
mkdir -p "$LAB/nginx"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=front.example \
	-addext subjectAltName=DNS:front.example -keyout "$LAB/nginx/key" -out "$LAB/nginx/cert" 2>/dev/null
front_pin=$(openssl x509 -in "$LAB/nginx/cert" -noout -pubkey | openssl pkey -pubin -outform der |
	openssl dgst -sha256 -binary | basenc --base64url | tr -d =)
module=/usr/lib/nginx/modules/ngx_stream_module.so
cat >"$LAB/nginx/conf" <<-END
	$([ ! -e $module ] || echo "load_module $module;")
	daemon off;
	user root;
	worker_processes 1;
	pid $LAB/nginx/pid;
	error_log stderr warn;
	events { worker_connections 256; }
	http {
		access_log off;
		client_body_temp_path $LAB/nginx/body; proxy_temp_path $LAB/nginx/proxy; fastcgi_temp_path $LAB/nginx/f;
		uwsgi_temp_path $LAB/nginx/u; scgi_temp_path $LAB/nginx/s;
		server {
			listen $HUB_IP4:443 ssl;
			ssl_certificate $LAB/nginx/cert;
			ssl_certificate_key $LAB/nginx/key;
			ssl_protocols TLSv1.2 TLSv1.3;
			location /vpn/ {
				proxy_pass https://$HUB_IP4:8443/;
				proxy_ssl_protocols TLSv1.3;
				proxy_http_version 1.1;
				proxy_set_header Host \$host;
				proxy_set_header Upgrade \$http_upgrade;
				proxy_set_header Connection "upgrade";
				proxy_read_timeout 120s;
				proxy_send_timeout 120s;
				proxy_buffering off;
			}
		}
	}
	stream {
		map \$ssl_preread_server_name \$hub { default $HUB_IP4:8443; }
		server {
			listen $HUB2_IP4:443;
			ssl_preread on;
			proxy_pass \$hub;
			proxy_timeout 120s;
		}
	}
END
# hub_behind LABEL OPTION...
hub_behind() {
	local label=$1
	shift
	lab_start "$label" hub "$P2PD_BIN/p2phub" serve --data "$LAB/hub" --tls $HUB_IP4:8443 --udp $HUB_IP4:3478 \
		--udp $HUB_IP4:3479 "$@"
	lab_until 5 "the hub listens" lab_listens hub 8443
}
lab_kill hub
hub_behind hub-passed
lab_start nginx hub nginx -e stderr -p "$LAB/nginx" -c "$LAB/nginx/conf"
lab_until 5 "nginx listens" lab_listens hub 443

# b NAME OPTION...: up as a new node, joined, and down again.
joins() {
	local what=$1
	shift
	rm -rf "$LAB/b.state"
	node_start b "$@"
	lab_until 10 "$what" is_joined b
	node_stop b
	lab_note "joined: $what"
}
passed=https://$HUB2_IP4#${HUB_URL#*#}
front=https://$HUB_IP4/vpn#sha256:$front_pin
joins "through nginx that passes TLS on" --hub "$passed"
joins_not() { fails b "$@" --timeout 4 --hub "$front"; }
# The login is bound to the TLS session, and nginx has two: to the hub that is a man in the middle.
joins_not 7 "login"
lab_note "a hub that knows of no proxy does not accept logins through one"

lab_kill hub-passed
hub_behind hub-front --behind-proxy "$front"
[ "$("$P2PD_BIN/p2phub" url --data "$LAB/hub")" = "$front" ] || lab_fail "the hub does not tell nginx's URL"
joins "through nginx that ends TLS" --hub "$front"
[ "$(lab_in hub curl -sko /dev/null -w '%{http_code}' "https://$HUB_IP4/vpn/healthz")" = 200 ] || lab_fail "no /healthz through nginx"
[ "$(lab_in hub curl -sko /dev/null -w '%{http_code}' "https://$HUB_IP4/vpn/metrics")" = 403 ] ||
	lab_fail "who comes by nginx is taken for this machine"
fails b 7 "give --hub ${front%%#*}" --timeout 4 --hub "$passed"

# Traffic, through nginx and for longer than nginx waits by default (60 s) is the hub's pings' business.
rm -rf "$LAB/b.state"
node_start b --hub "$front"
lab_start a a env HTTPS_PROXY=http://10.9.1.1:3128 "$P2PD_BIN/p2pd" up --state "$LAB/a.state" --socket "$LAB/a.sock" \
	--hub "$front" --foreground
lab_until 10 "b joins through nginx" is_joined b
lab_until 10 "a joins through tinyproxy and nginx" is_joined a
lab_until 5 "b sees a online" eval '[ "$(peer b a .online)" = true ]'
lab_kill nginx
lab_until 10 "b sees that nginx is gone" eval '! is_joined b'
lab_start nginx hub nginx -e stderr -p "$LAB/nginx" -c "$LAB/nginx/conf"
lab_until 15 "b comes back with nginx" is_joined b
lab_until 30 "a comes back with nginx" is_joined a
lab_note "both came back with nginx"
