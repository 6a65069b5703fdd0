#include "apps/p2pd/state.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/crypto.h"
#include "core/file.h"

enum { JSON_MAX = 4096 };

int state_open(struct state *s, const char *path)
{
	*s = (struct state) { .dir = file_open_dir(path), .lock = -1 };
	if (s->dir < 0)
		return s->dir;
	s->lock = file_lock(s->dir, "lock");
	if (s->lock >= 0)
		return 0;
	close(s->dir);
	s->dir = -1;
	return s->lock;
}

void state_close(struct state *s)
{
	if (s->lock >= 0)
		close(s->lock);
	if (s->dir >= 0)
		close(s->dir);
	s->lock = s->dir = -1;
}

/* A file of exactly `len` bytes. */
static int read_exact(int dir, const char *name, void *out, size_t len)
{
	ssize_t n = file_read(dir, name, out, len);

	if (n == -EFBIG || (n >= 0 && (size_t)n != len))
		return -EBADMSG;
	return n < 0 ? (int)n : 0;
}

int state_load_keys(struct state *s, struct state_keys *keys)
{
	struct rng rng;
	int ret = read_exact(s->dir, "keys", keys, sizeof *keys);

	if (ret != -ENOENT)
		return ret;
	rng_init_system(&rng);
	rng_fill(&rng, keys, sizeof *keys);
	crypto_x25519_clamp(keys->wk_sk);
	crypto_wipe(&rng, sizeof rng);
	return file_write(s->dir, "keys", keys, sizeof *keys);
}

/* --- The network */

static void hex_of(const uint8_t *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", in[i]);
}

static json_t *network_to_json(const struct state_network *n)
{
	char prefix[ADDR_TEXT_MAX], wish[ADDR_TEXT_MAX] = "", netid[65];

	hex_of(n->net.netid, 32, netid);
	addr_format_ip(&n->ip4_prefix, prefix);
	if (n->ip4_wish.family)
		addr_format_ip(&n->ip4_wish, wish);
	return json_pack("{ss ss ss ss ss si ss sI si sb sb sb}", "network", n->net.name, "netid", netid,
			 "hub", n->hub, "name", n->name, "ip4_prefix", prefix, "ip4_bits", (int)n->ip4_bits,
			 "ip4", wish, "cert_not_before", (json_int_t)n->cert_not_before, "port", (int)n->port,
			 "no_portmap", n->no_portmap, "hard_nat", n->hard_nat, "chacha20_only",
			 n->chacha20_only);
}

static int copy_text(char *out, size_t cap, const char *in)
{
	if (strlen(in) >= cap)
		return -EBADMSG;
	memcpy(out, in, strlen(in) + 1);
	return 0;
}

static int network_from_json(struct state_network *n, json_t *json, char netid[static 65])
{
	const char *network, *id, *hub, *name, *prefix, *wish;
	json_int_t not_before;
	int bits, port, no_portmap = 0, hard_nat = 0, chacha20_only = 0;

	if (json_unpack(json, "{ss ss ss ss ss si ss sI si s?b s?b s?b}", "network", &network, "netid", &id,
			"hub", &hub, "name", &name, "ip4_prefix", &prefix, "ip4_bits", &bits, "ip4", &wish,
			"cert_not_before", &not_before, "port", &port, "no_portmap", &no_portmap, "hard_nat",
			&hard_nat, "chacha20_only", &chacha20_only))
		return -EBADMSG;
	if (copy_text(n->net.name, sizeof n->net.name, network) || copy_text(netid, 65, id) ||
	    copy_text(n->hub, sizeof n->hub, hub) || copy_text(n->name, sizeof n->name, name))
		return -EBADMSG;
	if (addr_parse(&n->ip4_prefix, prefix, 0) || (*wish && addr_parse(&n->ip4_wish, wish, 0)))
		return -EBADMSG;
	if (bits < 1 || bits > 30 || port < 0 || port > UINT16_MAX || not_before < 0)
		return -EBADMSG;
	n->ip4_bits = (unsigned)bits;
	n->port = (uint16_t)port;
	n->no_portmap = no_portmap;
	n->hard_nat = hard_nat;
	n->chacha20_only = chacha20_only;
	n->cert_not_before = (uint64_t)not_before;
	return 0;
}

static int load_json(struct state *s, struct state_network *n, char netid[static 65])
{
	char text[JSON_MAX];
	ssize_t len = file_read(s->dir, "network.json", text, sizeof text);

	if (len < 0)
		return (int)len;
	json_t *json = json_loadb(text, (size_t)len, 0, NULL);
	int ret = json ? network_from_json(n, json, netid) : -EBADMSG;
	json_decref(json);
	return ret;
}

static int load_key(struct state *s, struct state_network *n, const char *netid)
{
	uint8_t stored[NETWORK_STORED_LEN];
	char name[NETWORK_NAME_MAX + 1], got[65];
	int ret = read_exact(s->dir, "network.key", stored, sizeof stored);

	memcpy(name, n->net.name, sizeof name);
	if (!ret && network_restore(&n->net, name, stored))
		ret = -EBADMSG;
	crypto_wipe(stored, sizeof stored);
	if (ret)
		return ret == -ENOENT ? -EBADMSG : ret;
	hex_of(n->net.netid, 32, got);
	return strcmp(got, netid) ? -EBADMSG : 0;
}

static int load_proxy(struct state *s, struct state_network *n)
{
	ssize_t len = file_read(s->dir, "proxy", n->proxy, PROXY_URL_MAX);

	if (len == -ENOENT)
		return 0;
	if (len >= 0)
		n->proxy[len] = 0;
	return len == -EFBIG ? -EBADMSG : len < 0 ? (int)len : 0;
}

static int save_proxy(struct state *s, const struct state_network *n)
{
	if (*n->proxy)
		return file_write(s->dir, "proxy", n->proxy, strlen(n->proxy));
	int ret = file_remove(s->dir, "proxy");
	return ret == -ENOENT ? 0 : ret;
}

int state_load_network(struct state *s, struct state_network *n)
{
	char netid[65];

	*n = (struct state_network) { 0 };
	int ret = load_json(s, n, netid);
	if (!ret)
		ret = load_key(s, n, netid);
	if (!ret)
		ret = load_proxy(s, n);
	if (ret)
		state_wipe_network(n);
	return ret;
}

void state_wipe_network(struct state_network *n)
{
	network_wipe(&n->net);
	crypto_wipe(n->proxy, sizeof n->proxy);
}

/* The key first, for network.json says that there is one. */
int state_save_network(struct state *s, const struct state_network *n)
{
	uint8_t stored[NETWORK_STORED_LEN];
	json_t *json = network_to_json(n);
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	int ret = text ? 0 : -ENOMEM;

	network_store(&n->net, stored);
	if (!ret)
		ret = file_write(s->dir, "network.key", stored, sizeof stored);
	if (!ret)
		ret = save_proxy(s, n);
	if (!ret)
		ret = file_write(s->dir, "network.json", text, strlen(text));
	crypto_wipe(stored, sizeof stored);
	free(text);
	json_decref(json);
	return ret;
}

int state_forget_network(struct state *s)
{
	static const char *const files[] = { "network.json", "network.key", "proxy", "timestamps" };
	int ret = 0;

	for (size_t i = 0; i < sizeof files / sizeof *files && !ret; i++) {
		ret = file_remove(s->dir, files[i]);
		if (ret == -ENOENT)
			ret = 0;
	}
	return ret;
}

/* --- The clock */

int state_load_clock(struct state *s, uint64_t *last_ns)
{
	uint64_t stored = 0;
	int ret = read_exact(s->dir, "clock", &stored, sizeof stored);

	if (ret && ret != -ENOENT)
		return ret;
	*last_ns = s->reserved_ns = stored;
	return 0;
}

int state_reserve_clock(struct state *s, uint64_t last_ns)
{
	uint64_t bound = last_ns + STATE_RESERVE_NS;

	if (last_ns <= s->reserved_ns)
		return 0;
	int ret = file_write(s->dir, "clock", &bound, sizeof bound);
	if (!ret)
		s->reserved_ns = bound;
	return ret;
}
