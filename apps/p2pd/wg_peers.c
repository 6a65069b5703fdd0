#include "apps/p2pd/wg_peers.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/wg_key.h"
#include "core/crypto.h"
#include "core/file.h"

enum { FILE_MAX = WG_PEERS_MAX * 1024, KEEPALIVE_MAX = 65535 };

static const char file_name[] = "wg.json";

/* --- From JSON */

static int bad(char *why, const char *text)
{
	snprintf(why, WG_PEERS_WHY, "%s", text);
	return -EINVAL;
}

/* "10.0.0.0/8", "fd00::1": without a length a single address. Not all addresses (/0): the host's default route would end
 * in the tunnel, and with it the tunnel's own packets. */
static int parse_prefix(struct engine_wg_peer *p, const char *text)
{
	char ip[ADDR_TEXT_MAX];
	size_t len = strcspn(text, "/");
	struct addr *prefix = &p->allowed[p->allowed_count].prefix;

	if (len >= sizeof ip)
		return -EINVAL;
	memcpy(ip, text, len);
	ip[len] = 0;
	if (addr_parse(prefix, ip, 0) || prefix->port)
		return -EINVAL;
	long most = prefix->family == ADDR_V4 ? 32 : 128, bits = most;
	if (text[len]) {
		char *end;
		bits = strtol(text + len + 1, &end, 10);
		if (end == text + len + 1 || *end || bits < 1 || bits > most)
			return -EINVAL;
	}
	p->allowed[p->allowed_count++].bits = (uint8_t)bits;
	return 0;
}

static int parse_allowed(struct engine_wg_peer *p, json_t *list, char *why)
{
	if (!json_is_array(list) || !json_array_size(list))
		return bad(why,
			   "the allowed IPs are the addresses that the peer has, such as 10.77.200.2/32");
	if (json_array_size(list) > sizeof p->allowed / sizeof *p->allowed)
		return bad(why, "too many allowed IPs");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (!text || parse_prefix(p, text))
			return bad(why,
				   "allowed IPs are prefixes such as 10.77.200.2/32 or fd00::2/128, not /0");
	}
	return 0;
}

static bool name_is_good(const char *name)
{
	size_t len = strlen(name);

	return len && len < PEER_NAME &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

static int parse_object(struct engine_wg_peer *p, json_t *json, char *why)
{
	const char *name, *key, *psk = NULL, *endpoint = NULL;
	json_t *allowed = NULL;
	int keepalive = 0;

	if (json_unpack(json, "{ss ss s?s s?s s?o s?i}", "name", &name, "key", &key, "psk", &psk, "endpoint",
			&endpoint, "allowed_ips", &allowed, "keepalive", &keepalive))
		return bad(why, "a peer is an object with the texts name and key, and a list allowed_ips");
	if (!name_is_good(name))
		return bad(why, "a name has 1 to 63 letters, digits, dots, dashes or underscores");
	if (wg_key_parse(p->pk, key))
		return bad(why, "the key is not a WireGuard public key (44 characters of base64)");
	if (psk && wg_key_parse(p->psk, psk))
		return bad(why, "the psk is not a WireGuard key (44 characters of base64)");
	if (endpoint && (addr_parse(&p->endpoint, endpoint, 0) || addr_is_unusable(&p->endpoint)))
		return bad(why,
			   "the endpoint must be IP:PORT, such as 192.0.2.1:51820 or [2001:db8::1]:51820");
	if (keepalive < 0 || keepalive > KEEPALIVE_MAX)
		return bad(why, "keepalive is a number of seconds from 0 to 65535");
	strcpy(p->name, name);
	p->has_psk = psk;
	p->keepalive_s = (uint16_t)keepalive;
	return parse_allowed(p, allowed, why);
}

int wg_peers_parse(struct engine_wg_peer *out, const char *json, size_t len, char why[static WG_PEERS_WHY])
{
	json_t *object = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);

	*out = (struct engine_wg_peer) { 0 };
	int ret = json_is_object(object) ? parse_object(out, object, why)
					 : bad(why, "the body is not a JSON object");
	json_decref(object);
	return ret;
}

/* --- To JSON */

static json_t *allowed_to_json(const struct engine_wg_peer *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->allowed_count; i++) {
		char ip[ADDR_TEXT_MAX];
		json_array_append_new(list, json_sprintf("%s/%u", addr_format_ip(&p->allowed[i].prefix, ip),
							 (unsigned)p->allowed[i].bits));
	}
	return list;
}

static json_t *peer_to_json(const struct engine_wg_peer *p, bool secrets)
{
	char key[WG_KEY_TEXT], endpoint[ADDR_TEXT_MAX];

	wg_key_format(p->pk, key);
	json_t *json = json_pack("{ss ss so}", "name", p->name, "key", key, "allowed_ips",
				 allowed_to_json(p));
	if (p->has_psk && secrets) {
		wg_key_format(p->psk, key);
		json_object_set_new(json, "psk", json_string(key));
		crypto_wipe(key, sizeof key);
	} else if (p->has_psk) {
		json_object_set_new(json, "psk", json_true());
	}
	if (p->endpoint.family)
		json_object_set_new(json, "endpoint", json_string(addr_format(&p->endpoint, endpoint)));
	if (p->keepalive_s)
		json_object_set_new(json, "keepalive", json_integer(p->keepalive_s));
	return json;
}

char *wg_peers_format(const struct wg_peers *l, bool secrets)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->count; i++)
		json_array_append_new(list, peer_to_json(&l->items[i], secrets));
	json_t *json = json_pack("{ss so}", "schema", "p2pd.wg/1", "peers", list);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

/* --- The list */

int wg_peers_add(struct wg_peers *l, const struct engine_wg_peer *peer)
{
	if (l->count == WG_PEERS_MAX)
		return -ENOSPC;
	struct engine_wg_peer *items = realloc(l->items, (l->count + 1) * sizeof *items);
	if (!items)
		return -ENOMEM;
	l->items = items;
	l->items[l->count++] = *peer;
	return 0;
}

int wg_peers_remove(struct wg_peers *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->items[i].name, name)) {
			l->items[i] = l->items[--l->count];
			crypto_wipe(&l->items[l->count], sizeof *l->items);
			return 0;
		}
	return -ENOENT;
}

void wg_peers_free(struct wg_peers *l)
{
	if (l->items)
		crypto_wipe(l->items, l->count * sizeof *l->items);
	free(l->items);
	*l = (struct wg_peers) { 0 };
}

static int add_all(struct wg_peers *l, json_t *list)
{
	size_t i;
	json_t *item;
	char why[WG_PEERS_WHY];

	if (!json_is_array(list))
		return -EBADMSG;
	json_array_foreach(list, i, item)
	{
		struct engine_wg_peer peer = { 0 };
		int ret = parse_object(&peer, item, why) ? -EBADMSG : wg_peers_add(l, &peer);
		crypto_wipe(&peer, sizeof peer);
		if (ret)
			return ret;
	}
	return 0;
}

int wg_peers_load(struct wg_peers *l, int dir)
{
	char *text = malloc(FILE_MAX);

	*l = (struct wg_peers) { 0 };
	if (!text)
		return -ENOMEM;
	ssize_t len = file_read(dir, file_name, text, FILE_MAX);
	json_t *json = len > 0 ? json_loadb(text, (size_t)len, 0, NULL) : NULL;
	int ret = len == -ENOENT ? 0 : (int)len;
	if (len >= 0)
		ret = json_is_object(json) ? add_all(l, json_object_get(json, "peers")) : -EBADMSG;
	json_decref(json);
	crypto_wipe(text, len > 0 ? (size_t)len : 0);
	free(text);
	if (ret)
		wg_peers_free(l);
	return ret;
}

int wg_peers_save(const struct wg_peers *l, int dir)
{
	char *text = wg_peers_format(l, true);

	if (!text)
		return -ENOMEM;
	int ret = file_write(dir, file_name, text, strlen(text));
	crypto_wipe(text, strlen(text));
	free(text);
	return ret;
}
