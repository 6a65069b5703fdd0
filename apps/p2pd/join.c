#include "apps/p2pd/join.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2pd/hub_proxy.h"
#include "apps/p2pd/secret.h"
#include "core/crypto.h"
#include "core/fail.h"
#include "relay/hub_url.h"

enum { PREFIX_BITS_MIN = 8, PREFIX_BITS_MAX = 29 };

/* Certificate authorities vouch for names, and of these only for those of the whole internet. */
static bool needs_pin(const struct hub_url *url)
{
	struct addr a;

	return !strchr(url->host, '.') || addr_parse(&a, url->host, 0) == 0;
}

static int check_hub(const struct join_wish *w)
{
	struct hub_url url;

	if (!w->hub)
		return EXIT_OK;
	if (strlen(w->hub) <= STATE_URL_MAX && !hub_url_parse(&url, w->hub))
		return url.pinned || !needs_pin(&url) ? EXIT_OK
						      : fail_with(EXIT_USAGE,
								  "nobody vouches for a hub at '%.200s': "
								  "give the whole URL that `p2phub url` "
								  "prints there, with #sha256:...",
								  url.host);
	return fail_with(EXIT_USAGE,
			 "'%.200s' is no hub's URL: `p2phub url` prints it on the hub, such as "
			 "https://198.51.100.7#sha256:...",
			 w->hub);
}

/* --- The network */

static int from_secret(const struct join_wish *w, struct network *net)
{
	struct secret secret;
	char why[SECRET_WHY], what[64 + NETWORK_NAME_MAX];

	snprintf(what, sizeof what, "secret of network '%.63s'", w->network);
	int ret = secret_read(&secret, w->secret, what, why);
	if (ret)
		return fail_with(ret == -EINVAL || ret == -ENOTTY ? EXIT_USAGE : EXIT_FAILED, "--secret: %s",
				 why);
	if (network_secret_is_weak(secret.text, secret.len) && !w->allow_weak) {
		secret_wipe(&secret);
		return fail_with(EXIT_DENIED, "this secret can be guessed, and a hub could try without being "
					      "noticed: take one from "
					      "`p2pd keygen`, or insist with --allow-weak-secret");
	}
	ret = network_from_secret(net, w->network, secret.text, secret.len);
	secret_wipe(&secret);
	if (ret == -EINVAL)
		return fail_with(EXIT_USAGE, "a network's name has 1 to %d printable ASCII characters",
				 NETWORK_NAME_MAX);
	return ret ? fail_with(EXIT_FAILED, "cannot derive the network's keys: %s", strerror(-ret)) : EXIT_OK;
}

static int first_time(const struct join_wish *w, struct state_network *n)
{
	if (!w->hub || !w->network)
		return fail_with(EXIT_USAGE,
				 "this node is in no network yet: give --hub URL, --network NAME and "
				 "--secret file:PATH");
	return from_secret(w, &n->net);
}

/* The secret is checked when one was typed, and not needed else. */
static int again(const struct join_wish *w, const struct state_network *n)
{
	struct network typed;

	if (w->network && strcmp(w->network, n->net.name))
		return fail_with(
			EXIT_CONFLICT,
			"this node is in network '%s': leave that one first with `p2pd down --forget`, or "
			"run a second node with its own --state and --socket",
			n->net.name);
	if (!w->secret)
		return EXIT_OK;
	struct join_wish known = *w;
	known.network = n->net.name;
	known.allow_weak = true; /* it was accepted when it was new */
	int code = from_secret(&known, &typed);
	if (!code && !crypto_equal(typed.netid, n->net.netid, sizeof typed.netid))
		code = fail_with(
			EXIT_DENIED,
			"this is not the secret with which this node joined '%s': leave out --secret to "
			"go on "
			"as before, or leave the network first with `p2pd down --forget`",
			n->net.name);
	network_wipe(&typed);
	return code;
}

static int choose_network(const struct join_wish *w, struct state *state, struct join_plan *out)
{
	int ret = state_load_network(state, &out->network);

	out->trusted = !ret || w->found_new;
	if (!ret)
		return again(w, &out->network);
	if (ret == -ENOENT)
		return first_time(w, &out->network);
	if (ret == -EBADMSG)
		return fail_with(EXIT_FAILED,
				 "what the state folder remembers of the network is damaged: `p2pd "
				 "down --forget`, then join "
				 "again with --hub, --network and --secret");
	return fail_with(EXIT_FAILED, "cannot read the network from the state folder: %s", strerror(-ret));
}

/* --- The node in it */

static void set_name(const struct join_wish *w, struct state_network *n)
{
	char host[256] = "";

	if (!w->name && *n->name)
		return;
	gethostname(host, sizeof host - 1);
	if (!w->name)
		host[strcspn(host, ".")] = 0;
	cert_name_from(n->name, w->name ? w->name : host);
}

int join_parse_prefix(const char *text, struct addr *prefix, unsigned *bits)
{
	char ip[ADDR_TEXT_MAX], *end;
	const char *slash = strchr(text, '/');

	if (!slash || (size_t)(slash - text) >= sizeof ip)
		return -EINVAL;
	snprintf(ip, sizeof ip, "%.*s", (int)(slash - text), text);
	unsigned long n = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || n < PREFIX_BITS_MIN || n > PREFIX_BITS_MAX)
		return -EINVAL;
	if (addr_parse(prefix, ip, 0) || prefix->family != ADDR_V4 || prefix->port)
		return -EINVAL;
	*bits = (unsigned)n;
	for (unsigned i = *bits; i < 32; i++)
		prefix->ip[i / 8] &= (uint8_t) ~(128 >> i % 8);
	return 0;
}

/* In the prefix, and neither its first address, which names the network, nor its last, the broadcast's. */
static bool is_host_of(const struct addr *a, const struct addr *prefix, unsigned bits)
{
	uint32_t host = 0, most = UINT32_MAX >> bits;

	for (int i = 0; i < 4; i++)
		host = host << 8 | a->ip[i];
	host &= most;
	return addr_in_prefix(a, prefix, bits) && host && host != most;
}

static int set_addresses(const struct join_wish *w, struct state_network *n)
{
	const char *prefix = w->ip4_prefix ? w->ip4_prefix : JOIN_IP4_PREFIX;
	char text[ADDR_TEXT_MAX];

	if ((w->ip4_prefix || !n->ip4_bits) && join_parse_prefix(prefix, &n->ip4_prefix, &n->ip4_bits))
		return fail_with(EXIT_USAGE,
				 "--ip4-prefix takes an IPv4 prefix of /%d to /%d, such as %s, not '%.40s'",
				 PREFIX_BITS_MIN, PREFIX_BITS_MAX, JOIN_IP4_PREFIX, prefix);
	if (w->ip4 &&
	    (addr_parse(&n->ip4_wish, w->ip4, 0) || n->ip4_wish.family != ADDR_V4 || n->ip4_wish.port))
		return fail_with(EXIT_USAGE, "--ip4 takes an IPv4 address, not '%.40s'", w->ip4);
	if (!n->ip4_wish.family || is_host_of(&n->ip4_wish, &n->ip4_prefix, n->ip4_bits))
		return EXIT_OK;
	n->ip4_wish = (struct addr) { 0 }; /* remembered of another prefix */
	return w->ip4 ? fail_with(EXIT_USAGE, "--ip4 %.40s is no host's address in the network's %s/%u",
				  w->ip4, addr_format_ip(&n->ip4_prefix, text), n->ip4_bits)
		      : EXIT_OK;
}

static int set_proxy(const struct join_wish *w, struct state_network *n)
{
	char why[HUB_PROXY_WHY];
	int ret = w->proxy ? hub_proxy_read(n->proxy, w->proxy, why) : 0;

	if (ret)
		return fail_with(ret == -ENOENT || ret == -EACCES ? EXIT_FAILED : EXIT_USAGE, "--proxy: %s",
				 why);
	return EXIT_OK;
}

int join_plan(const struct join_wish *wish, struct state *state, struct join_plan *out)
{
	struct state_network *n = &out->network;

	*out = (struct join_plan) { 0 };
	int code = check_hub(wish);
	if (!code)
		code = choose_network(wish, state, out);
	if (!code)
		code = set_addresses(wish, n);
	if (!code)
		code = set_proxy(wish, n);
	if (code) {
		state_wipe_network(n);
		return code;
	}
	set_name(wish, n);
	if (wish->hub)
		strcpy(n->hub, wish->hub);
	out->any_port = !wish->port && !n->port;
	if (wish->port)
		n->port = (uint16_t)wish->port;
	n->no_portmap = wish->no_portmap || (n->no_portmap && !wish->portmap);
	if (wish->cipher)
		n->chacha20_only = !strcmp(wish->cipher, "chacha20");
	n->hard_nat = wish->hard_nat || (n->hard_nat && !wish->no_hard_nat);
	return EXIT_OK;
}
