#include "apps/p2pd/forward/carry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/carry_impl.h"
#include "core/crypto.h"
#include "core/log.h"

/* Where an entry is found again; no padding. */
struct key {
	uint8_t id[FORWARD_ID];
	struct addr listen;
	uint32_t side, proto;
};

_Static_assert(sizeof(struct key) == FORWARD_ID + sizeof(struct addr) + 8, "a key is compared whole");

/* --- Life. */

struct carry *carry_create(struct loop *l, const char *tun)
{
	struct carry *c = calloc(1, sizeof *c);
	struct rng rng;

	if (!c)
		return NULL;
	rng_init_system(&rng);
	c->loop = l;
	snprintf(c->tun, sizeof c->tun, "%s", tun);
	carry_fd_begin(c);
	map_init(&c->rule_by_id, FORWARD_ID, sizeof(struct carry_rule *), &rng);
	map_init(&c->entry_by_key, sizeof(struct key), sizeof(struct carry_entry *), &rng);
	map_init(&c->flow_by_key, sizeof(void *) + sizeof(struct addr), sizeof(struct carry_flow *), &rng);
	if (carry_turn_begin(c)) {
		carry_destroy(c);
		return NULL;
	}
	return c;
}

void carry_visitors(struct carry *c, bool (*may_come)(void *arg, const struct addr *visitor), void *arg)
{
	c->may_come = may_come;
	c->may_come_arg = arg;
}

void carry_visit_reset(struct carry *c, struct carry_visit *v)
{
	if (v->entry->proto == FORWARD_TCP)
		carry_tcp_reset(c, (struct carry_tcp *)v);
	else
		carry_flow_end(c, (struct carry_flow *)v);
}

static struct key key_of(const uint8_t id[static FORWARD_ID], const struct addr *listen,
			 enum forward_side side, enum forward_proto proto)
{
	struct key key = { .listen = *listen, .side = side, .proto = proto };

	memcpy(key.id, id, FORWARD_ID);
	return key;
}

static void entry_free(struct carry_entry *e)
{
	crypto_wipe(e->secret, sizeof e->secret);
	*e->at = e->next;
	if (e->next)
		e->next->at = e->at;
	free(e);
}

static void entry_end(struct carry *c, struct carry_entry *e)
{
	struct key key = key_of(e->rule->id, &e->listen, e->side, e->proto);

	while (e->visits)
		carry_visit_reset(c, e->visits);
	carry_unlisten(c, e);
	map_remove(&c->entry_by_key, &key);
	entry_free(e);
}

static void rule_end(struct carry *c, struct carry_rule *r)
{
	while (r->entries)
		entry_end(c, r->entries);
	map_remove(&c->rule_by_id, r->id);
	carry_rule_destroy(c, r);
}

void carry_destroy(struct carry *c)
{
	if (!c)
		return;
	while (c->rules)
		rule_end(c, c->rules);
	carry_pipes_free(c);
	carry_turn_end(c);
	map_clear(&c->rule_by_id);
	map_clear(&c->entry_by_key);
	map_clear(&c->flow_by_key);
	free(c);
}

/* --- Entries. */

static struct carry_entry *find_entry(const struct carry *c, const struct forward_entry *f)
{
	struct key key = key_of(f->id, &f->listen, f->side, f->proto);
	struct carry_entry **e = map_find(&c->entry_by_key, &key);

	return e ? *e : NULL;
}

static struct carry_rule *find_rule(const struct carry *c, const uint8_t id[static FORWARD_ID])
{
	struct carry_rule **r = map_find(&c->rule_by_id, id);

	return r ? *r : NULL;
}

/* In all that its connections depend on. */
static bool is_same(const struct carry_entry *e, const struct forward_entry *f)
{
	return e->count == f->count && addr_equal(&e->target, &f->target) && e->header_in == f->header_in &&
	       e->header_out == f->header_out && addr_equal(&e->gateway4, &f->gateway4) &&
	       addr_equal(&e->gateway6, &f->gateway6);
}

static bool ports_fit(const struct addr *first, unsigned count)
{
	return count && first->family != ADDR_NONE && first->port && first->port + count - 1 <= UINT16_MAX;
}

static struct carry_rule *get_rule(struct carry *c, const uint8_t id[static FORWARD_ID])
{
	struct carry_rule *r = find_rule(c, id);

	if (r)
		return r;
	r = carry_rule_create(c, id);
	if (r && map_put(&c->rule_by_id, id, &r)) {
		carry_rule_destroy(c, r);
		return NULL;
	}
	return r;
}

static struct carry_entry *entry_create(struct carry_rule *r, const struct forward_entry *f)
{
	struct carry_entry *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	*e = (struct carry_entry) { .rule = r,
				    .next = r->entries,
				    .at = &r->entries,
				    .wanted = true,
				    .header_in = f->header_in,
				    .header_out = f->header_out,
				    .side = f->side,
				    .proto = f->proto,
				    .listen = f->listen,
				    .target = f->target,
				    .gateway4 = f->gateway4,
				    .gateway6 = f->gateway6,
				    .count = f->count };
	memcpy(e->secret, f->secret, sizeof e->secret);
	if (e->next)
		e->next->at = &e->next;
	r->entries = e;
	return e;
}

static int entry_begin(struct carry *c, struct carry_rule *r, const struct forward_entry *f,
		       char why[static CARRY_WHY])
{
	struct key key = key_of(f->id, &f->listen, f->side, f->proto);
	struct carry_entry *e = entry_create(r, f);

	if (!e)
		return -ENOMEM;
	int rc = carry_listen(c, e, why);
	if (rc == 0)
		rc = map_put(&c->entry_by_key, &key, &e);
	if (rc == 0)
		return 0;
	if (e->listeners)
		carry_unlisten(c, e);
	entry_free(e);
	return rc;
}

/* --- All of them. */

static void mark_wanted(struct carry *c, const struct forward_entry *entries, size_t count)
{
	for (struct carry_rule *r = c->rules; r; r = r->next) {
		r->wanted = false;
		for (struct carry_entry *e = r->entries; e; e = e->next)
			e->wanted = false;
	}
	for (size_t i = 0; i < count; i++) {
		struct carry_entry *e = find_entry(c, &entries[i]);
		if (e && is_same(e, &entries[i]))
			e->wanted = true;
	}
}

/* Before new ones begin: they may want the same ports. */
static void end_unwanted(struct carry *c)
{
	struct carry_entry *next;

	for (struct carry_rule *r = c->rules; r; r = r->next)
		for (struct carry_entry *e = r->entries; e; e = next) {
			next = e->next;
			if (!e->wanted)
				entry_end(c, e);
		}
}

static void end_empty_rules(struct carry *c)
{
	struct carry_rule *next;

	for (struct carry_rule *r = c->rules; r; r = next) {
		next = r->next;
		if (!r->entries)
			rule_end(c, r);
	}
}

/* What was begun with the one of before goes on. */
static void renew_secret(struct carry_entry *e, const struct forward_entry *f)
{
	if (crypto_equal(e->secret, f->secret, sizeof e->secret))
		return;
	memcpy(e->secret, f->secret, sizeof e->secret);
	for (struct carry_visit *v = e->visits; v && e->proto == FORWARD_UDP; v = v->next)
		carry_flow_renew((struct carry_flow *)v);
}

static int make(struct carry *c, const struct forward_entry *f, char why[static CARRY_WHY])
{
	struct carry_rule *r = get_rule(c, f->id);
	int rc = r ? 0 : -ENOMEM;

	if (r && !r->wanted)
		rc = carry_rule_set(c, r, f);
	if (rc)
		return rc;
	r->wanted = true;
	struct carry_entry *e = find_entry(c, f);
	if (e && is_same(e, f)) {
		renew_secret(e, f);
		return 0;
	}
	if (e || !ports_fit(&f->listen, f->count) || !ports_fit(&f->target, f->count)) {
		snprintf(why, CARRY_WHY, e ? "the same ports twice" : "no such ports");
		return e ? -EADDRINUSE : -EINVAL;
	}
	return entry_begin(c, r, f, why);
}

/* Said once: what the rules allow is more than the system does. */
static void warn_of_descriptors(struct carry *c)
{
	size_t wanted = c->fds;

	for (const struct carry_rule *r = c->rules; r; r = r->next)
		if (r->max_conn > r->stats.connections)
			wanted += 2 * (size_t)(r->max_conn - r->stats.connections);
	if (wanted > c->fds_max && !c->fds_warned)
		log_warn("carry",
			 "the rules allow connections for %zu file descriptors, but there are %zu: more will "
			 "be refused "
			 "(raise LimitNOFILE= in the service's unit, or ulimit -Hn)",
			 wanted, c->fds_max);
	c->fds_warned = wanted > c->fds_max;
}

int carry_apply(struct carry *c, const struct forward_entry *entries, size_t count, size_t *failed,
		char why[static CARRY_WHY])
{
	char text[CARRY_WHY];
	int first = 0;

	c->now_ms = loop_now_ms();
	mark_wanted(c, entries, count);
	end_unwanted(c);
	for (size_t i = 0; i < count; i++) {
		snprintf(text, sizeof text, "out of memory");
		int rc = make(c, &entries[i], text);
		if (rc == 0 || first)
			continue;
		first = rc;
		*failed = i;
		memcpy(why, text, CARRY_WHY);
	}
	end_empty_rules(c);
	warn_of_descriptors(c);
	carry_turn_arm(c);
	return first;
}

bool carry_stats(const struct carry *c, const uint8_t id[static FORWARD_ID], struct forward_stats *out)
{
	const struct carry_rule *r = find_rule(c, id);

	if (!r)
		return false;
	*out = r->stats;
	return true;
}
