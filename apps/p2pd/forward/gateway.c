#include "apps/p2pd/forward/gateway.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/gateway_internal.h"

/* A leap of the wall clock, or sleep of the machine, is not the owners' doing: leases age by at most so much in one step. */
enum { STEP_MAX_S = 2 * LEASE_RENEW_S };

struct gateway {
	int dir;
	struct gateway_config config;
	bool (*port_in_use)(void *arg, enum forward_proto proto, uint16_t port);
	void *arg;
	struct gateway_given *list;
	size_t count, cap;
	uint64_t version, seen_s; /* seen_s: the wall clock's last step; 0: none yet */
};

/* --- Life. */

static bool owner_allowed(const struct gateway_config *config, const char *name)
{
	for (unsigned i = 0; i < config->owner_count; i++)
		if (!strcmp(config->owners[i], name))
			return true;
	return config->owner_count == 0;
}

static bool has_address(const struct gateway_config *config)
{
	return config->public4.family != ADDR_NONE || config->public6.family != ADDR_NONE;
}

static bool still_allowed(const struct gateway_config *config, const struct gateway_given *g)
{
	if (!has_address(config) || !owner_allowed(config, g->owner.name))
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
			drop(g, i);
	if (g->count != before)
		keep_what_is_left(g);
	return true;
}

int gateway_open(struct gateway **out, int dir, const struct gateway_config *config,
		 bool (*port_in_use)(void *arg, enum forward_proto proto, uint16_t port), void *arg)
{
	struct gateway *g = calloc(1, sizeof *g);

	*out = NULL;
	if (!g)
		return -ENOMEM;
	g->dir = dir;
	g->port_in_use = port_in_use;
	g->arg = arg;
	int rc = gateway_given_read(dir, &g->list, &g->count);
	if (rc == -EBADMSG)
		gateway_given_put_aside(dir);
	else if (rc) {
		gateway_close(g);
		return rc;
	}
	g->cap = g->count;
	gateway_configure(g, config);
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

static uint32_t ports_of(const struct lease_request *r)
{
	uint32_t ports = 0;

	for (unsigned i = 0; i < r->range_count; i++)
		ports += r->ranges[i].count;
	return ports;
}

__attribute__((format(printf, 3, 4))) static int refuse(int error, char why[static RULE_WHY], const char *fmt,
							...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, RULE_WHY, fmt, ap);
	va_end(ap);
	return error;
}

static int check_owner(const struct gateway *g, const struct gateway_owner *owner,
		       const struct lease_request *r, uint64_t unix_s, char why[static RULE_WHY])
{
	const struct gateway_given *old = find(g, r->id);

	if (!has_address(&g->config))
		return refuse(-EACCES, why, "the gateway has no public address");
	if (!owner_allowed(&g->config, owner->name))
		return refuse(-EACCES, why, "the gateway's administrator does not let this node have ports");
	if (owner->ip4.family == ADDR_NONE && owner->ip6.family == ADDR_NONE)
		return refuse(-EACCES, why, "this node has no overlay address yet");
	if (old && memcmp(old->owner.ik, owner->ik, sizeof owner->ik) != 0)
		return refuse(-EACCES, why, "this forward_id is another node's");
	if (r->expires_at && r->expires_at <= unix_s)
		return refuse(-EACCES, why, "the rule has expired, by the gateway's clock");
	return 0;
}

static int check_quota(const struct gateway *g, const struct gateway_owner *owner,
		       const struct lease_request *r, char why[static RULE_WHY])
{
	uint32_t most = g->config.max_ports ? g->config.max_ports : GATEWAY_PORTS_DEFAULT;
	uint32_t ports = ports_of(r), leases = 1;

	for (size_t i = 0; i < g->count; i++) {
		const struct gateway_given *o = &g->list[i];
		if (memcmp(o->owner.ik, owner->ik, sizeof owner->ik) != 0 ||
		    !memcmp(o->request.id, r->id, FORWARD_ID))
			continue;
		ports += ports_of(&o->request);
		leases++;
	}
	if (ports > most)
		return refuse(-ENOSPC, why, "the gateway gives a node at most %u ports, all rules together",
			      most);
	if (leases > GATEWAY_OWNER_MAX)
		return refuse(-ENOSPC, why, "the gateway takes at most %d rules of a node",
			      GATEWAY_OWNER_MAX);
	if (g->count >= GATEWAY_LEASES_MAX && !find(g, r->id))
		return refuse(-ENOSPC, why, "the gateway has %d rules and takes no more", GATEWAY_LEASES_MAX);
	return 0;
}

static const struct addr *public_of(const struct gateway *g, enum addr_family family)
{
	return family == ADDR_V4 ? &g->config.public4 : &g->config.public6;
}

static const struct addr *overlay_of(const struct gateway_owner *o, enum addr_family family)
{
	return family == ADDR_V4 ? &o->ip4 : &o->ip6;
}

static void choose_mode(const struct gateway *g, struct gateway_given *n, const char *kernel_why)
{
	enum addr_family family = n->request.family;
	int version = family == ADDR_V4 ? 4 : 6;

	if (!n->request.kernel)
		return; /* the owner knows why */
	if (*kernel_why)
		snprintf(n->mode_why, sizeof n->mode_why, "gateway: %s", kernel_why);
	else if (public_of(g, family)->family == ADDR_NONE)
		snprintf(n->mode_why, sizeof n->mode_why,
			 "the service is on IPv%d, and the gateway has no public IPv%d address", version,
			 version);
	else if (overlay_of(&n->owner, family)->family == ADDR_NONE)
		snprintf(n->mode_why, sizeof n->mode_why, "this node has no overlay IPv%d address", version);
	else
		n->kernel = true;
}

static uint64_t least(uint64_t asked, uint64_t most)
{
	return most && (asked == 0 || asked > most) ? most : asked;
}

static void door_url(const struct gateway *g, char *out, size_t cap)
{
	struct addr at = g->config.public4.family ? g->config.public4 : g->config.public6;
	uint16_t port = g->config.door_port ? g->config.door_port : GATEWAY_DOOR_PORT;
	char text[ADDR_TEXT_MAX];

	at.port = port;
	if (*g->config.door_name)
		snprintf(out, cap, "https://%s:%u", g->config.door_name, port);
	else
		snprintf(out, cap, "https://%s", addr_format(&at, text));
}

static void grant_of(const struct gateway *g, const struct gateway_given *n, struct lease_grant *grant)
{
	*grant = (struct lease_grant) { .public4 = g->config.public4,
					.public6 = g->config.public6,
					.kernel = n->kernel,
					.rate = least(n->request.rate, g->config.max_rate),
					.max_conn = (uint32_t)least(n->request.max_conn,
								    g->config.max_conn) };
	grant->public4.port = grant->public6.port = 0;
	memcpy(grant->ports, n->ports, sizeof grant->ports);
	memcpy(grant->mode_why, n->mode_why, sizeof grant->mode_why);
	if (n->request.tokens)
		door_url(g, grant->door, sizeof grant->door);
}

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
	const struct gateway_ports ports = { &g->config, g->list, g->count, g->port_in_use, g->arg };
	struct gateway_given n = { .owner = *owner, .request = *r, .renewed_s = unix_s };
	struct gateway_given *old = find(g, r->id);
	int rc;

	memset(conflict, 0, FORWARD_ID);
	if ((rc = check_owner(g, owner, r, unix_s, why)) || (rc = check_quota(g, owner, r, why)) ||
	    (rc = gateway_ports_choose(&ports, r, n.ports, conflict, why)))
		return rc;
	choose_mode(g, &n, kernel_why);
	if (old && gateway_given_equal(old, &n)) {
		old->renewed_s = unix_s;
	} else {
		rc = put(g, &n);
		if (rc)
			return refuse(rc, why, "the gateway cannot keep it: %s", strerror(-rc));
	}
	grant_of(g, &n, grant);
	return 0;
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

int gateway_admit(struct gateway *g, const uint8_t id[static FORWARD_ID], const struct addr *visitor,
		  uint64_t until_unix_s)
{
	struct gateway_given *old = find(g, id), n;
	unsigned i = 0;

	if (!old || !old->request.tokens)
		return -ENOENT;
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
		drop(g, i);
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

static bool is_allowed(const struct forward_entry *e, const struct addr *visitor)
{
	for (unsigned i = 0; i < e->allow_count; i++)
		if (e->allow[i].prefix.family == visitor->family &&
		    addr_in_prefix(visitor, &e->allow[i].prefix, e->allow[i].bits))
			return true;
	return false;
}

static void set_allow(struct forward_entry *e, const struct gateway_given *n)
{
	e->restricted = n->request.restricted;
	e->allow_count = n->request.allow_count;
	memcpy(e->allow, n->request.allow, sizeof e->allow);
	for (unsigned i = 0; i < n->visitor_count && e->restricted; i++) {
		const struct addr *ip = &n->visitors[i].ip;
		if (e->allow_count < FORWARD_PREFIXES_MAX && !is_allowed(e, ip))
			e->allow[e->allow_count++] =
				(struct forward_prefix) { *ip, ip->family == ADDR_V4 ? 32 : 128 };
	}
}

/* What an entry of the lease has whatever its ports. */
static struct forward_entry entry_of(const struct gateway *g, const struct gateway_given *n)
{
	struct forward_entry e = { .side = FORWARD_GATEWAY,
				   .paused = n->request.paused,
				   .max_conn = (uint32_t)least(n->request.max_conn, g->config.max_conn),
				   .idle_s = n->request.idle_s,
				   .rate = least(n->request.rate, g->config.max_rate),
				   .header_out = true };

	memcpy(e.id, n->request.id, sizeof e.id);
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
