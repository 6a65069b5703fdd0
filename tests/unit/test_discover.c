#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/discover.h"
#include "nat/stun_server.h"
#include "tests/sim/sim_nat.h"

/* One host, its NAT, and STUN servers 25 ms away, in virtual time. The servers are ours, or what is made of them. */

enum { ONE_WAY_MS = 25, PACKETS = 256, SERVERS = 3, LIMIT_MS = 2500, START_MS = 1000000 };

#define S1    "198.51.100.1:3478"
#define S1_P  "198.51.100.1:3479"
#define S2    "198.51.100.2:3478"
#define S2_P  "198.51.100.2:3479"
#define OTHER "192.0.2.77:3478"
#define OUT   "203.0.113.9"

enum quirk {
	NO_QUIRK,
	IGNORES_CHANGE, /* answers from where it was asked */
	DROPS_CHANGE,
	REFUSES, /* everything but plain Bindings: 420 */
	ERRORS,	 /* everything: 500 */
	DEAD,
};

struct server {
	struct stun_server stun;
	struct addr at[4];
	size_t count;
	enum quirk quirk;
	struct addr says_other; /* in place of what is true */
	struct addr says_mapped;
};

struct packet {
	uint64_t at_ms;
	struct addr from, to;
	size_t len;
	uint8_t msg[STUN_PADDED_MAX];
};

struct world {
	struct rng rng;
	uint64_t now_ms;
	bool natted;
	struct sim_nat nat;
	struct addr inside; /* port of socket 0 */
	struct server servers[SERVERS];
	size_t server_count;
	unsigned loss_percent;
	struct packet flying[PACKETS];
	size_t flying_count;
	unsigned sent, sent_to_strangers; /* where no server is */
	uint64_t mapping_known_ms;
	struct discover d;
};

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* ---- the world */

static struct world *make_world(enum sim_nat_kind kind, uint64_t seed)
{
	static struct world w;
	struct addr out = addr_of(OUT), inside = addr_of("192.168.1.5:40000");

	sim_nat_free(&w.nat);
	w = (struct world) { .now_ms = START_MS, .inside = inside, .natted = kind != NAT_NONE };
	rng_init_seed(&w.rng, seed);
	sim_nat_init(&w.nat, kind, &out, &w.rng);
	if (kind == NAT_NONE || kind == NAT_FIREWALL)
		w.inside = addr_of("203.0.113.9:40000");
	return &w;
}

static struct server *add_server(struct world *w, const char *const *at)
{
	struct server *s = &w->servers[w->server_count++];

	for (; *at; at++)
		s->at[s->count++] = addr_of(*at);
	stun_server_init(&s->stun, s->at, s->count, &w->rng);
	return s;
}

static void fly(struct world *w, const struct addr *from, const struct addr *to, const uint8_t *msg,
		size_t len, uint64_t delay_ms)
{
	struct packet *p = &w->flying[w->flying_count];

	if (rng_below(&w->rng, 100) < w->loss_percent)
		return;
	assert_true(w->flying_count < PACKETS);
	w->flying_count++;
	*p = (struct packet) { .at_ms = w->now_ms + delay_ms, .from = *from, .to = *to, .len = len };
	memcpy(p->msg, msg, len);
}

static struct server *server_at(struct world *w, const struct addr *a)
{
	for (size_t i = 0; i < w->server_count; i++)
		for (size_t j = 0; j < w->servers[i].count; j++)
			if (addr_equal(&w->servers[i].at[j], a))
				return &w->servers[i];
	return NULL;
}

static size_t refusal(const struct stun_msg *request, unsigned code, uint8_t *out)
{
	struct stun_msg m = { .cls = STUN_ERROR, .method = STUN_BINDING, .error_code = (uint16_t)code };

	memcpy(m.txid, request->txid, sizeof m.txid);
	return (size_t)stun_encode(&m, false, out, STUN_MAX);
}

static size_t lie(const struct server *s, uint8_t *out, size_t len)
{
	struct stun_msg m;

	if (!s->says_other.family && !s->says_mapped.family)
		return len;
	assert_int_equal(stun_decode(&m, out, len), 0);
	if (s->says_other.family)
		m.other_address = s->says_other;
	if (s->says_mapped.family)
		m.mapped = s->says_mapped;
	return (size_t)stun_encode(&m, false, out, STUN_MAX);
}

static void serve(struct world *w, struct server *s, const struct packet *p)
{
	struct stun_route route = { p->to, p->from };
	uint8_t out[STUN_PADDED_MAX];
	struct stun_msg m;
	size_t len;

	assert_int_equal(stun_decode(&m, p->msg, p->len), 0);
	bool diverted = m.change_request || m.response_port;
	if (s->quirk == DEAD || (diverted && s->quirk == DROPS_CHANGE))
		return;
	if (s->quirk == ERRORS || (diverted && s->quirk == REFUSES)) {
		len = refusal(&m, s->quirk == ERRORS ? 500 : 420, out);
	} else if (diverted && s->quirk == IGNORES_CHANGE) {
		m.change_request = m.response_port = 0;
		uint8_t plain[STUN_MAX];
		size_t plain_len = (size_t)stun_encode(&m, false, plain, sizeof plain);
		len = stun_server_reply(&s->stun, plain, plain_len, &route, w->now_ms, out);
	} else {
		len = stun_server_reply(&s->stun, p->msg, p->len, &route, w->now_ms, out);
	}
	if (len)
		len = lie(s, out, len);
	if (len)
		fly(w, &route.server, &route.client, out, len, ONE_WAY_MS);
}

static void deliver(struct world *w, const struct addr *inner, const struct packet *p)
{
	unsigned socket = (unsigned)(inner->port - w->inside.port);

	assert_true(addr_same_ip(inner, &w->inside) && socket < DISCOVER_SOCKETS);
	discover_on_message(&w->d, socket, inner, &p->from, p->msg, p->len, w->now_ms);
}

static void arrive(struct world *w, const struct packet *p)
{
	struct server *s = server_at(w, &p->to);
	struct addr inner = p->to;

	if (s)
		serve(w, s, p);
	else if (!w->natted && addr_same_ip(&p->to, &w->inside))
		deliver(w, &inner, p);
	else if (w->natted && sim_nat_in(&w->nat, &p->to, &p->from, w->now_ms, &inner))
		deliver(w, &inner, p);
}

static void send_out(struct world *w, const struct discover_out *out)
{
	struct addr inner = w->inside, outer = w->inside;

	inner.port = outer.port = (uint16_t)(w->inside.port + out->socket);
	w->sent++;
	w->sent_to_strangers += !server_at(w, &out->to) && !addr_same_ip(&out->to, &w->nat.public_ip);
	if (w->natted && !sim_nat_out(&w->nat, &inner, &out->to, w->now_ms, &outer))
		return;
	bool hairpin = w->natted && sim_nat_owns(&w->nat, &out->to);
	if (!hairpin || w->nat.rules.hairpin)
		fly(w, &outer, &out->to, out->msg, out->len, hairpin ? 1 : ONE_WAY_MS);
}

/* The packet that is next, if it arrives by `until_ms`. */
static bool take_next(struct world *w, uint64_t until_ms, struct packet *out)
{
	size_t next = PACKETS;

	for (size_t i = 0; i < w->flying_count; i++)
		if (w->flying[i].at_ms <= until_ms &&
		    (next == PACKETS || w->flying[i].at_ms < w->flying[next].at_ms))
			next = i;
	if (next == PACKETS)
		return false;
	*out = w->flying[next];
	w->flying_count--;
	memmove(&w->flying[next], &w->flying[next + 1], (w->flying_count - next) * sizeof w->flying[0]);
	return true;
}

static void run(struct world *w)
{
	struct discover_out out;
	struct packet p;

	while (w->d.running) {
		while (discover_next(&w->d, &w->rng, w->now_ms, &out))
			send_out(w, &out);
		uint64_t due = discover_deadline(&w->d);
		assert_true(!w->d.running || due > w->now_ms);
		if (take_next(w, due, &p)) {
			w->now_ms = p.at_ms;
			arrive(w, &p);
		} else if (w->d.running) {
			w->now_ms = due;
		}
		if (w->d.result.verdict.mapping && !w->mapping_known_ms)
			w->mapping_known_ms = w->now_ms - START_MS;
	}
	assert_in_range(w->now_ms - START_MS, 0, LIMIT_MS);
	assert_int_equal(discover_deadline(&w->d), UINT64_MAX);
}

static const struct discover_result *discover(struct world *w, const char *const *servers)
{
	struct discover_config c = { .local = w->inside };

	for (; *servers; servers++)
		c.servers[c.server_count++] = addr_of(*servers);
	assert_int_equal(discover_start(&w->d, &c, &w->rng, w->now_ms), 0);
	run(w);
	return &w->d.result;
}

/* ---- verdicts by NAT and servers */

static const char *const one_port[] = { S1, NULL };
static const char *const two_ports[] = { S1, S1_P, NULL };
static const char *const four_corners[] = { S1, S1_P, S2, S2_P, NULL };
static const char *const second_hub[] = { S2, S2_P, NULL };
static const char *const two_hubs[] = { S1, S1_P, S2, NULL };

enum servers {
	ONE_PORT,      /* tells no more than where we are seen */
	TWO_PORTS,     /* one address, both ports given */
	TWO_ADDRESSES, /* four corners, of which one is given */
	TWO_HUBS,      /* of one address and two ports each */
	SERVER_SETS,
};

static const char *const *build_servers(struct world *w, enum servers set)
{
	if (set == ONE_PORT)
		add_server(w, one_port);
	if (set == TWO_PORTS || set == TWO_HUBS)
		add_server(w, two_ports);
	if (set == TWO_HUBS)
		add_server(w, second_hub);
	if (set == TWO_ADDRESSES)
		add_server(w, four_corners);
	return set == TWO_PORTS ? two_ports : set == TWO_HUBS ? two_hubs : one_port;
}

/* Short, for tables. */
#define M_NONE	 MAPPING_NONE
#define M_EI	 MAPPING_ENDPOINT_INDEPENDENT
#define M_AD	 MAPPING_ADDRESS_DEPENDENT
#define M_APD	 MAPPING_ADDRESS_AND_PORT_DEPENDENT
#define M_ED	 MAPPING_ENDPOINT_DEPENDENT
#define UNTOLD	 MAPPING_UNKNOWN
#define F_EI	 FILTERING_ENDPOINT_INDEPENDENT
#define F_AD	 FILTERING_ADDRESS_DEPENDENT
#define F_APD	 FILTERING_ADDRESS_AND_PORT_DEPENDENT
#define F_UNTOLD FILTERING_UNKNOWN

struct expected {
	enum nat_mapping mapping;
	enum nat_filtering filtering;
};

/* By ONE_PORT, TWO_PORTS, TWO_ADDRESSES, TWO_HUBS. */
static const struct kind {
	enum sim_nat_kind nat;
	enum sim_nat_sense mapping;
	struct expected by[SERVER_SETS];
} kinds[] = {
	{ NAT_NONE, 0, { { M_NONE, F_UNTOLD }, { M_NONE, F_UNTOLD }, { M_NONE, F_EI }, { M_NONE, F_EI } } },
	{ NAT_FIREWALL,
	  0,
	  { { M_NONE, F_UNTOLD }, { M_NONE, F_APD }, { M_NONE, F_APD }, { M_NONE, F_APD } } },
	{ NAT_FULL_CONE, 0, { { UNTOLD, F_UNTOLD }, { M_EI, F_UNTOLD }, { M_EI, F_EI }, { M_EI, F_EI } } },
	{ NAT_ADDRESS_RESTRICTED,
	  0,
	  { { UNTOLD, F_UNTOLD }, { M_EI, F_UNTOLD }, { M_EI, F_AD }, { M_EI, F_AD } } },
	{ NAT_PORT_RESTRICTED,
	  0,
	  { { UNTOLD, F_UNTOLD }, { M_EI, F_APD }, { M_EI, F_APD }, { M_EI, F_APD } } },
	{ NAT_SYMMETRIC,
	  SIM_ADDRESS_AND_PORT_DEPENDENT,
	  { { UNTOLD, F_UNTOLD }, { M_APD, F_APD }, { M_APD, F_APD }, { M_APD, F_APD } } },
	{ NAT_SYMMETRIC,
	  SIM_ADDRESS_DEPENDENT,
	  { { UNTOLD, F_UNTOLD }, { M_EI, F_APD }, { M_AD, F_APD }, { M_AD, F_APD } } },
};

static struct world *world_of(const struct kind *k, uint64_t seed)
{
	struct world *w = make_world(k->nat, seed);

	if (k->mapping)
		w->nat.rules.mapping = k->mapping;
	return w;
}

static void mapping_and_filtering_are_told_as_far_as_the_servers_can(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		for (unsigned set = 0; set < SERVER_SETS; set++) {
			struct world *w = world_of(&kinds[i], 7 + i);
			const struct discover_result *r = discover(w, build_servers(w, set));
			const struct expected *e = &kinds[i].by[set];
			assert_int_equal(r->verdict.mapping, e->mapping);
			assert_int_equal(r->verdict.filtering, e->filtering);
			assert_false(r->verdict.udp_blocked);
			assert_int_equal(r->rtt_ms, 2 * ONE_WAY_MS);
			assert_int_equal(w->sent_to_strangers, 0);
		}
	}
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mapping_and_filtering_are_told_as_far_as_the_servers_can),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
