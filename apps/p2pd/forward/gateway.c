#include "apps/p2pd/forward/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/gateway_internal.h"

/* A leap of the wall clock, or sleep of the machine, is not the owners' doing: leases age by at most so much in one step. */
enum { STEP_MAX_S = 2 * LEASE_RENEW_S };

/* --- Life. */

static bool still_allowed(const struct gateway_config *config, const struct gateway_given *g)
{
	if (!gateway_has_address(config) || !gateway_owner_allowed(config, &g->owner))
		return false;
	for (unsigned i = 0; i < g->request.range_count; i++)
		if (!gateway_ports_allowed(config, g->ports[i], g->request.ranges[i].count))
			return false;
	return true;
}

static void drop(struct gateway *g, size_t i)
{
	memmove(&g->list[i], &g->list[i + 1], (g->count - i - 1) * sizeof *g->list);
	g->count--;
	g->version++;
}

static void end(struct gateway *g, size_t i, const char *why)
{
	g->host.ended(g->host.arg, &g->list[i].request, why);
	drop(g, i);
}

/* What is gone here must not be on disk for ever, but stays gone if it cannot be taken off: a restart ends it again. */
static void keep_what_is_left(struct gateway *g)
{
	gateway_given_write(g->dir, g->list, g->count);
}

bool gateway_configure(struct gateway *g, const struct gateway_config *config)
{
	size_t before = g->count;

	g->config = *config;
	g->version++;
	for (size_t i = g->count; i-- > 0;)
		if (!still_allowed(config, &g->list[i]))
			end(g, i, "the gateway's settings do not allow it any more");
	if (g->count != before)
		keep_what_is_left(g);
	return true;
}

/* Those of before count as those that are new: what does not fit any more is carried by sockets. */
static void review_modes(struct gateway *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->list[i].kernel)
			gateway_choose_mode(g, NULL, &g->list[i], "");
}

int gateway_open(struct gateway **out, int dir, const struct gateway_config *config,
		 const struct gateway_host *host)
{
	struct gateway *g = calloc(1, sizeof *g);

	*out = NULL;
	if (!g)
		return -ENOMEM;
	g->dir = dir;
	g->host = *host;
	int rc = gateway_given_read(dir, &g->list, &g->count);
	if (rc == -EBADMSG)
		gateway_given_put_aside(dir);
	else if (rc) {
		gateway_close(g);
		return rc;
	}
	g->cap = g->count;
	gateway_configure(g, config);
	review_modes(g);
	*out = g;
	return 0;
}

void gateway_close(struct gateway *g)
{
	if (!g)
		return;
	free(g->list);
	free(g);
}

static struct gateway_given *find(const struct gateway *g, const uint8_t id[static FORWARD_ID])
{
	for (size_t i = 0; i < g->count; i++)
		if (!memcmp(g->list[i].request.id, id, FORWARD_ID))
			return &g->list[i];
	return NULL;
}

/* --- Giving. */

static int make_room(struct gateway *g)
{
	size_t cap = g->cap ? g->cap * 2 : 8;

	if (g->count < g->cap)
		return 0;
	struct gateway_given *list = realloc(g->list, cap * sizeof *list);
	if (!list)
		return -ENOMEM;
	g->list = list;
	g->cap = cap;
	return 0;
}

/* In place of the one of its id. On disk when it returns 0, else nothing has changed. */
static int put(struct gateway *g, const struct gateway_given *n)
{
	struct gateway_given before, *at = find(g, n->request.id);
	bool is_new = !at;

	int rc = is_new ? make_room(g) : 0;
	if (rc)
		return rc;
	if (is_new)
		at = &g->list[g->count++];
	before = *at;
	*at = *n;
	rc = gateway_given_write(g->dir, g->list, g->count);
	if (rc && is_new)
		g->count--;
	else if (rc)
		*at = before;
	else
		g->version++;
	return rc;
}

int gateway_lease(struct gateway *g, const struct gateway_owner *owner, const struct lease_request *r,
		  const char *kernel_why, uint64_t unix_s, struct lease_grant *grant,
		  uint8_t conflict[static FORWARD_ID], char why[static RULE_WHY])
{
	const struct gateway_ports ports = { &g->config, g->list, g->count, &g->host };
	struct gateway_given n = { .owner = *owner, .request = *r, .renewed_s = unix_s };
	struct gateway_given *old = find(g, r->id);
	int rc;

	memset(conflict, 0, FORWARD_ID);
	if ((rc = gateway_check(g, old, owner, r, unix_s, conflict, why)) ||
	    (rc = gateway_ports_choose(&ports, r, n.ports, conflict, why)))
		return rc;
	gateway_choose_mode(g, old, &n, kernel_why);
	if (old && gateway_given_equal(old, &n)) {
		old->renewed_s = unix_s;
	} else {
		rc = put(g, &n);
		if (rc) {
			snprintf(why, RULE_WHY, "the gateway cannot keep it: %s", strerror(-rc));
			return rc;
		}
	}
	gateway_grant(g, &n, grant);
	return 0;
}

void gateway_kernel_refused(struct gateway *g, const uint8_t id[static FORWARD_ID], const char *why)
{
	struct gateway_given *n = find(g, id);

	if (!n || !n->kernel)
		return;
	snprintf(n->kernel_error, sizeof n->kernel_error, "%s", why);
	snprintf(n->mode_why, sizeof n->mode_why, "gateway: %s", why);
	n->kernel = false;
	g->version++;
}

bool gateway_granted(const struct gateway *g, const uint8_t id[static FORWARD_ID], struct lease_grant *grant)
{
	const struct gateway_given *n = find(g, id);

	if (n)
		gateway_grant(g, n, grant);
	return n;
}

int gateway_release(struct gateway *g, const uint8_t owner[static 32], const uint8_t id[static FORWARD_ID])
{
	struct gateway_given *n = find(g, id);

	if (!n || memcmp(n->owner.ik, owner, sizeof n->owner.ik) != 0)
		return -ENOENT;
	drop(g, (size_t)(n - g->list));
	keep_what_is_left(g);
	return 0;
}

static bool is_allowed(const struct forward_prefix *allow, unsigned count, const struct addr *visitor)
{
	for (unsigned i = 0; i < count; i++)
		if (allow[i].prefix.family == visitor->family &&
		    addr_in_prefix(visitor, &allow[i].prefix, allow[i].bits))
			return true;
	return false;
}

int gateway_admit(struct gateway *g, const uint8_t id[static FORWARD_ID], const struct addr *visitor,
		  uint64_t until_unix_s)
{
	struct gateway_given *old = find(g, id), n;
	unsigned i = 0;

	if (!old || !old->request.tokens)
		return -ENOENT;
	if (is_allowed(old->request.allow, old->request.allow_count, visitor))
		return 0; /* the owner's word on him was faster, and he goes when the owner says so */
	n = *old;
	while (i < n.visitor_count && !addr_same_ip(&n.visitors[i].ip, visitor))
		i++;
	if (i == n.visitor_count && n.request.allow_count + n.visitor_count++ >= FORWARD_PREFIXES_MAX)
		return -ENOSPC;
	n.visitors[i] = (struct gateway_visitor) { *visitor, until_unix_s };
	n.visitors[i].ip.port = 0;
	return put(g, &n);
}

/* --- Ending. */

static uint64_t ends_at(const struct gateway_given *n)
{
	uint64_t at = n->renewed_s + LEASE_TTL_S;

	return n->request.expires_at && n->request.expires_at < at ? n->request.expires_at : at;
}

static void follow_clock(struct gateway *g, uint64_t unix_s)
{
	uint64_t from = g->seen_s ? g->seen_s : unix_s;
	uint64_t leap = unix_s > from + STEP_MAX_S ? unix_s - from : 0;

	g->seen_s = unix_s;
	for (size_t i = 0; i < g->count; i++) {
		struct gateway_given *n = &g->list[i];
		if (n->renewed_s == 0 || n->renewed_s > unix_s)
			n->renewed_s = unix_s;
		else if (n->renewed_s <= from)
			n->renewed_s += leap;
	}
}

static bool end_visits(struct gateway_given *n, uint64_t unix_s)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n->visitor_count; i++)
		if (n->visitors[i].until > unix_s)
			n->visitors[left++] = n->visitors[i];
	bool ended = left != n->visitor_count;
	n->visitor_count = left;
	return ended;
}

bool gateway_tick(struct gateway *g, uint64_t unix_s)
{
	bool changed = false;

	follow_clock(g, unix_s);
	for (size_t i = g->count; i-- > 0;) {
		changed |= end_visits(&g->list[i], unix_s);
		if (ends_at(&g->list[i]) > unix_s)
			continue;
		end(g, i, "ran out");
		changed = true;
	}
	if (changed) {
		g->version++;
		keep_what_is_left(g);
	}
	return changed;
}

uint64_t gateway_next_unix_s(const struct gateway *g)
{
	uint64_t next = g->count ? g->seen_s + LEASE_RENEW_S : UINT64_MAX;

	for (size_t i = 0; i < g->count; i++) {
		const struct gateway_given *n = &g->list[i];
		if (ends_at(n) < next)
			next = ends_at(n);
		for (unsigned k = 0; k < n->visitor_count; k++)
			if (n->visitors[k].until < next)
				next = n->visitors[k].until;
	}
	return next;
}

/* --- What follows from it. */

uint64_t gateway_version(const struct gateway *g)
{
	return g->version;
}

static const struct addr *public_of(const struct gateway *g, enum addr_family family)
{
	return family == ADDR_V4 ? &g->config.public4 : &g->config.public6;
}

static const struct addr *overlay_of(const struct gateway_owner *o, enum addr_family family)
{
	return family == ADDR_V4 ? &o->ip4 : &o->ip6;
}

static void set_allow(struct forward_entry *e, const struct gateway_given *n)
{
	e->restricted = n->request.restricted;
	e->allow_count = n->request.allow_count;
	memcpy(e->allow, n->request.allow, sizeof e->allow);
	for (unsigned i = 0; i < n->visitor_count && e->restricted; i++) {
		const struct addr *ip = &n->visitors[i].ip;
		if (e->allow_count < FORWARD_PREFIXES_MAX && !is_allowed(e->allow, e->allow_count, ip))
			e->allow[e->allow_count++] =
				(struct forward_prefix) { *ip, ip->family == ADDR_V4 ? 32 : 128 };
	}
}

/* What an entry of the lease has whatever its ports. */
static struct forward_entry entry_of(const struct gateway *g, const struct gateway_given *n)
{
	struct forward_entry e = { .side = FORWARD_GATEWAY,
				   .paused = n->request.paused,
				   .max_conn = (uint32_t)gateway_least(n->request.max_conn,
								       g->config.max_conn),
				   .idle_s = n->request.idle_s,
				   .rate = gateway_least(n->request.rate, g->config.max_rate),
				   .header_out = true };

	memcpy(e.id, n->request.id, sizeof e.id);
	memcpy(&e.owner, n->owner.ik, sizeof e.owner);
	set_allow(&e, n);
	return e;
}

struct entry_list {
	struct forward_entry *out;
	size_t cap, count;
};

static void add_ranges(struct entry_list *list, struct forward_entry *e, const struct gateway_given *n)
{
	for (unsigned i = 0; i < n->request.range_count; i++) {
		e->listen.port = n->ports[i];
		e->target.port = n->request.ranges[i].tunnel;
		e->count = n->request.ranges[i].count;
		if (list->count < list->cap)
			list->out[list->count] = *e;
		list->count++;
	}
}

static void add_family(struct entry_list *list, const struct gateway *g, const struct gateway_given *n,
		       enum addr_family family)
{
	struct forward_entry e = entry_of(g, n);
	enum addr_family other = family == ADDR_V4 ? ADDR_V6 : ADDR_V4;

	if (!n->kernel || n->request.family != family)
		memcpy(e.secret, n->request.secret, sizeof e.secret);
	e.listen = *public_of(g, family);
	e.target = *overlay_of(&n->owner, family);
	if (e.target.family == ADDR_NONE)
		e.target = *overlay_of(&n->owner, other);
	e.proto = FORWARD_TCP;
	if (n->request.tcp)
		add_ranges(list, &e, n);
	e.proto = FORWARD_UDP;
	if (n->request.udp)
		add_ranges(list, &e, n);
}

static size_t entries(const struct gateway *g, bool kernel, struct forward_entry *out, size_t cap)
{
	static const enum addr_family families[] = { ADDR_V4, ADDR_V6 };
	struct entry_list list = { out, cap, 0 };

	for (size_t i = 0; i < g->count; i++)
		for (unsigned f = 0; f < 2; f++) {
			const struct gateway_given *n = &g->list[i];
			bool by_kernel = n->kernel && n->request.family == families[f];
			if (public_of(g, families[f])->family != ADDR_NONE && by_kernel == kernel)
				add_family(&list, g, n, families[f]);
		}
	return list.count;
}

size_t gateway_entries(const struct gateway *g, struct forward_entry *kernel, size_t cap)
{
	return entries(g, true, kernel, cap);
}

size_t gateway_user_entries(const struct gateway *g, struct forward_entry *user, size_t cap)
{
	return entries(g, false, user, cap);
}

size_t gateway_passes(const struct gateway *g, struct pass_entry *out, size_t cap)
{
	static const enum forward_proto protos[] = { FORWARD_TCP, FORWARD_UDP };
	size_t count = 0;

	for (size_t i = 0; i < g->count; i++) {
		const struct gateway_given *n = &g->list[i];
		for (unsigned k = 0; n->kernel && k < n->request.range_count * 2; k++) {
			struct pass_entry e = { .side = FORWARD_GATEWAY,
						.proto = protos[k % 2],
						.first = n->request.ranges[k / 2].tunnel,
						.count = n->request.ranges[k / 2].count };
			if (!(e.proto == FORWARD_TCP ? n->request.tcp : n->request.udp))
				continue;
			memcpy(e.peer, n->owner.ik, sizeof e.peer);
			if (count < cap)
				out[count] = e;
			count++;
		}
	}
	return count;
}

const struct gateway_owner *gateway_owner(const struct gateway *g, const uint8_t id[static FORWARD_ID])
{
	const struct gateway_given *n = find(g, id);

	return n ? &n->owner : NULL;
}

bool gateway_takes_tokens(const struct gateway *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->list[i].request.tokens)
			return true;
	return false;
}
