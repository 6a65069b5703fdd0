/* What a person sees of a rule. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *forwarder_state_name(enum forwarder_state s)
{
	static const char *const names[] = { "active", "pending", "paused", "expired", "failed", "removed" };

	return names[s];
}

/* ---- Addresses */

static void add_address(struct forwarder_view *v, const char *host, uint16_t first, unsigned count,
			const char *proto)
{
	if (v->address_count == FORWARDER_ADDRESSES)
		return;
	char *out = v->addresses[v->address_count];
	int len = count == 1 ? snprintf(out, FORWARDER_ADDRESS, "%s:%u/%s", host, first, proto)
			     : snprintf(out, FORWARDER_ADDRESS, "%s:%u-%u/%s", host, first, first + count - 1,
					proto);
	if (len < FORWARDER_ADDRESS) /* a long name is left out, the addresses are there */
		v->address_count++;
}

static void add_ranges(struct forwarder_view *v, const struct rule *r, const char *host,
		       const uint16_t ports[static RULE_RANGES_MAX])
{
	for (unsigned i = 0; i < r->range_count; i++) {
		if (r->tcp)
			add_address(v, host, ports[i], r->ranges[i].count, "tcp");
		if (r->udp)
			add_address(v, host, ports[i], r->ranges[i].count, "udp");
	}
}

static void add_ip(struct forwarder_view *v, const struct rule *r, const struct addr *ip,
		   const uint16_t ports[static RULE_RANGES_MAX])
{
	char text[ADDR_TEXT_MAX], host[ADDR_TEXT_MAX + 2];

	if (!ip->family)
		return;
	addr_format_ip(ip, text);
	snprintf(host, sizeof host, ip->family == ADDR_V6 ? "[%s]" : "%s", text);
	add_ranges(v, r, host, ports);
}

static void look_at_addresses(const struct forwarder_item *it, struct forwarder_view *v)
{
	const struct engine *e = it->f->config.engine;
	const struct lease_grant *g = &it->lease.grant;
	const struct rule *r = &it->rule;
	uint16_t ports[RULE_RANGES_MAX];

	if (r->scope == RULE_PUBLIC && it->lease.held) {
		if (*r->domain)
			add_ranges(v, r, r->domain, g->ports);
		add_ip(v, r, &g->public4, g->ports);
		add_ip(v, r, &g->public6, g->ports);
		memcpy(v->door, g->door, sizeof v->door);
	}
	if (r->scope == RULE_PUBLIC)
		return;
	for (unsigned i = 0; i < r->range_count; i++)
		ports[i] = rule_public_port(r, i);
	add_ip(v, r, &e->ip4, ports);
	add_ip(v, r, &e->ip6, ports);
}

/* ---- State */

__attribute__((format(printf, 3, 4))) static void become(struct forwarder_view *v, enum forwarder_state state,
							 const char *fmt, ...)
{
	va_list ap;

	v->state = state;
	va_start(ap, fmt);
	vsnprintf(v->why, sizeof v->why, fmt, ap);
	va_end(ap);
}

static bool refused(const struct forwarder_lease *l)
{
	return l->error && !l->failures && !l->outdated && !l->call;
}

static void look_at_lease(const struct forwarder_item *it, struct forwarder_view *v)
{
	const struct forwarder_lease *l = &it->lease;
	const struct engine_peer *ep = forwarder_peer_by_key(it->f, l->gateway.ik);
	char id[RULE_ID_TEXT];

	if (refused(l) && !crypto_is_zero(l->conflict, sizeof l->conflict)) {
		become(v, FORWARDER_FAILED, "the gateway %s refuses: %.120s (%s)", it->rule.via, l->why,
		       rule_id_text(l->conflict, id));
		memcpy(v->conflict, l->conflict, sizeof v->conflict);
	} else if (refused(l))
		become(v, FORWARDER_FAILED, "the gateway %s refuses: %s", it->rule.via, l->why);
	else if (l->held && !l->outdated && !l->failures)
		return;
	else if (ep && !ep->online && l->failures)
		become(v, FORWARDER_PENDING, "the gateway %s is offline", it->rule.via);
	else if (l->failures)
		become(v, FORWARDER_PENDING, "the gateway %s does not answer: %s", it->rule.via, l->why);
	else if (!l->held)
		become(v, FORWARDER_PENDING, "the gateway %s is being asked", it->rule.via);
}

static void look_at_state(const struct forwarder_item *it, struct forwarder_view *v)
{
	const struct forwarder *f = it->f;

	if (forwarder_expired(&it->rule))
		become(v, FORWARDER_EXPIRED, "its time is over: give it another with `p2pd portmap set`");
	else if (it->user_error)
		become(v, FORWARDER_FAILED, "%s", it->user_why);
	else if (it->rule.paused)
		become(v, FORWARDER_PAUSED, "%s", "");
	else if (!forwarder_ready(f))
		become(v, FORWARDER_PENDING, "this node has not joined its network yet");
	else if (!it->planned)
		become(v, FORWARDER_PENDING, "%s", *it->why ? it->why : "it is being brought into effect");
	else if (it->rule.scope == RULE_PUBLIC)
		look_at_lease(it, v);
	else if (it->kernel && !forwarder_kernel_done(f, f->kernel.wanted_number))
		become(v, FORWARDER_PENDING, "it is being brought into effect");
	else
		become(v, FORWARDER_ACTIVE, "%s", it->why); /* of `to`, who is not there */
}

bool forwarder_settled(const struct forwarder_item *it)
{
	const struct forwarder *f = it->f;
	const struct forwarder_lease *l = &it->lease;

	if (f->refresh_wanted)
		return false;
	if (!forwarder_ready(f) || forwarder_expired(&it->rule) || it->user_error)
		return true;
	if (!it->planned)
		return *it->why;
	if (!forwarder_kernel_done(f, f->kernel.wanted_number))
		return false;
	return it->rule.scope != RULE_PUBLIC || l->failures || refused(l) ||
	       (l->held && !l->outdated && !l->call);
}

bool forwarder_look(const struct forwarder *f, const uint8_t id[static FORWARD_ID],
		    struct forwarder_view *out)
{
	const struct forwarder_item *it = forwarder_item(f, id);
	const struct rule *r = book_by_id(f->book, id);

	memset(out, 0, sizeof *out);
	if (!r)
		return false;
	if (!it) {
		become(out, r->removed_at ? FORWARDER_REMOVED : FORWARDER_PENDING, "%s",
		       r->removed_at && r->declared
			       ? "p2pd.yaml declares it: it comes back at the next reload "
				 "or start, unless it is taken out there"
			       : "");
		forwarder_counts_kept(f, id, &out->stats);
		return true;
	}
	out->kernel = it->kernel;
	memcpy(out->mode_why, it->mode_why, sizeof out->mode_why);
	out->stats = forwarder_counted(it);
	look_at_state(it, out);
	look_at_addresses(it, out);
	return true;
}
