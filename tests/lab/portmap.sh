# shellcheck shell=bash
# A router that speaks UPnP, NAT-PMP and PCP: Debian's miniupnpd. Source it after p2pd.sh.
#
#   router_start SITE [LINE...]   starts it on the site's router, LINEs being added to its configuration
#   router_stop SITE [SIGNAL]     and ends it, its rules with it
#   router_maps SITE PORT         the UDP port is forwarded
#   router_maps_nothing SITE      no port is
#   router_deaf_to SITE PROTO     drops what asks by natpmp or pcp (miniupnpd can only be told to do both or none)
#   portmap NAME PROTO STATE      what the node NAME says of it
MINIUPNPD=$(command -v miniupnpd || echo /usr/sbin/miniupnpd)
[ -x "$MINIUPNPD" ] || lab_skip "the test needs miniupnpd"

# The lab's usual public addresses are reserved for documentation, and miniupnpd refuses to map behind such.
lab_public4() { echo 11.22.33.${LAB_SITE_NO[$1]}; }

# miniupnpd fills chains of its own, which have to be there. They are part of the lab's firewall, for an accept in
# another table would not help against its policy.
router_chains() {
	lab_in "$1-nat" nft -f - <<-END
		table inet firewall {
			chain miniupnpd { }
			chain prerouting_miniupnpd { }
			chain postrouting_miniupnpd { }
			chain upnp_prerouting { type nat hook prerouting priority dstnat - 1; }
			chain upnp_postrouting { type nat hook postrouting priority srcnat - 1; }
		}
		flush chain inet firewall miniupnpd
		flush chain inet firewall prerouting_miniupnpd
		flush chain inet firewall postrouting_miniupnpd
		flush chain inet firewall upnp_prerouting
		flush chain inet firewall upnp_postrouting
		add rule inet firewall upnp_prerouting jump prerouting_miniupnpd
		add rule inet firewall upnp_postrouting jump postrouting_miniupnpd
	END
	grep -q miniupnpd <<<"$(lab_in "$1-nat" nft list chain inet firewall forward)" ||
		lab_in "$1-nat" nft insert rule inet firewall forward jump miniupnpd
}

router_start() {
	local site=$1 n=${LAB_SITE_NO[$1]}
	shift
	router_chains "$site"
	cat >"$LAB/$site.upnpd" <<-END
		ext_ifname=wan
		listening_ip=lan
		http_port=5000
		upnp_table_name=firewall
		upnp_nat_table_name=firewall
		system_uptime=no
		secure_mode=yes
		uuid=2d9c9a5e-0000-4000-8000-0000000000$n
		$(printf '%s\n' "$@")
		allow 1024-65535 192.168.$n.0/24 1024-65535
		deny 0-65535 0.0.0.0/0 0-65535
	END
	lab_start "$site-upnpd" "$site-nat" "$MINIUPNPD" -d -f "$LAB/$site.upnpd" -P "$LAB/$site.upnpd.pid"
	lab_until 5 "miniupnpd of $site is up" router_is_up "$site"
}
router_is_up() { lab_in "$1-nat" ss -Hlun 'sport = :5351 or sport = :1900' | grep -q .; }

router_stop() {
	lab_kill "$1-upnpd" "${2:-TERM}"
	router_chains "$1"
}

router_rules() { lab_in "$1-nat" nft list chain inet firewall prerouting_miniupnpd; }
router_maps() { grep -q "dport $2 dnat" <<<"$(router_rules "$1")"; }
router_maps_nothing() { ! grep -q dnat <<<"$(router_rules "$1")"; }

router_deaf_to() {
	local version
	case $2 in natpmp) version=0 ;; pcp) version=2 ;; esac
	lab_in "$1-nat" nft -f - <<-END
		table ip deaf
		delete table ip deaf
		table ip deaf {
			chain input {
				type filter hook input priority 0
				udp dport 5351 @th,64,8 $version drop
			}
		}
	END
}

portmap() { [ "$(status "$1" ".self.nat.portmap.$2" 2>/dev/null)" = "$3" ]; }
