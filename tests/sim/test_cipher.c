/* Which cipher whole nodes end on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/sim/sim.h"

/* Data messages by cipher, as each node sends them, relayed ones included. */
static struct sent {
	unsigned chacha, aegis, relayed_aegis;
} sent[SIM_NODES];

static void count(struct sim *s, struct sim_node *by, uint16_t port, const struct pkt *p)
{
	const uint8_t *data = p->buf + p->off;
	bool relayed = data[0] == RELAY_DATA && p->len > RELAY_HEADER;
	uint8_t first = relayed ? data[RELAY_HEADER] : data[0];
	struct sent *c = &sent[by - s->nodes];

	(void)port;
	c->chacha += first == WG_DATA;
	c->aegis += first == SEALER_FIRST_BYTE_AEGIS;
	c->relayed_aegis += relayed && first == SEALER_FIRST_BYTE_AEGIS;
}

static struct sim *world(uint64_t seed)
{
	struct sim *s = malloc(sizeof *s);

	assert_non_null(s);
	sim_init(s, seed);
	memset(sent, 0, sizeof sent);
	s->sent = count;
	return s;
}

static void end(struct sim *s)
{
	sim_free(s);
	free(s);
}

static struct sim_node *node(struct sim *s, bool aegis)
{
	struct sim_node *n = sim_node(s, NAT_PORT_RESTRICTED);

	n->config.aegis = n->engine->config.aegis = aegis;
	return n;
}

static void ping_each_other(struct sim *s, struct sim_node *a, struct sim_node *b, unsigned seconds)
{
	for (unsigned i = 0; i < 2 * seconds; i++) {
		sim_ping(s, a, b);
		sim_ping(s, b, a);
		sim_run(s, 500);
	}
}

static enum cipher cipher_of(struct sim_node *a, struct sim_node *b)
{
	return session_cipher(&sim_peer(a, b)->peer.session);
}

static void two_nodes_seal_with_aegis_on_each_way_and_after_each_handshake(void **state)
{
	(void)state;
	for (int relayed = 0; relayed < 2; relayed++) {
		struct sim *s = world(11);
		struct sim_node *a = node(s, true), *b = node(s, true);

		s->cut_direct = relayed;
		assert_true(sim_run_joined(s, 3000));
		ping_each_other(s, a, b, 10);
		for (int i = 0; i < 4; i++) {
			memset(sent, 0, sizeof sent);
			ping_each_other(s, a, b, 100);
			assert_int_equal(cipher_of(a, b), CIPHER_AEGIS256);
			assert_int_equal(cipher_of(b, a), CIPHER_AEGIS256);
			for (int j = 0; j < 2; j++) {
				assert_in_range(sent[j].aegis, 390, 450);
				/* Words on ciphers and what went before their answers. */
				assert_in_range(sent[j].chacha, 0, 10);
				assert_int_equal(sent[j].relayed_aegis, relayed ? sent[j].aegis : 0);
			}
		}
		assert_true(a->pongs > 700);
		end(s);
	}
}

static void a_node_of_the_other_policy_sees_chacha20_alone(void **state)
{
	(void)state;
	struct sim *s = world(12);
	struct sim_node *a = node(s, true), *plain = node(s, false), *c = node(s, true);

	assert_true(sim_run_joined(s, 3000));
	for (int i = 0; i < 30; i++) {
		ping_each_other(s, a, plain, 5);
		sim_ping(s, plain, c);
		sim_run(s, 1000);
	}
	assert_int_equal(sent[0].aegis + sent[1].aegis + sent[2].aegis, 0);
	assert_int_equal(cipher_of(a, plain), CIPHER_CHACHA20);
	assert_int_equal(cipher_of(plain, a), CIPHER_CHACHA20);
	assert_true(a->pongs > 250);
	ping_each_other(s, a, c, 5);
	assert_int_equal(cipher_of(a, c), CIPHER_AEGIS256);
	assert_int_equal(sent[1].aegis, 0);
	end(s);
}

static void lossy_links_still_agree(void **state)
{
	unsigned agreed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct sim *s = world(seed);
		struct sim_node *a = node(s, true), *b = node(s, true);

		s->loss_permille = 100;
		s->jitter_ms = 20;
		s->duplicate_permille = 50;
		assert_true(sim_run_joined(s, 20000));
		ping_each_other(s, a, b, 20);
		agreed += cipher_of(a, b) == CIPHER_AEGIS256 && cipher_of(b, a) == CIPHER_AEGIS256;
		end(s);
	}
	assert_in_range(agreed, 9, 10);
}

/* No more than one exchange for each handshake: none without. */
static void two_silent_nodes_say_nothing_of_ciphers(void **state)
{
	(void)state;
	struct sim *s = world(13);
	struct sim_node *a = node(s, true), *b = node(s, true);

	assert_true(sim_run_joined(s, 3000));
	ping_each_other(s, a, b, 5);
	sim_run(s, 60000);
	memset(sent, 0, sizeof sent);
	sim_run(s, 600000);
	assert_int_equal(sent[0].chacha + sent[0].aegis + sent[1].chacha + sent[1].aegis, 0);
	end(s);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nodes_seal_with_aegis_on_each_way_and_after_each_handshake),
		cmocka_unit_test(a_node_of_the_other_policy_sees_chacha20_alone),
		cmocka_unit_test(lossy_links_still_agree),
		cmocka_unit_test(two_silent_nodes_say_nothing_of_ciphers),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
