/* Rules that the settings declare, and what may be a rule's target on this host. */
#include <errno.h>
#include <jansson.h>
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
				     .prefix4 = e->config.ip4_prefix,
				     .prefix6 = e->ip6,
				     .bits4 = e->config.ip4_bits,
				     .bits6 = IP6_PREFIX_BITS };
	for (int i = 0; i < n && out->link_count < RULE_LINKS_MAX; i++)
		out->links[out->link_count++] = (struct forward_prefix) { .prefix = network_of(&listed[i]),
									  .bits = (uint8_t)listed[i].bits };
}

static bool places_fit(const struct forwarder *f, const struct policy *p)
{
	struct rule_place place;
	char why[RULE_WHY];

	forwarder_place(f, &place);
	for (size_t i = 0; i < p->count; i++)
		if (rule_check_place(&p->rules[i].rule, &place, why)) {
			log_error("forward", "line %u of the settings: %s; none of their rules is taken over",
				  p->rules[i].line, why);
			return false;
		}
	return true;
}

static void audit_change(struct forwarder *f, json_t *change)
{
	const char *op = json_string_value(json_object_get(change, "op"));
	const char *id = json_string_value(json_object_get(change, "forward_id"));
	const struct rule *r = id ? book_find(f->book, id) : NULL;

	if (r && op && strcmp(op, "keep"))
		forwarder_audit(f, strcmp(op, "add") ? AUDIT_RULE_SET : AUDIT_RULE_ADD, AUDIT_OK, r,
				"settings", NULL);
}

void forwarder_declare(struct forwarder *f, const struct policy *p)
{
	json_t *changes, *change;
	size_t i;

	if (!p->count || !places_fit(f, p))
		return;
	int ret = policy_apply(f->book, p, false, false, forwarder_unix_s(), &f->rng, &changes);
	if (ret) {
		log_error("forward", "the rules of the settings are not taken over: %s",
			  ret == -EEXIST ? "one overlaps with a rule of `p2pd portmap`" : strerror(-ret));
		return;
	}
	json_array_foreach(changes, i, change) audit_change(f, change);
	json_decref(changes);
	forwarder_refresh(f);
}
