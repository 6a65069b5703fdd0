#include "nat/portmap.h"

#include <errno.h>
#include <string.h>

#include "core/log.h"

enum {
	FAMILIES = 2,
	MINUTE_MS = 60000,
	YOUNGER_MS = 2000, /* epochs are whole seconds, and packets take their time */
};

static const uint32_t retry_min[] = { 1, 5, 15, 60 };

/* NAT-PMP knows IPv4 only. */
static bool exists(enum gateway_protocol protocol, int family)
{
	return protocol != GATEWAY_NATPMP || family == 0;
}

static int family_of(const struct gateway_job *job)
{
	return job->lan.local.family == ADDR_V6;
}

void portmap_init(struct portmap *p, uint16_t port, const uint8_t nonce[static GATEWAY_NONCE])
{
	*p = (struct portmap) { .port = port };
	memcpy(p->nonce, nonce, GATEWAY_NONCE);
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		for (int f = 0; f < FAMILIES; f++)
			p->entries[i][f].due_ms = UINT64_MAX;
}

static bool same_lan(const struct lan *a, const struct lan *b)
{
	return a->ifindex == b->ifindex && addr_equal(&a->gateway, &b->gateway) &&
	       addr_equal(&a->local, &b->local);
}

static void ask_anew(struct portmap_entry *e, uint64_t now_ms)
{
	e->failures = 0;
	if (e->busy)
		e->again = true;
	else
		e->due_ms = now_ms;
}

/* What another gateway has of ours cannot be given back from here. */
static void begin(struct portmap_entry *e, bool gateway, uint64_t now_ms)
{
	*e = (struct portmap_entry) { .busy = e->busy, .due_ms = UINT64_MAX };
	if (gateway)
		ask_anew(e, now_ms);
	else
		e->state = PORTMAP_ABSENT;
}

void portmap_on_network(struct portmap *p, const struct lan *lan4, const struct lan *lan6, uint64_t now_ms)
{
	const struct lan *lans[FAMILIES] = { lan4, lan6 };
	bool retry = now_ms >= p->retry_ms;

	if (retry)
		p->retry_ms = now_ms + MINUTE_MS;
	for (int f = 0; f < FAMILIES; f++) {
		bool same = same_lan(&p->lan[f], lans[f]);
		p->lan[f] = *lans[f];
		for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
			struct portmap_entry *e = &p->entries[i][f];
			if (!exists((enum gateway_protocol)i, f))
				continue;
			if (!same || e->state == PORTMAP_UNKNOWN)
				begin(e, p->lan[f].gateway.family, now_ms);
			else if (retry && e->state != PORTMAP_WORKING && p->lan[f].gateway.family)
				ask_anew(e, now_ms);
			if (!same)
				p->epochs[i][f] = (struct pcp_epoch) { 0 };
		}
	}
}

static bool is_due(const struct portmap *p, const struct portmap_entry *e, uint64_t now_ms)
{
	return p->releasing ? e->held : e->due_ms <= now_ms;
}

static void fill_job(const struct portmap *p, enum gateway_protocol protocol, int family,
		     struct gateway_job *out)
{
	uint16_t known = p->entries[protocol][family].external.port;

	*out = (struct gateway_job) {
		.protocol = protocol,
		.unmap = p->releasing,
		.lan = p->lan[family],
		.internal_port = p->port,
		.suggested_port = known ? known : p->port,
		.lifetime_s = PORTMAP_LEASE_S,
	};
	memcpy(out->nonce, p->nonce, sizeof out->nonce);
}

bool portmap_next(struct portmap *p, uint64_t now_ms, struct gateway_job *out)
{
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		if (p->entries[i][0].busy || p->entries[i][1].busy)
			continue;
		for (int f = 0; f < FAMILIES; f++) {
			struct portmap_entry *e = &p->entries[i][f];
			if (!is_due(p, e, now_ms))
				continue;
			fill_job(p, (enum gateway_protocol)i, f, out);
			e->busy = true;
			e->held = !p->releasing;
			e->due_ms = UINT64_MAX;
			return true;
		}
	}
	return false;
}

uint64_t portmap_deadline(const struct portmap *p)
{
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		if (p->entries[i][0].busy || p->entries[i][1].busy)
			continue;
		for (int f = 0; f < FAMILIES; f++) {
			const struct portmap_entry *e = &p->entries[i][f];
			uint64_t at = !p->releasing ? e->due_ms : e->held ? 0 : UINT64_MAX;
			due = at < due ? at : due;
		}
	}
	return due;
}

/* ---- Results */

static const char *family_name(int family)
{
	return family ? "IPv6" : "IPv4";
}

static void set_state(struct portmap_entry *e, enum portmap_state state, const struct gateway_job *job,
		      const struct gateway_result *r)
{
	const struct addr none = { 0 }, *external = state == PORTMAP_WORKING ? &r->external : &none;
	char text[ADDR_TEXT_MAX];

	if (e->state != state || !addr_equal(&e->external, external))
		log_info("portmap", "%s %s: %s -> %s%s%s", gateway_protocol_name(job->protocol),
			 family_name(family_of(job)), portmap_state_name(e->state), portmap_state_name(state),
			 state == PORTMAP_WORKING ? ", reached at " : "",
			 state == PORTMAP_WORKING ? addr_format(external, text) : "");
	e->state = state;
	e->external = *external;
	e->code = state == PORTMAP_REFUSED ? r->code : 0;
}

static void on_success(struct portmap_entry *e, const struct gateway_job *job, const struct gateway_result *r,
		       uint64_t now_ms)
{
	uint32_t lease = r->lifetime_s && r->lifetime_s < PORTMAP_LEASE_S ? r->lifetime_s : PORTMAP_LEASE_S;

	lease = lease > PORTMAP_SHORTEST_S ? lease : PORTMAP_SHORTEST_S;
	e->failures = 0;
	e->made_ms = now_ms;
	e->expires_ms = r->lifetime_s ? now_ms + r->lifetime_s * 1000ull : UINT64_MAX;
	e->due_ms = now_ms + lease * 500ull;
	set_state(e, PORTMAP_WORKING, job, r);
}

/* A mapping lives on when its renewal got lost, until the lease is over. */
static void on_failure(struct portmap_entry *e, const struct gateway_job *job, const struct gateway_result *r,
		       uint64_t now_ms)
{
	size_t n = sizeof retry_min / sizeof *retry_min;
	bool refused = r->error == -EPERM, lives = e->state == PORTMAP_WORKING && now_ms < e->expires_ms;

	e->due_ms = now_ms + (uint64_t)retry_min[e->failures < n ? e->failures : n - 1] * MINUTE_MS;
	e->failures++;
	if (refused || !lives) {
		e->held = e->held && !refused && r->error != -ENOENT;
		set_state(e, refused ? PORTMAP_REFUSED : PORTMAP_ABSENT, job, r);
	} else if (e->expires_ms < e->due_ms) {
		e->due_ms = e->expires_ms;
	}
}

void portmap_on_result(struct portmap *p, const struct gateway_job *job, const struct gateway_result *r,
		       uint64_t now_ms)
{
	int family = family_of(job);
	struct portmap_entry *e = &p->entries[job->protocol][family];

	e->busy = false;
	if (p->releasing)
		return;
	if (e->again) {
		e->again = false;
		e->due_ms = now_ms;
		return;
	}
	if (r->error)
		on_failure(e, job, r, now_ms);
	else
		on_success(e, job, r, now_ms);
	if (r->has_epoch && !pcp_epoch_note(&p->epochs[job->protocol][family], r->epoch_s, now_ms))
		portmap_on_lost(p, now_ms);
}

void portmap_on_lost(struct portmap *p, uint64_t now_ms)
{
	if (now_ms < p->lost_ms)
		return;
	p->lost_ms = now_ms + PORTMAP_LOST_MS;
	log_info("portmap", "the gateway may have forgotten the mappings: they are asked for anew");
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		for (int f = 0; f < FAMILIES; f++)
			if (exists((enum gateway_protocol)i, f) && p->lan[f].gateway.family)
				ask_anew(&p->entries[i][f], now_ms);
}

/* Did the gateway start after it granted a mapping? That may have been by another protocol, whose epochs we do not see. */
static bool is_younger(const struct portmap *p, uint32_t epoch_s, uint64_t now_ms)
{
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		const struct portmap_entry *e = &p->entries[i][0];
		if (e->state == PORTMAP_WORKING && e->made_ms + epoch_s * 1000ull + YOUNGER_MS < now_ms)
			return true;
	}
	return false;
}

void portmap_on_announcement(struct portmap *p, enum gateway_protocol protocol, uint32_t epoch_s,
			     const struct addr *external, uint64_t now_ms)
{
	const struct portmap_entry *e = &p->entries[protocol][0];
	bool lost = !pcp_epoch_note(&p->epochs[protocol][0], epoch_s, now_ms);

	if (external && e->state == PORTMAP_WORKING && !addr_same_ip(external, &e->external))
		lost = true;
	if (lost || is_younger(p, epoch_s, now_ms))
		portmap_on_lost(p, now_ms);
}

void portmap_release(struct portmap *p)
{
	p->releasing = true;
}

/* ---- Looked at */

bool portmap_double_nat(const struct addr *external, const struct addr *stun)
{
	return addr_is_private(external) ||
	       (stun->family == external->family && !addr_same_ip(external, stun));
}

static bool is_listed(const struct portmap_view *v, const struct addr *a)
{
	for (size_t i = 0; i < v->count; i++)
		if (addr_equal(&v->items[i].external, a))
			return true;
	return false;
}

void portmap_view(const struct portmap *p, const struct addr *stun, struct portmap_view *out)
{
	*out = (struct portmap_view) { .enabled = true };
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		for (int f = 0; f < FAMILIES; f++) {
			const struct portmap_entry *e = &p->entries[i][f];
			if (f == 1 && !p->lan[f].gateway.family)
				continue; /* no IPv6: says nothing of the protocol */
			if (e->state > out->state[i]) {
				out->state[i] = e->state;
				out->code[i] = e->code;
			}
			if (e->state != PORTMAP_WORKING || is_listed(out, &e->external) ||
			    out->count == PORTMAP_VIEW)
				continue;
			out->items[out->count++] = (struct portmap_mapping) {
				.external = e->external,
				.protocol = (enum gateway_protocol)i,
				.double_nat = portmap_double_nat(&e->external, stun),
			};
		}
	}
}

const char *portmap_state_name(enum portmap_state state)
{
	static const char *const names[] = { "unknown", "absent", "refused", "working" };

	return names[state];
}
