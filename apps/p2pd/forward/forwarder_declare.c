/* Rules that the settings declare, and what may be a rule's target on this host. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "apps/p2pd/forward/forwarder_internal.h"
#include "core/log.h"
#include "tun/netif.h"

enum { LISTED = 128, IP6_PREFIX_BITS = 48 /* the network's, see core/network.h */ };

static struct addr network_of(const struct netif_addr *a)
{
	struct addr prefix = a->addr;

	prefix.port = 0;
	prefix.scope = 0;
	for (unsigned bit = a->bits; bit < 8 * sizeof prefix.ip; bit++)
		prefix.ip[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return prefix;
}

void forwarder_place(const struct forwarder *f, struct rule_place *out)
{
	const struct engine *e = f->config.engine;
	struct netif_addr listed[LISTED];
	int n = netif_list(listed, LISTED, f->config.tun->ifindex);

	*out = (struct rule_place) { .name = e->config.name,
				     .ip6 = e->ip6,
				     .prefix4 = e->config.ip4_prefix,
				     .prefix6 = e->ip6,
				     .bits4 = e->config.ip4_bits,
				     .bits6 = IP6_PREFIX_BITS };
	for (int i = 0; i < n && out->link_count < RULE_LINKS_MAX; i++)
		out->links[out->link_count++] = (struct forward_prefix) { .prefix = network_of(&listed[i]),
									  .bits = (uint8_t)listed[i].bits };
}

/* ---- What came of a file of rules */

void forwarder_audit_changes(struct forwarder *f, json_t *changes, const char *actor, const char *detail)
{
	static const struct {
		const char *op;
		enum audit_event event;
	} ops[] = { { "add", AUDIT_RULE_ADD }, { "set", AUDIT_RULE_SET }, { "remove", AUDIT_RULE_REMOVE } };
	json_t *change;
	size_t i;

	json_array_foreach(changes, i, change)
	{
		const char *op = json_string_value(json_object_get(change, "op"));
		const char *id = json_string_value(json_object_get(change, "forward_id"));
		const struct rule *r = id ? book_find(f->book, id) : NULL;
		for (size_t k = 0; op && r && k < sizeof ops / sizeof *ops; k++)
			if (!strcmp(ops[k].op, op))
				forwarder_audit(f, ops[k].event, AUDIT_OK, r, actor, detail);
	}
}

void forwarder_clash_text(const struct forwarder *f, const struct policy *p, enum policy_file file,
			  struct policy_error *e)
{
	const struct policy_rule *mine;
	const struct rule *other;
	char id[RULE_ID_TEXT];

	*e = (struct policy_error) { .why = "two rules would have a port in common" };
	if (!policy_clash(f->book, p, file, &mine, &other))
		return;
	e->line = mine->line;
	e->column = mine->column;
	rule_refuse(e->why, "%s has a port of '%s' (%s)%s, which this file does not name", mine->rule.name,
		    other->name, rule_id_text(other->id, id),
		    other->declared ? " of p2pd.yaml" : " of `p2pd portmap`");
}

bool forwarder_places_fit(const struct forwarder *f, const struct policy *p, struct policy_error *e)
{
	struct rule_place place;

	forwarder_place(f, &place);
	for (size_t i = 0; i < p->count; i++) {
		if (!rule_check_place(&p->rules[i].rule, &place, e->why))
			continue;
		e->line = p->rules[i].line;
		e->column = p->rules[i].column;
		return false;
	}
	return true;
}

/* ---- The settings' rules */

/* It is tried again and again: told once. */
static void refuse(struct forwarder *f, const struct policy_error *e)
{
	char text[AUDIT_TEXT_MAX];

	if (e->line)
		snprintf(text, sizeof text, "line %u: %.200s", e->line, e->why);
	else
		snprintf(text, sizeof text, "%.200s", e->why);
	if (!strcmp(f->declared_why, text))
		return;
	memcpy(f->declared_why, text, sizeof text);
	log_error("forward", "the rules of the settings are not taken over, all stay as they were: %s", text);
	forwarder_audit(f, AUDIT_POLICY_APPLY, AUDIT_REFUSED, NULL, "settings", text);
}

static void log_change(json_t *change)
{
	const char *op = json_string_value(json_object_get(change, "op"));
	const char *name = json_string_value(json_object_get(change, "name"));
	json_t *fields = json_object_get(change, "fields"), *field;
	char text[RULE_WHY] = "";
	size_t i, len = 0;

	json_array_foreach(fields, i, field) if (len < sizeof text)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i ? ", " : ": ",
					json_string_value(json_object_get(field, "field")));
	if (op && name && strcmp(op, "keep"))
		log_info("forward", "forwards: '%s' %s%s", name,
			 !strcmp(op, "add")   ? "added"
			 : !strcmp(op, "set") ? "changed"
					      : "removed",
			 text);
}

void forwarder_declare_again(struct forwarder *f)
{
	const struct policy *p = f->declared;
	struct policy_error e = { 0 };
	json_t *changes, *change;
	size_t i;

	if (!forwarder_places_fit(f, p, &e)) {
		refuse(f, &e);
		return;
	}
	int ret = policy_apply(f->book, p, POLICY_SETTINGS, false, forwarder_unix_s(), &f->rng, &changes);
	if (ret == -EEXIST)
		forwarder_clash_text(f, p, POLICY_SETTINGS, &e);
	else if (ret)
		rule_refuse(e.why, "%s", strerror(-ret));
	if (ret) {
		refuse(f, &e);
		return;
	}
	f->declared_why[0] = '\0';
	forwarder_audit_changes(f, changes, "settings", NULL);
	json_array_foreach(changes, i, change) log_change(change);
	json_decref(changes);
	forwarder_refresh(f);
}

void forwarder_declare(struct forwarder *f, const struct policy *p)
{
	f->declared = p;
	f->declared_why[0] = '\0';
	forwarder_declare_again(f);
}
