#include "tests/sim/sim_stun.h"

#include <assert.h>
#include <string.h>

enum { SOCKETS = 64 };

struct addr sim_stun_addr(const char *text)
{
	struct addr a = { 0 };
	int ret = addr_parse(&a, text, 0);

	assert(ret == 0);
	(void)ret;
	return a;
}

void sim_stun_init(struct sim_stun *w, enum sim_nat_kind kind, uint64_t seed)
{
	struct addr public_ip = sim_stun_addr(SIM_STUN_PUBLIC);
	bool translates = kind != NAT_NONE && kind != NAT_FIREWALL;

	*w = (struct sim_stun) { .now_ms = SIM_STUN_START_MS };
	w->inside = sim_stun_addr(translates ? "192.168.1.5:40000" : SIM_STUN_PUBLIC ":40000");
	rng_init_seed(&w->rng, seed);
	sim_nat_init(&w->nat, kind, &public_ip, &w->rng);
}

void sim_stun_free(struct sim_stun *w)
{
	sim_nat_free(&w->nat);
}

struct sim_stun_server *sim_stun_add(struct sim_stun *w, const char *const *at)
{
	struct sim_stun_server *s = &w->servers[w->server_count++];

	assert(w->server_count <= SIM_STUN_SERVERS);
	for (; *at; at++)
		s->at[s->count++] = sim_stun_addr(*at);
	stun_server_init(&s->stun, s->at, s->count, &w->rng);
	return s;
}

static void fly(struct sim_stun *w, const struct addr *from, const struct addr *to, const uint8_t *msg,
		size_t len, uint64_t delay_ms)
{
	struct sim_stun_packet *p = &w->flying[w->flying_count];

	if (rng_below(&w->rng, 100) < w->loss_percent)
		return;
	assert(w->flying_count < SIM_STUN_PACKETS);
	w->flying_count++;
	*p = (struct sim_stun_packet) { .at_ms = w->now_ms + delay_ms, .from = *from, .to = *to, .len = len };
	memcpy(p->msg, msg, len);
}

/* ---- servers */

static struct sim_stun_server *server_at(struct sim_stun *w, const struct addr *a)
{
	for (size_t i = 0; i < w->server_count; i++)
		for (size_t j = 0; j < w->servers[i].count; j++)
			if (addr_equal(&w->servers[i].at[j], a))
				return &w->servers[i];
	return NULL;
}

static size_t refuse(const struct stun_msg *request, unsigned code, uint8_t *out)
{
	struct stun_msg m = { .cls = STUN_ERROR, .method = STUN_BINDING, .error_code = (uint16_t)code };

	memcpy(m.txid, request->txid, sizeof m.txid);
	return (size_t)stun_encode(&m, false, out, STUN_MAX);
}

static size_t lie(const struct sim_stun_server *s, uint8_t *out, size_t len)
{
	struct stun_msg m;

	if ((!s->says_other.family && !s->says_mapped.family) || stun_decode(&m, out, len))
		return len;
	if (s->says_other.family)
		m.other_address = s->says_other;
	if (s->says_mapped.family)
		m.mapped = s->says_mapped;
	return (size_t)stun_encode(&m, false, out, STUN_MAX);
}

/* The answer by the server's quirk; 0 for none. `route` becomes the answer's. */
static size_t answer(struct sim_stun *w, struct sim_stun_server *s, const struct sim_stun_packet *p,
		     struct stun_route *route, uint8_t *out)
{
	uint8_t plain[STUN_MAX];
	struct stun_msg m;

	if (s->quirk == SIM_STUN_DEAD || stun_decode(&m, p->msg, p->len))
		return 0;
	if (s->quirk == SIM_STUN_ERRORS)
		return refuse(&m, 500, out);
	if (s->quirk == SIM_STUN_HONEST || (!m.change_request && !m.response_port))
		return stun_server_reply(&s->stun, p->msg, p->len, route, w->now_ms, out);
	if (s->quirk == SIM_STUN_DROPS)
		return 0;
	if (s->quirk == SIM_STUN_REFUSES)
		return refuse(&m, 420, out);
	m.change_request = m.response_port = 0;
	size_t len = (size_t)stun_encode(&m, false, plain, sizeof plain);
	return stun_server_reply(&s->stun, plain, len, route, w->now_ms, out);
}

static void serve(struct sim_stun *w, struct sim_stun_server *s, const struct sim_stun_packet *p)
{
	struct stun_route route = { p->to, p->from };
	uint8_t out[STUN_PADDED_MAX];
	size_t len = lie(s, out, answer(w, s, p, &route, out));

	if (len)
		fly(w, &route.server, &route.client, out, len, SIM_STUN_ONE_WAY_MS);
}

/* ---- the host */

static bool is_natted(const struct sim_stun *w)
{
	return w->nat.kind != NAT_NONE;
}

void sim_stun_send(struct sim_stun *w, unsigned socket, const struct addr *to, const uint8_t *msg, size_t len)
{
	struct addr inner = w->inside, outer;
	bool hairpin = is_natted(w) && sim_nat_owns(&w->nat, to);

	inner.port = (uint16_t)(inner.port + socket);
	outer = inner;
	w->sent++;
	w->sent_astray += !hairpin && !server_at(w, to);
	if (is_natted(w) && !sim_nat_out(&w->nat, &inner, to, w->now_ms, &outer))
		return;
	if (!hairpin || w->nat.rules.hairpin)
		fly(w, &outer, to, msg, len, hairpin ? 1 : SIM_STUN_ONE_WAY_MS);
}

/* True if it is for a socket of the host, and got in. */
static bool arrive(struct sim_stun *w, struct sim_stun_packet *p)
{
	struct sim_stun_server *s = server_at(w, &p->to);
	struct addr outer = p->to;

	if (s) {
		serve(w, s, p);
		return false;
	}
	if (is_natted(w) && !sim_nat_in(&w->nat, &outer, &p->from, w->now_ms, &p->to))
		return false;
	p->socket = (unsigned)(p->to.port - w->inside.port);
	return addr_same_ip(&p->to, &w->inside) && p->socket < SOCKETS;
}

static bool take_next(struct sim_stun *w, uint64_t until_ms, struct sim_stun_packet *out)
{
	size_t next = SIM_STUN_PACKETS;

	for (size_t i = 0; i < w->flying_count; i++)
		if (w->flying[i].at_ms <= until_ms &&
		    (next == SIM_STUN_PACKETS || w->flying[i].at_ms < w->flying[next].at_ms))
			next = i;
	if (next == SIM_STUN_PACKETS)
		return false;
	*out = w->flying[next];
	w->flying_count--;
	memmove(&w->flying[next], &w->flying[next + 1], (w->flying_count - next) * sizeof w->flying[0]);
	return true;
}

bool sim_stun_receive(struct sim_stun *w, uint64_t until_ms, struct sim_stun_packet *in)
{
	while (take_next(w, until_ms, in)) {
		w->now_ms = in->at_ms;
		if (arrive(w, in))
			return true;
	}
	w->now_ms = until_ms;
	return false;
}
