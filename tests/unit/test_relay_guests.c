/* A relay that knows nobody: members come with tickets, open slots and join sessions by themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_client.h"
#include "relay/relay_server.h"

static const uint8_t key[RELAY_KEY] = "the key of hub and relays";
static const uint8_t netid[32] = "a network", other_netid[32] = "another network";
static const uint64_t unix_s = 1800000000;

struct node {
	struct relay_client c;
	struct addr at;
	uint8_t ik[32], tag[RELAY_TAG];
};

struct world {
	struct relay_server *r;
	struct rng rng;
	uint64_t now;
	struct addr relay;
};

static void world_start(struct world *w)
{
	*w = (struct world) { .now = 50000 };
	rng_init_seed(&w->rng, 1);
	w->r = relay_server_create(8, 8, &w->rng);
	w->relay = addr_from_ip(ADDR_V4, (const uint8_t[]) { 198, 51, 100, 1 }, 3478);
	relay_server_take_guests(w->r, key);
	relay_server_tick(w->r, w->now, unix_s);
}

static void node_start(struct world *w, struct node *n, const uint8_t *net, uint8_t number,
		       uint64_t not_after)
{
	uint8_t ticket[RELAY_TICKET], token[RELAY_TOKEN];

	memset(n, 0, sizeof *n);
	n->at = addr_from_ip(ADDR_V4, (const uint8_t[]) { 203, 0, 113, number }, 40000);
	n->ik[0] = number;
	relay_ticket_node(n->tag, net, n->ik);
	relay_ticket_issue(ticket, token, key, net, n->ik, not_after);
	relay_client_start_guest(&n->c, &w->relay, ticket, token, w->now);
}

static void give(struct world *w, struct node *n, const uint8_t *msg, size_t len)
{
	struct relay_route route = { .node = n->at };
	uint8_t reply[RELAY_PROVE_LEN];
	size_t reply_len = 0;

	if (relay_server_on_datagram(w->r, msg, len, &route, w->now, reply, &reply_len) != RELAY_REPLY)
		return;
	assert_true(reply_len <= len);
	relay_client_on_message(&n->c, reply, reply_len, &w->relay, w->now);
}

static void bind_node(struct world *w, struct node *n)
{
	uint8_t msg[RELAY_CLIENT_MESSAGE_MAX];
	size_t len;

	for (int i = 0; i < 2; i++)
		if ((len = relay_client_next(&n->c, w->now, msg)))
			give(w, n, msg, len);
}

static uint32_t join(struct world *w, struct node *n, const uint8_t tag[static RELAY_TAG])
{
	uint8_t msg[RELAY_JOIN_LEN], reply[RELAY_PROVE_LEN];
	struct relay_route route = { .node = n->at };
	const uint8_t *answered;
	uint32_t session;
	size_t len;

	relay_client_join(&n->c, tag, msg);
	if (relay_server_on_datagram(w->r, msg, sizeof msg, &route, w->now, reply, &len) != RELAY_REPLY)
		return UINT32_MAX;
	assert_true(relay_client_joined(&n->c, reply, len, &w->relay, &answered, &session));
	assert_memory_equal(answered, tag, RELAY_TAG);
	return session;
}

static void two_members_join_and_data_goes_both_ways(void **state)
{
	(void)state;
	struct world w;
	struct node a, b;
	uint8_t msg[RELAY_HEADER + 4] = { 0 }, reply[RELAY_PROVE_LEN];
	size_t len;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s + 1);
	node_start(&w, &b, netid, 2, unix_s + 1);
	bind_node(&w, &a);
	assert_true(relay_client_bound(&a.c));
	assert_int_equal(join(&w, &a, b.tag), 0);
	bind_node(&w, &b);
	uint32_t session = join(&w, &a, b.tag);
	assert_true(session != 0 && session != UINT32_MAX);
	assert_int_equal(join(&w, &b, a.tag), session);
	relay_client_header(msg, session);
	struct relay_route route = { .node = a.at };
	assert_int_equal(relay_server_on_datagram(w.r, msg, sizeof msg, &route, w.now, reply, &len),
			 RELAY_FORWARD);
	assert_true(addr_equal(&route.node, &b.at));
	route = (struct relay_route) { .node = b.at };
	assert_int_equal(relay_server_on_datagram(w.r, msg, sizeof msg, &route, w.now, reply, &len),
			 RELAY_FORWARD);
	assert_true(addr_equal(&route.node, &a.at));
	relay_server_destroy(w.r);
}

static void another_network_is_not_reached(void **state)
{
	(void)state;
	struct world w;
	struct node a, b;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	node_start(&w, &b, other_netid, 2, unix_s);
	bind_node(&w, &a);
	bind_node(&w, &b);
	assert_true(relay_client_bound(&a.c) && relay_client_bound(&b.c));
	assert_int_equal(join(&w, &a, b.tag), 0);
	assert_int_equal(join(&w, &b, a.tag), 0);
	assert_int_equal(relay_server_stats(w.r).sessions, 0);
	relay_server_destroy(w.r);
}

static void a_ticket_that_is_too_old_or_not_genuine_opens_nothing(void **state)
{
	(void)state;
	struct world w;
	struct node a;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s - 1);
	bind_node(&w, &a);
	assert_false(relay_client_bound(&a.c));
	for (size_t bit = 0; bit < RELAY_TICKET * 8; bit++) {
		node_start(&w, &a, netid, 1, unix_s + 1);
		a.c.ticket[bit / 8] ^= (uint8_t)(1 << bit % 8);
		bind_node(&w, &a);
		assert_false(relay_client_bound(&a.c));
	}
	assert_int_equal(relay_server_stats(w.r).slots, 0);
	assert_int_equal(relay_server_stats(w.r).bad_ticket, 1 + RELAY_TICKET * 8);
	relay_server_destroy(w.r);
}

/* Whoever saw a ticket has no token. */
static void a_ticket_without_its_token_opens_nothing(void **state)
{
	(void)state;
	struct world w;
	struct node a;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	a.c.token[0] ^= 1;
	bind_node(&w, &a);
	assert_false(relay_client_bound(&a.c));
	assert_int_equal(relay_server_stats(w.r).bad_proof, 1);
	relay_server_destroy(w.r);
}

static void a_join_from_elsewhere_is_not_answered(void **state)
{
	(void)state;
	struct world w;
	struct node a, b;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	node_start(&w, &b, netid, 2, unix_s);
	bind_node(&w, &a);
	bind_node(&w, &b);
	a.at.port++;
	assert_int_equal(join(&w, &a, b.tag), UINT32_MAX);
	relay_server_destroy(w.r);
}

static enum relay_action send_data(struct world *w, const struct addr *from, uint32_t session)
{
	struct relay_route route = { .node = *from };
	uint8_t msg[RELAY_HEADER + 4] = { 0 }, reply[RELAY_PROVE_LEN];
	size_t len;

	relay_client_header(msg, session);
	return relay_server_on_datagram(w->r, msg, sizeof msg, &route, w->now, reply, &len);
}

/* By a member who has a session with one of the two, one of another network, and a stranger: the ids that there are, those
 * near them, and any. */
static void guessing_sessions_finds_nothing(void **state)
{
	(void)state;
	struct world w;
	struct node a, b, c, e;
	const struct addr stranger = addr_from_ip(ADDR_V4, (const uint8_t[]) { 192, 0, 2, 1 }, 40000);
	uint64_t wrong = 0;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	node_start(&w, &b, netid, 2, unix_s);
	node_start(&w, &c, netid, 3, unix_s);
	node_start(&w, &e, other_netid, 4, unix_s);
	struct node *const all[] = { &a, &b, &c, &e };
	for (size_t i = 0; i < 4; i++)
		bind_node(&w, all[i]);
	uint32_t session = join(&w, &a, b.tag), cs_own = join(&w, &c, a.tag);
	assert_true(session && cs_own && session != cs_own);
	for (uint32_t i = 0; i < 50000; i++) {
		const uint32_t ids[] = { session ^ i, session + i, rng_u32(&w.rng) };
		for (size_t k = 0; k < 3; k++) {
			wrong += ids[k] != cs_own && send_data(&w, &c.at, ids[k]) == RELAY_FORWARD;
			wrong += send_data(&w, &e.at, ids[k]) == RELAY_FORWARD;
			wrong += send_data(&w, &stranger, ids[k]) == RELAY_FORWARD;
		}
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(relay_server_stats(w.r).forwarded, 0);
	assert_in_range(relay_server_stats(w.r).unbound, 400000, 450000);
	assert_int_equal(relay_server_stats(w.r).sessions, 2);
	assert_int_equal(send_data(&w, &a.at, session), RELAY_FORWARD);
	relay_server_destroy(w.r);
}

/* A join for a slot that is another's, whoever asks; and one for a slot that there is not. */
static void nobody_joins_for_another(void **state)
{
	(void)state;
	struct world w;
	struct node a, b, e;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	node_start(&w, &b, netid, 2, unix_s);
	node_start(&w, &e, other_netid, 3, unix_s);
	bind_node(&w, &a);
	bind_node(&w, &b);
	bind_node(&w, &e);
	e.c.slot = a.c.slot;
	assert_int_equal(join(&w, &e, b.tag), UINT32_MAX);
	e.c.slot = a.c.slot + 1000;
	assert_int_equal(join(&w, &e, b.tag), UINT32_MAX);
	assert_int_equal(relay_server_stats(w.r).sessions, 0);
	assert_int_equal(relay_server_stats(w.r).unbound, 1);
	assert_int_equal(relay_server_stats(w.r).unknown_slot, 1);
	relay_server_destroy(w.r);
}

/* Of each message but its right length, or with something in what is reserved: counted, and never answered. */
static void each_malformed_message_is_counted_and_not_answered(void **state)
{
	(void)state;
	static const struct {
		uint8_t type, len;
	} kinds[] = {
		{ RELAY_BIND, RELAY_BIND_LEN },
		{ RELAY_PROVE, RELAY_PROVE_LEN },
		{ RELAY_ADMIT, RELAY_ADMIT_LEN },
		{ RELAY_JOIN, RELAY_JOIN_LEN },
		{ RELAY_CHALLENGE, 0 },
		{ RELAY_BOUND, 0 },
		{ RELAY_UNBOUND, 0 },
		{ RELAY_JOINED, 0 },
		{ 0, 0 },
		{ 255, 0 }, /* not the relay's to hear, at any length */
	};
	struct world w;
	struct node a;
	uint64_t given = 0;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	bind_node(&w, &a);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		for (uint8_t len = 0; len < 2 * RELAY_ADMIT_LEN; len++)
			for (size_t reserved = 2; reserved < 5; reserved++) {
				uint8_t msg[2 * RELAY_ADMIT_LEN] = { RELAY_CONTROL, kinds[i].type },
						reply[RELAY_PROVE_LEN];
				struct relay_route route = { .node = a.at };
				size_t n;
				if (len == kinds[i].len && reserved == 4)
					continue;  /* well-formed */
				msg[reserved] = 1; /* the fourth: of the slot, which may be anything */
				assert_int_equal(
					relay_server_on_datagram(w.r, msg, len, &route, w.now, reply, &n),
					RELAY_DROP);
				given++;
			}
	assert_int_equal(relay_server_stats(w.r).malformed, given);
	assert_true(relay_client_bound(&a.c));
	assert_int_equal(relay_server_stats(w.r).bound, 1);
	relay_server_destroy(w.r);
}

static void who_comes_again_keeps_slot_and_sessions(void **state)
{
	(void)state;
	struct world w;
	struct node a, b;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	node_start(&w, &b, netid, 2, unix_s);
	bind_node(&w, &a);
	bind_node(&w, &b);
	uint32_t slot = a.c.slot, session = join(&w, &a, b.tag);
	node_start(&w, &a, netid, 1, unix_s + 100);
	a.at.port++;
	bind_node(&w, &a);
	assert_int_equal(a.c.slot, slot);
	assert_int_equal(join(&w, &a, b.tag), session);
	relay_server_destroy(w.r);
}

static void who_has_gone_is_forgotten(void **state)
{
	(void)state;
	struct world w;
	struct node a, b;

	world_start(&w);
	node_start(&w, &a, netid, 1, unix_s);
	node_start(&w, &b, netid, 2, unix_s);
	bind_node(&w, &a);
	bind_node(&w, &b);
	join(&w, &a, b.tag);
	relay_server_tick(w.r, w.now + RELAY_IDLE_MS - 1, unix_s);
	assert_int_equal(relay_server_stats(w.r).slots, 2);
	relay_server_tick(w.r, w.now + RELAY_IDLE_MS, unix_s);
	assert_int_equal(relay_server_stats(w.r).slots, 0);
	assert_int_equal(relay_server_stats(w.r).sessions, 0);
	relay_server_destroy(w.r);
}

static void a_full_relay_takes_no_more_and_goes_on(void **state)
{
	(void)state;
	struct world w;
	struct node n[9];

	world_start(&w);
	for (uint8_t i = 0; i < 9; i++) {
		node_start(&w, &n[i], netid, (uint8_t)(i + 1), unix_s);
		bind_node(&w, &n[i]);
		assert_int_equal(relay_client_bound(&n[i].c), i < 8);
	}
	assert_true(join(&w, &n[0], n[1].tag) != 0);
	relay_server_destroy(w.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_members_join_and_data_goes_both_ways),
		cmocka_unit_test(another_network_is_not_reached),
		cmocka_unit_test(a_ticket_that_is_too_old_or_not_genuine_opens_nothing),
		cmocka_unit_test(a_ticket_without_its_token_opens_nothing),
		cmocka_unit_test(a_join_from_elsewhere_is_not_answered),
		cmocka_unit_test(guessing_sessions_finds_nothing),
		cmocka_unit_test(nobody_joins_for_another),
		cmocka_unit_test(each_malformed_message_is_counted_and_not_answered),
		cmocka_unit_test(who_comes_again_keeps_slot_and_sessions),
		cmocka_unit_test(who_has_gone_is_forgotten),
		cmocka_unit_test(a_full_relay_takes_no_more_and_goes_on),
	};

	crypto_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
