#include "apps/p2pd/portmap_spec.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "apps/p2pd/forward/rule.h"
#include "core/config.h"

enum { PORT_MAX = 65535, ITEM_MAX = 128, WORDS = 3 };

static const char none[] = "none", never[] = "never", all[] = "all";
#define TIME_HELP "90s, 15min, 12h, 7d"

size_t portmap_spec_options(struct portmap_spec *s, struct options_entry out[static PORTMAP_SPEC_OPTIONS])
{
	*s = (struct portmap_spec) { .public_port = -1, .max_conn = -1 };
	const struct options_entry entries[] = {
		{ "local", "IP:PORT", "the service: 192.168.50.10:3306, ...:80,443, ...:9000-9099",
		  .text = &s->local },
		{ "proto", "PROTO", "tcp (default), udp or both", .text = &s->proto },
		{ "name", "NAME", "what people call it, by convention use-place-port: till-lyon-3306",
		  .text = &s->name },
		{ "scope", "SCOPE", "who may come: org (all members, default), nodes (--to), public (--via)",
		  .text = &s->scope },
		{ "to", "NODE[,NODE]",
		  "the members that may come, by name or overlay IPv6 address; may be repeated",
		  .list = &s->to },
		{ "via", "GATEWAY", "the member at whose public address visitors come in, named as in --to",
		  .text = &s->via },
		{ "public-port", "PORT", "there; of several the first (0, default: the service's)",
		  .number = &s->public_port, .max = PORT_MAX },
		{ "domain", "NAME", "a name of yours that leads to the gateway, shown as the address",
		  .text = &s->domain },
		{ "allow", "CIDR[,CIDR]",
		  "only visitors from there: 198.51.100.0/24, or token; may be repeated", .list = &s->allow },
		{ "max-conn", "N", "connections at a time, 0: no limit (200)", .number = &s->max_conn,
		  .max = PORTMAP_CONN_MAX },
		{ "idle", "TIME", "without a byte for so long they end: " TIME_HELP ", never (90s)",
		  .text = &s->idle },
		{ "rate", "RATE", "at most so much each way: 500kbit, 10mbit, none (none)",
		  .text = &s->rate },
		{ "expires", "TIME",
		  "the rule ends so long from now, or then: 12h, 7d, 2027-01-31, never (never)",
		  .text = &s->expires },
		{ "source-ip", "WAY", "kernel (default), proxy-v2 or nat: see below", .text = &s->source_ip },
		{ "force", NULL, "even if it is open to everybody; what it overlaps with is removed",
		  .flag = &s->force },
	};
	_Static_assert(sizeof entries / sizeof *entries <= PORTMAP_SPEC_OPTIONS, "all fit");

	memcpy(out, entries, sizeof entries);
	return sizeof entries / sizeof *entries;
}

/* --- Values */

/* As in p2pd.yaml. */
static int quantity(enum config_kind kind, void *out, const char *text, const char *zero)
{
	const struct config_entry e = { .key = "", .kind = kind, .none = zero };

	return config_set(&e, out, text);
}

int portmap_seconds(uint64_t *out, const char *text, const char *zero)
{
	return quantity(CONFIG_TIME, out, text, zero);
}

/* A reading under way: the first wrong thing ends it. */
struct reading {
	json_t *json;
	char *why;
	bool bad;
};

__attribute__((format(printf, 2, 3))) static void complain(struct reading *r, const char *fmt, ...)
{
	va_list ap;

	if (r->bad)
		return;
	r->bad = true;
	va_start(ap, fmt);
	vsnprintf(r->why, PORTMAP_SPEC_WHY, fmt, ap);
	va_end(ap);
}

static void put(struct reading *r, const char *key, json_t *value)
{
	if (json_object_set_new(r->json, key, value))
		complain(r, "'%s' is no text in UTF-8", key);
}

static void put_text(struct reading *r, const char *key, const char *text)
{
	if (text)
		put(r, key, json_string(strcmp(text, none) ? text : ""));
}

static void put_word(struct reading *r, const char *key, const char *option, const char *text,
		     const char *const words[static WORDS])
{
	for (size_t i = 0; text && i < WORDS; i++)
		if (!strcmp(text, words[i])) {
			put(r, key, json_string(text));
			return;
		}
	if (text)
		complain(r, "--%s takes %s, %s or %s, not '%.40s'", option, words[0], words[1], words[2],
			 text);
}

static void put_number(struct reading *r, const char *key, long number)
{
	if (number >= 0)
		put(r, key, json_integer(number));
}

/* "A,B" to two items. */
static void add_items(struct reading *r, json_t *items, const char *option, const char *text)
{
	char item[ITEM_MAX];

	for (const char *at = text;; at++) {
		size_t len = strcspn(at, ",");
		if (!len || len >= sizeof item) {
			complain(r, "--%s takes a list with commas between, not '%.60s'", option, text);
			return;
		}
		memcpy(item, at, len);
		item[len] = 0;
		if (json_array_append_new(items, json_string(item)))
			complain(r, "--%s: '%.60s' is no text in UTF-8", option, text);
		at += len;
		if (!*at)
			return;
	}
}

/* `nothing` alone is the empty list. */
static void put_list(struct reading *r, const char *key, const struct options_list *list, const char *nothing)
{
	bool empty = list->count == 1 && !strcmp(list->items[0], nothing);

	if (!list->count)
		return;
	json_t *items = json_array();
	for (size_t i = 0; i < list->count && !empty; i++)
		add_items(r, items, key, list->items[i]);
	put(r, key, items);
}

static void put_idle(struct reading *r, const char *text)
{
	uint64_t s;

	if (!text)
		return;
	if (portmap_seconds(&s, text, never) || s > UINT32_MAX)
		complain(r, "--idle takes a time such as 90s or 15min, or never, not '%.40s'", text);
	else
		put(r, "idle_s", json_integer((json_int_t)s));
}

static void put_rate(struct reading *r, const char *text)
{
	uint32_t rate;

	if (!text)
		return;
	if (quantity(CONFIG_RATE, &rate, text, none))
		complain(r, "--rate takes a rate such as 500kbit or 10mbit, or none, not '%.40s'", text);
	else
		put(r, "rate", json_integer(rate));
}

static void put_expiry(struct reading *r, const char *text, uint64_t unix_s)
{
	uint64_t s, until;

	if (!text)
		return;
	if (!rule_read_date(&until, text)) {
		if (until <= unix_s)
			complain(r, "--expires: %.40s is over already", text);
	} else if (!portmap_seconds(&s, text, never) && s <= INT64_MAX - unix_s) {
		until = s ? unix_s + s : 0;
	} else {
		complain(r, "--expires takes a time such as 12h, 7d or 2027-01-31, or never, not '%.40s'",
			 text);
		return;
	}
	put(r, "expires_at", json_integer((json_int_t)until));
}

/* What belongs to another scope than the one that is wanted goes: else the rule would be refused for it. */
static void put_scope(struct reading *r, const struct portmap_spec *s)
{
	static const char *const words[] = { "org", "nodes", "public" };
	bool named = s->to.count && strcmp(s->to.items[0], all) != 0;
	const char *scope = !s->scope && named ? "nodes" : s->scope;

	put_word(r, "scope", "scope", scope, words);
	put_list(r, "to", &s->to, all);
	if (scope && !s->to.count && strcmp(scope, "nodes"))
		put(r, "to", json_array());
	if (scope && strcmp(scope, "public")) {
		put_text(r, "via", none);
		put_text(r, "domain", none);
	}
	put_text(r, "via", s->via);
	put_text(r, "domain", s->domain);
}

json_t *portmap_spec_json(const struct portmap_spec *s, uint64_t unix_s, char why[static PORTMAP_SPEC_WHY])
{
	static const char *const protos[] = { "tcp", "udp", "both" };
	static const char *const ways[] = { "kernel", "proxy-v2", "nat" };
	struct reading r = { .json = json_object(), .why = why };

	put_text(&r, "local", s->local);
	put_word(&r, "proto", "proto", s->proto, protos);
	put_text(&r, "name", s->name);
	put_scope(&r, s);
	put_number(&r, "public_port", s->public_port);
	put_list(&r, "allow", &s->allow, none);
	put_number(&r, "max_conn", s->max_conn);
	put_idle(&r, s->idle);
	put_rate(&r, s->rate);
	put_expiry(&r, s->expires, unix_s);
	put_word(&r, "source_ip", "source-ip", s->source_ip, ways);
	if (s->force)
		put(&r, "force", json_true());
	if (!r.bad)
		return r.json;
	json_decref(r.json);
	return NULL;
}
