/* What a node may send to addresses that have not answered is limited, whatever its peers need, claim or ask for: seen by
 * all datagrams that it sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/control.h"
#include "core/log.h"
#include "tests/sim/sim_trial.h"

enum {
	PEERS = 8,
	WATCH_MS = 100, /* between two looks at the tuples */
};

/* A socket's port and where it sent to. */
struct tuple {
	uint16_t port;
	struct addr to;
};

struct sending {
	uint64_t last_ms;
	bool answered;
};

/* What one node sends. */
static struct watch {
	struct sim_node *node;
	struct map tuples;
	struct bucket rate;
	uint64_t probes, too_fast, low_ports, to_victim;
	size_t most; /* tuples unanswered at a time */
} watch;

static const struct addr *victim; /* a stranger that somebody points us at */

static struct sending *sending_to(uint16_t port, const struct addr *to)
{
	struct tuple key;
	struct sending fresh = { 0 };

	memset(&key, 0, sizeof key);
	key.port = port;
	key.to = *to;
	struct sending *found = map_find(&watch.tuples, &key);
	if (found)
		return found;
	assert_int_equal(map_put(&watch.tuples, &key, &fresh), 0);
	return map_find(&watch.tuples, &key);
}

static void on_sent(struct sim *s, struct sim_node *by, uint16_t port, const struct pkt *p)
{
	struct sending *to;

	for (size_t i = 0; i < s->hub_addr_count; i++)
		if (by != watch.node || addr_same_ip(&p->addr, &s->hub_addr[i]))
			return;
	to = sending_to(port, &p->addr);
	if (to->answered)
		return;
	watch.low_ports += p->addr.port < BUDGET_MIN_PORT;
	watch.to_victim += victim && addr_same_ip(&p->addr, victim);
	if (p->buf[p->off] != PROBE_FIRST_BYTE)
		return;
	to->last_ms = s->now_ms;
	watch.probes++;
	watch.too_fast += !bucket_take(&watch.rate, BUDGET_PPS, BUDGET_BURST, s->now_ms);
}

static void on_received(struct sim *s, struct sim_node *to, const struct addr *from, const uint8_t *data,
			size_t len)
{
	uint16_t *port = map_find(&to->port_of_socket, &to->last_socket);

	(void)s;
	(void)data;
	(void)len;
	if (to == watch.node)
		sending_to(port ? *port : to->inner.port, from)->answered = true;
}

static void begin_watch(struct sim *s, struct sim_node *n)
{
	memset(&watch, 0, sizeof watch);
	watch.node = n;
	map_init(&watch.tuples, sizeof(struct tuple), sizeof(struct sending), &s->rng);
	s->sent = on_sent;
	s->tap = on_received;
}

static void count_tuples(const struct sim *s)
{
	size_t n = 0;

	for (struct sending *to = NULL; (to = map_walk(&watch.tuples, to));)
		n += !to->answered && to->last_ms && s->now_ms - to->last_ms < BUDGET_HOLD_MS;
	watch.most = n > watch.most ? n : watch.most;
}

static void run_watched(struct sim *s, uint64_t ms)
{
	for (uint64_t t = 0; t < ms; t += WATCH_MS) {
		sim_run(s, WATCH_MS);
		count_tuples(s);
	}
}

static void end_watch(struct sim *s)
{
	if (getenv("SIM_TABLE"))
		print_message("%llu probes to who had not answered, %zu tuples at a time\n",
			      (unsigned long long)watch.probes, watch.most);
	assert_in_range(watch.most, 1, BUDGET_TUPLES);
	assert_int_equal(watch.too_fast, 0);
	assert_int_equal(watch.low_ports, 0);
	map_clear(&watch.tuples);
	s->sent = NULL;
	s->tap = NULL;
}

/* ---- many peers at once */

static void talk_to_all(struct sim *s, struct sim_node *n, struct sim_node *peers[PEERS], uint64_t ms)
{
	for (uint64_t t = 0; t < ms; t += 500) {
		for (int i = 0; i < PEERS; i++)
			sim_ping(s, n, peers[i]);
		run_watched(s, 500);
	}
}

static void many_hard_peers_share_one_budget(void **state)
{
	(void)state;
	static const enum sim_nat_kind pairs[][2] = {
		{ NAT_PORT_RESTRICTED, NAT_SYMMETRIC },
		{ NAT_SYMMETRIC, NAT_PORT_RESTRICTED },
		{ NAT_PORT_RESTRICTED, NAT_BLOCK_1024 },
		{ NAT_SEQUENTIAL, NAT_SEQUENTIAL },
	};

	for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
		struct sim *s = sim_new(k + 1);
		struct sim_node *n = sim_node(s, pairs[k][0]), *peers[PEERS];
		unsigned direct = 0;
		for (int i = 0; i < PEERS; i++)
			peers[i] = sim_node(s, pairs[k][1]);
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, TRIAL_SETTLE_MS);
		begin_watch(s, n);
		talk_to_all(s, n, peers, 120000);
		for (int i = 0; i < PEERS; i++)
			direct += sim_way(n, peers[i]) == ENGINE_WAY_DIRECT;
		if (getenv("SIM_TABLE"))
			print_message("%s to %d x %s: %u direct\n", sim_nat_name(pairs[k][0]), PEERS,
				      sim_nat_name(pairs[k][1]), direct);
		assert_int_equal(direct, PEERS);
		end_watch(s);
		sim_delete(s);
	}
}

/* ---- a hostile member */

/* What is sealed here comes from `by` as if its own engine had sent it. */
static void send_offer(struct sim *s, struct sim_node *by, struct sim_node *to, const struct offer *o)
{
	uint8_t buf[PKT_HEADROOM + 256] = { 0 }, *msg = buf + PKT_HEADROOM;
	size_t len = CONTROL_HEADER + OFFER_WIRE;

	msg[0] = CONTROL_FIRST_BYTE;
	msg[1] = CONTROL_OFFER;
	offer_write(o, msg + CONTROL_HEADER);
	int sealed = session_seal(&sim_peer(by, to)->peer.session, msg, len, ENGINE_MTU, s->now_ms);
	if (sealed > 0)
		sim_inject(s, to, &by->inner, msg - WG_DATA_HEADER, (size_t)sealed);
}

static struct offer absurd_offer(struct sim *s, uint16_t attempt)
{
	static const uint16_t ports[] = { 0, 1, 53, 162, 1023, 1024, 5000, 65535 };
	struct offer o = { .attempt = attempt,
			   .ready = rng_below(&s->rng, 2),
			   .round = (uint8_t)rng_u32(&s->rng) };
	struct verdict *v = &o.side.nat;

	o.heard = (uint16_t)rng_u32(&s->rng);
	o.rotated = rng_below(&s->rng, 2);
	o.side.allows_hard = rng_below(&s->rng, 2);
	o.side.max_sockets = (uint16_t)rng_u32(&s->rng);
	o.base = ports[rng_below(&s->rng, 8)];
	o.endpoint = *victim;
	o.endpoint.port = ports[rng_below(&s->rng, 8)];
	if (rng_below(&s->rng, 4) == 0)
		o.endpoint = (struct addr) { 0 };
	v->mapping = (uint8_t)rng_below(&s->rng, MAPPING_ENDPOINT_DEPENDENT + 1);
	v->filtering = (uint8_t)rng_below(&s->rng, FILTERING_ADDRESS_AND_PORT_DEPENDENT + 1);
	v->allocation = (uint8_t)rng_below(&s->rng, ALLOCATION_RANDOM + 1);
	v->step = (int16_t)rng_u32(&s->rng);
	v->noise_per_10s = (uint16_t)rng_u32(&s->rng);
	v->block_lo = ports[5 + rng_below(&s->rng, 3)];
	v->block_hi = (uint16_t)(v->block_lo + rng_below(&s->rng, 65536u - v->block_lo));
	v->confidence = 99;
	v->public_ip = *victim;
	v->public_ip.port = 0;
	return o;
}

/* One that makes us search all ports of a stranger. */
static struct offer cunning_offer(uint16_t attempt)
{
	struct offer o = { .attempt = attempt, .ready = true };
	struct verdict *v = &o.side.nat;

	o.side.max_sockets = UINT16_MAX;
	v->mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT;
	v->filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT;
	v->allocation = ALLOCATION_RANDOM;
	v->public_ip = *victim;
	return o;
}

static void publish_absurd_candidates(struct sim_node *n)
{
	static const char *const text[] = { "198.18.0.7:162",	"198.18.0.7:53",   "192.168.1.1:80",
					    "192.168.1.1:1900", "10.0.0.1:5351",   "198.18.0.7:1023",
					    "198.18.0.7:1024",	"198.18.0.7:5000", "127.0.0.1:6000",
					    "224.0.0.251:5353", "10.77.0.9:5000",  "100.64.0.1:5000" };
	struct candidate_list l = { 0 };

	for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
		struct addr a;
		assert_int_equal(addr_parse(&a, text[i], 0), 0);
		candidates_add(&l, i % 2 ? CANDIDATE_HOST : CANDIDATE_REFLEXIVE, &a);
	}
	n->engine->candidates = l;
	n->engine->publish_due = true;
}

static void an_absurd_member_moves_no_more_than_the_budget(void **state)
{
	(void)state;
	static const enum sim_nat_kind kinds[] = { NAT_NONE, NAT_PORT_RESTRICTED, NAT_SYMMETRIC,
						   NAT_SEQUENTIAL };
	enum { OFFERS_PER_TURN = 100, TURNS = 1200, TURN_MS = 50 };
	struct addr stranger;

	assert_int_equal(addr_parse(&stranger, "198.18.0.7", 0), 0);
	victim = &stranger;
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		struct sim *s = sim_new(k + 1);
		struct sim_node *n = sim_node(s, kinds[k]), *evil = sim_node(s, NAT_NONE);
		uint16_t attempt = 1;
		n->engine->config.hard_nat = true;
		s->cut_direct = true; /* so that the way stays the relay's, and rounds are wanted */
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, TRIAL_SETTLE_MS);
		begin_watch(s, n);
		for (int turn = 0; turn < TURNS; turn++) {
			if (turn % 20 == 0)
				publish_absurd_candidates(evil);
			sim_ping(s, n, evil);
			for (int i = 0; i < OFFERS_PER_TURN &&
					session_ready(&sim_peer(evil, n)->peer.session, s->now_ms);
			     i++) {
				struct offer o = absurd_offer(s, attempt);
				attempt = (uint16_t)(attempt + rng_below(&s->rng, 3));
				send_offer(s, evil, n, &o);
			}
			sim_run(s, TURN_MS);
			count_tuples(s);
		}
		assert_in_range(watch.to_victim, 1, BUDGET_BURST + TURNS * TURN_MS / 1000 * BUDGET_PPS);
		end_watch(s);
		sim_delete(s);
	}
	victim = NULL;
}

static void a_cunning_member_does_not_keep_others_from_a_direct_path(void **state)
{
	(void)state;
	enum { TURN_MS = 50, ATTEMPT_MS = 5000, BEFORE_MS = 20000, LIMIT_MS = 60000 };
	static const enum sim_nat_kind honest[] = { NAT_PORT_RESTRICTED, NAT_BLOCK_1024 };
	struct addr stranger;

	assert_int_equal(addr_parse(&stranger, "198.18.0.7", 0), 0);
	victim = &stranger;
	for (size_t k = 0; k < sizeof honest / sizeof *honest; k++) {
		struct sim *s = sim_new(k + 1);
		struct sim_node *n = sim_node(s, NAT_PORT_RESTRICTED), *evil = sim_node(s, NAT_NONE);
		struct sim_node *friend = sim_node(s, honest[k]);
		uint64_t direct_ms = 0;
		sim_cut(s, n, evil, true);
		sim_cut(s, evil, n, true);
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, TRIAL_SETTLE_MS);
		begin_watch(s, n);
		for (uint64_t t = 0; t < LIMIT_MS && !direct_ms; t += TURN_MS) {
			struct offer o = cunning_offer((uint16_t)(1000 + t / ATTEMPT_MS));
			sim_ping(s, n, evil);
			if (t >= BEFORE_MS)
				sim_ping(s, n, friend);
			if (session_ready(&sim_peer(evil, n)->peer.session, s->now_ms))
				send_offer(s, evil, n, &o);
			sim_run(s, TURN_MS);
			count_tuples(s);
			if (sim_way(n, friend) == ENGINE_WAY_DIRECT)
				direct_ms = t;
		}
		if (getenv("SIM_TABLE"))
			print_message("%llu probes to the stranger, %s direct after %lld ms\n",
				      (unsigned long long)watch.to_victim, sim_nat_name(honest[k]),
				      (long long)(direct_ms - BEFORE_MS));
		end_watch(s);
		/* One that needs no search at once, the other when the budget is free again. */
		assert_in_range(direct_ms, BEFORE_MS, BEFORE_MS + (k ? 40000 : 1000));
		sim_delete(s);
	}
	victim = NULL;
}

static void what_lies_inside_our_network_is_not_searched(void **state)
{
	(void)state;
	static const char *const inside[] = { "192.168.1.1", "100.64.0.1", "169.254.169.254", "10.77.0.9" };

	for (size_t k = 0; k < sizeof inside / sizeof *inside; k++) {
		struct sim *s = sim_new(k + 1);
		struct sim_node *n = sim_node(s, NAT_PORT_RESTRICTED), *evil = sim_node(s, NAT_NONE);
		struct addr place;
		assert_int_equal(addr_parse(&place, inside[k], 0), 0);
		victim = &place;
		s->cut_direct = true;
		assert_true(sim_run_joined(s, 5000));
		sim_run(s, TRIAL_SETTLE_MS);
		begin_watch(s, n);
		for (uint16_t turn = 1; turn < 100; turn++) {
			struct offer o = cunning_offer((uint16_t)(1 + turn / 10));
			sim_ping(s, n, evil);
			if (session_ready(&sim_peer(evil, n)->peer.session, s->now_ms))
				send_offer(s, evil, n, &o);
			run_watched(s, 50);
		}
		assert_int_equal(watch.to_victim, 0);
		end_watch(s);
		sim_delete(s);
	}
	victim = NULL;
}

/* Its record changes so that what failed is forgotten, and it asks for one round after the other. */
static void a_member_that_begins_anew_all_the_time_gets_its_share(void **state)
{
	(void)state;
	enum {
		TURN_MS = 200,
		TURNS = 6000,
		ANEW = 20,
		SHARE = 4096 + BUDGET_TUPLES + 4 * TURNS * TURN_MS / 1000
	};
	struct sim *s = sim_new(1);
	struct sim_node *n = sim_node(s, NAT_PORT_RESTRICTED), *evil = sim_node(s, NAT_NONE);
	struct addr stranger, mark;

	assert_int_equal(addr_parse(&stranger, "198.18.0.7", 0), 0);
	assert_int_equal(addr_parse(&mark, "198.18.0.8:5000", 0), 0);
	victim = &stranger;
	s->cut_direct = true;
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, TRIAL_SETTLE_MS);
	begin_watch(s, n);
	for (unsigned turn = 0; turn < TURNS; turn++) {
		struct offer o = cunning_offer((uint16_t)(1 + turn / ANEW));
		if (turn % ANEW == 0) {
			mark.port++;
			evil->engine->candidates.items[0].addr = mark;
			evil->engine->publish_due = true;
		}
		sim_ping(s, n, evil);
		if (session_ready(&sim_peer(evil, n)->peer.session, s->now_ms))
			send_offer(s, evil, n, &o);
		run_watched(s, TURN_MS);
	}
	assert_in_range(watch.to_victim, BUDGET_TUPLES, SHARE);
	end_watch(s);
	sim_delete(s);
	victim = NULL;
}

static void what_was_agreed_stays_agreed(void **state)
{
	(void)state;
	struct sim *s = sim_new(1);
	struct sim_node *n = sim_node(s, NAT_PORT_RESTRICTED), *evil = sim_node(s, NAT_NONE);
	struct addr first, second;

	assert_int_equal(addr_parse(&first, "198.18.0.7", 0), 0);
	assert_int_equal(addr_parse(&second, "198.18.0.8", 0), 0);
	s->cut_direct = true;
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, TRIAL_SETTLE_MS);
	begin_watch(s, n);
	sim_ping(s, n, evil);
	sim_run(s, 2000);
	victim = &first;
	struct offer o = cunning_offer(1);
	o.ready = false;
	send_offer(s, evil, n, &o);
	sim_run(s, 700);
	o.side.nat.public_ip = second;
	send_offer(s, evil, n, &o);
	victim = &second;
	run_watched(s, 5000);
	assert_int_equal(watch.to_victim, 0);
	end_watch(s);
	sim_delete(s);
	victim = NULL;
}

/* Pings that seem to come from everywhere: each asks for one in return. */
static void pings_in_return_are_within_the_budget(void **state)
{
	(void)state;
	enum { PLACES = 16, TURNS = 600 };
	struct sim *s = sim_new(1);
	struct sim_node *n = sim_node(s, NAT_NONE), *evil = sim_node(s, NAT_NONE);
	struct addr from;
	uint8_t msg[PROBE_MAX];

	assert_int_equal(addr_parse(&from, "198.18.0.7", 5000), 0);
	s->cut_direct = true;
	assert_true(sim_run_joined(s, 5000));
	sim_run(s, TRIAL_SETTLE_MS);
	const struct engine_peer *ep = sim_peer(n, evil);
	uint64_t sent = ep->probes, allowed = n->engine->budget.sent;
	for (int i = 0; i < TURNS; i++) {
		for (uint8_t k = 0; k < PLACES; k++) {
			struct probe ping = { .kind = PROBE_PING, .txid = { k } };
			size_t len = probe_seal(&sim_peer(evil, n)->peer.probe, &ping, &s->rng, PROBE_MIN,
						msg);
			from.ip[3] = k;
			sim_inject(s, n, &from, msg, len);
		}
		sim_run(s, 50);
	}
	assert_in_range(ep->probes - sent, PLACES, n->engine->budget.sent - allowed);
	sim_delete(s);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(getenv("SIM_LOG") ? LOG_LVL_DEBUG : LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_hard_peers_share_one_budget),
		cmocka_unit_test(an_absurd_member_moves_no_more_than_the_budget),
		cmocka_unit_test(what_lies_inside_our_network_is_not_searched),
		cmocka_unit_test(a_member_that_begins_anew_all_the_time_gets_its_share),
		cmocka_unit_test(pings_in_return_are_within_the_budget),
		cmocka_unit_test(what_was_agreed_stays_agreed),
		cmocka_unit_test(a_cunning_member_does_not_keep_others_from_a_direct_path),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
