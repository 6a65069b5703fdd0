/* Two nodes on loopback addresses of this process's own, both ends on one loop. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/p2pd/forward/lease_link_impl.h"
#include "lease_made.h"

enum { GUARD_MS = 30000 };
enum { SENDER, RECEIVER, STRANGER, NODES };

struct node {
	struct bench *bench;
	struct lease_link *link;
	struct addr ip;
	uint8_t pk[32], sk[64];
	unsigned refused;
	char refused_why[RULE_WHY];
};

struct bench {
	struct loop *loop;
	struct node node[NODES];
	/* What the receiver does with the next ask: answers it with `error`, or keeps it. */
	int error;
	bool keep;
	struct lease_ask *kept;
	unsigned asked;
	struct addr asked_by;
	struct lease_request request;
	struct admit_request admit;
	uint8_t id[FORWARD_ID];
	/* What the sender got. */
	unsigned done;
	unsigned awaited;
	struct lease_reply reply;
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct bench *b)
{
	struct loop_timer *guard = loop_timer_create(b->loop, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(b->loop);
	loop_timer_destroy(guard);
}

static const uint8_t *key_of(void *arg, const struct addr *peer)
{
	struct node *n = arg;

	for (unsigned i = SENDER; i < STRANGER; i++)
		if (addr_same_ip(&n->bench->node[i].ip, peer))
			return n->bench->node[i].pk;
	return NULL;
}

/* The stranger takes itself for the sender's like: nobody else knows it. */
static const uint8_t *strangers_key_of(void *arg, const struct addr *peer)
{
	struct node *n = arg;

	(void)peer;
	return n->bench->node[RECEIVER].pk;
}

/* Notes the ask; true if it is to be answered well now. */
static bool take(struct node *n, struct lease_ask *q, const struct addr *peer)
{
	struct bench *b = n->bench;

	b->asked++;
	b->asked_by = *peer;
	if (b->keep) {
		b->kept = q;
		loop_stop(b->loop);
	} else if (b->error) {
		lease_answer_error(q, b->error, "no such luck", made_request(9).id);
	}
	return !b->keep && !b->error;
}

static void on_lease(void *arg, struct lease_ask *q, const struct addr *peer, const struct lease_request *r)
{
	struct node *n = arg;
	const struct lease_grant grant = { .public4 = made_ip("203.0.113.1"), .ports = { 443 }, .rate = 7 };

	n->bench->request = *r;
	if (take(n, q, peer))
		lease_answer_grant(q, &grant);
}

static void on_release(void *arg, struct lease_ask *q, const struct addr *peer,
		       const uint8_t id[static FORWARD_ID])
{
	struct node *n = arg;

	memcpy(n->bench->id, id, FORWARD_ID);
	if (take(n, q, peer))
		lease_answer_released(q);
}

static void on_stats(void *arg, struct lease_ask *q, const struct addr *peer,
		     const uint8_t id[static FORWARD_ID])
{
	struct node *n = arg;
	const struct forward_stats stats = { .bytes_in = 42 };

	memcpy(n->bench->id, id, FORWARD_ID);
	if (take(n, q, peer))
		lease_answer_stats(q, &stats);
}

static void on_admit(void *arg, struct lease_ask *q, const struct addr *peer, const struct admit_request *r)
{
	struct node *n = arg;
	const struct admit_grant grant = {
		.full = true, .until = 1800000000, .for_s = 43200, .name = "till"
	};

	n->bench->admit = *r;
	if (take(n, q, peer))
		lease_answer_admit(q, &grant);
}

static void on_refused(void *arg, const struct addr *peer, const char *why)
{
	struct node *n = arg;

	(void)peer;
	n->refused++;
	snprintf(n->refused_why, sizeof n->refused_why, "%s", why);
}

static const struct lease_link_handler handler = { on_lease, on_release, on_stats,
						   on_admit, key_of,	 on_refused };

static void start(struct bench *b, unsigned i, const struct lease_link_handler *h, const char *device)
{
	struct node *n = &b->node[i];
	const struct addr none = { 0 };
	struct lease_link_config config = { .loop = b->loop, .ik_sk = n->sk, .handler = *h, .arg = n };
	uint8_t seed[32] = { (uint8_t)(i + 1) };
	uint32_t pid = (uint32_t)getpid();

	n->bench = b;
	n->ip = addr_from_ip(ADDR_V4,
			     (uint8_t[]) { 127, (uint8_t)(pid >> 8), (uint8_t)pid, (uint8_t)(i + 1) }, 0);
	crypto_ed25519_keypair(n->pk, n->sk, seed);
	strcpy(config.device, device);
	assert_int_equal(lease_link_start(&n->link, &config), 0);
	assert_int_equal(lease_link_listen(n->link, &n->ip, &none), 0);
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof *b);
	struct lease_link_handler stranger = handler;

	b->loop = loop_create();
	b->awaited = 1;
	start(b, SENDER, &handler, "lo");
	start(b, RECEIVER, &handler, "lo");
	stranger.key_of = strangers_key_of;
	start(b, STRANGER, &stranger, "lo");
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < NODES; i++)
		lease_link_stop(b->node[i].link);
	loop_destroy(b->loop);
	free(b);
	return 0;
}

static void on_done(void *arg, const struct lease_reply *reply)
{
	struct bench *b = arg;

	b->reply = *reply;
	if (++b->done == b->awaited)
		loop_stop(b->loop);
}

static int put(struct bench *b, unsigned from, struct lease_call **call)
{
	struct lease_request r = made_request(5);

	return lease_link_put(b->node[from].link, &b->node[RECEIVER].ip, &r, on_done, b, call);
}

static void put_and_wait(struct bench *b, unsigned from)
{
	b->done = 0;
	assert_int_equal(put(b, from, NULL), 0);
	assert_int_equal(b->done, 0);
	run(b);
	assert_int_equal(b->done, 1);
}

static void what_is_asked_is_answered(void **state)
{
	struct bench *b = *state;
	const struct addr *to = &b->node[RECEIVER].ip;
	struct lease_link *from = b->node[SENDER].link;
	struct admit_request admit = { .token = "abc", .visitor = made_ip("198.51.100.7"), .look = true };
	const uint8_t *id = (uint8_t[FORWARD_ID]) { 1, 2, 3, 4, 5, 6, 0x70, 0, 0x80, 1, 1, 1, 1, 1, 1, 1 };

	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, 0);
	assert_int_equal(b->reply.grant.ports[0], 443);
	assert_int_equal(b->reply.grant.rate, 7);
	assert_string_equal(b->request.name, "rule-5");
	assert_true(addr_equal(&b->asked_by, &b->node[SENDER].ip));

	assert_int_equal(lease_link_delete(from, to, id, on_done, b, NULL), 0);
	b->done = 0;
	run(b);
	assert_int_equal(b->reply.error, 0);
	assert_memory_equal(b->id, id, FORWARD_ID);

	assert_int_equal(lease_link_stats(from, to, id, on_done, b, NULL), 0);
	b->done = 0;
	run(b);
	assert_int_equal(b->reply.stats.bytes_in, 42);

	memcpy(admit.id, id, FORWARD_ID);
	assert_int_equal(lease_link_admit(from, to, &admit, on_done, b, NULL), 0);
	b->done = 0;
	run(b);
	assert_true(b->reply.admit.full);
	assert_int_equal(b->reply.admit.for_s, 43200);
	assert_string_equal(b->reply.admit.name, "till");
	assert_string_equal(b->admit.token, "abc");
	assert_true(b->admit.look);
	assert_int_equal(b->asked, 4);
}

static void a_refusal_arrives_with_its_reason(void **state)
{
	struct bench *b = *state;

	b->error = -EADDRINUSE;
	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, -EADDRINUSE);
	assert_string_equal(b->reply.why, "no such luck");
	assert_memory_equal(b->reply.conflict, made_request(9).id, FORWARD_ID);
}

static void hundreds_may_be_under_way(void **state)
{
	struct bench *b = *state;

	b->awaited = LEASE_ASKS_BURST;
	for (unsigned i = 0; i < LEASE_ASKS_BURST; i++)
		assert_int_equal(put(b, SENDER, NULL), 0);
	run(b);
	assert_int_equal(b->reply.error, 0);
	assert_int_equal(b->asked, LEASE_ASKS_BURST);
}

static void who_asks_too_often_waits(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < LEASE_ASKS_MAX; i++)
		assert_int_equal(put(b, SENDER, NULL), 0);
	assert_int_equal(put(b, SENDER, NULL), -EAGAIN);
	b->awaited = LEASE_ASKS_MAX;
	run(b);
	assert_in_range(b->asked, LEASE_ASKS_BURST, LEASE_ASKS_MAX - 1);
	assert_int_equal(b->node[RECEIVER].refused, 1);
	assert_string_equal(b->node[RECEIVER].refused_why, "asked too often");
}

/* 4,096 ports are as much as 17 asks. */
static void who_asks_for_many_ports_waits_sooner(void **state)
{
	enum { ASKS = 100 };
	struct bench *b = *state;
	struct lease_request r = made_request(5);

	r.ranges[0].count = RULE_PORTS_MAX;
	for (unsigned i = 0; i < ASKS; i++)
		assert_int_equal(
			lease_link_put(b->node[SENDER].link, &b->node[RECEIVER].ip, &r, on_done, b, NULL), 0);
	b->awaited = ASKS;
	run(b);
	assert_in_range(b->asked, LEASE_ASKS_BURST / 17, ASKS - 20);
	assert_string_equal(b->node[RECEIVER].refused_why, "asked too often");
}

static void who_has_no_member_address_is_refused(void **state)
{
	struct bench *b = *state;

	put_and_wait(b, STRANGER);
	assert_int_equal(b->reply.error, -EACCES);
	assert_int_equal(b->asked, 0);
	assert_int_equal(b->node[RECEIVER].refused, 1);
	assert_int_equal(
		lease_link_delete(b->node[SENDER].link, &b->node[STRANGER].ip, b->id, on_done, b, NULL),
		-ENOENT);
}

static void a_members_address_without_its_key_is_not_enough(void **state)
{
	struct bench *b = *state;
	uint8_t seed[32] = { 99 }, pk[32];

	crypto_ed25519_keypair(pk, b->node[SENDER].sk, seed);
	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, -EACCES);
	assert_int_equal(b->asked, 0);
	assert_string_equal(b->node[RECEIVER].refused_why, "asked without the node's signature");
}

/* Any user of the member's machine asks from its address: the member itself is heard nevertheless. */
static void what_is_not_signed_takes_no_turns_of_what_is(void **state)
{
	struct bench *b = *state;
	uint8_t seed[32] = { 99 }, pk[32], right[64];

	memcpy(right, b->node[SENDER].sk, sizeof right);
	crypto_ed25519_keypair(pk, b->node[SENDER].sk, seed);
	b->awaited = LEASE_ASKS_MAX;
	for (unsigned i = 0; i < LEASE_ASKS_MAX; i++)
		assert_int_equal(put(b, SENDER, NULL), 0);
	run(b);
	assert_int_equal(b->asked, 0);
	assert_in_range(b->node[RECEIVER].refused, LEASE_OTHERS_BURST + 1, LEASE_ASKS_MAX / 2);
	memcpy(b->node[SENDER].sk, right, sizeof right);
	b->done = 0;
	b->awaited = LEASE_ASKS_BURST;
	for (unsigned i = 0; i < LEASE_ASKS_BURST; i++)
		assert_int_equal(put(b, SENDER, NULL), 0);
	run(b);
	assert_int_equal(b->asked, LEASE_ASKS_BURST);
}

static void what_is_not_done_here_is_said(void **state)
{
	struct bench *b = *state;
	struct lease_link_handler none = { .key_of = key_of };

	lease_link_stop(b->node[RECEIVER].link);
	start(b, RECEIVER, &none, "lo");
	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, -ENOTSUP);
}

static void where_nobody_listens_the_error_tells(void **state)
{
	struct bench *b = *state;
	const struct addr none = { 0 };

	assert_int_equal(lease_link_listen(b->node[RECEIVER].link, &none, &none), 0);
	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, -ECONNREFUSED);
	assert_string_not_equal(b->reply.why, "");
	assert_int_equal(put(b, RECEIVER, NULL), -EADDRNOTAVAIL);
	assert_int_equal(lease_link_listen(b->node[RECEIVER].link, &b->node[RECEIVER].ip, &none), 0);
	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, 0);
}

static void without_its_device_nothing_goes(void **state)
{
	struct bench *b = *state;
	const struct addr none = { 0 };
	struct lease_link_config config = {
		.loop = b->loop, .device = "p2pd-absent", .handler = handler, .arg = &b->node[SENDER]
	};

	lease_link_stop(b->node[SENDER].link);
	config.ik_sk = b->node[SENDER].sk;
	assert_int_equal(lease_link_start(&b->node[SENDER].link, &config), 0);
	assert_int_equal(lease_link_listen(b->node[SENDER].link, &b->node[SENDER].ip, &none), -ENODEV);
	put_and_wait(b, SENDER);
	assert_int_equal(b->reply.error, -ENODEV);
}

static void an_answer_may_take_its_time(void **state)
{
	struct bench *b = *state;

	b->keep = true;
	assert_int_equal(put(b, SENDER, NULL), 0);
	run(b);
	assert_int_equal(b->done, 0);
	lease_answer_released(b->kept); /* an answer, but to another question */
	run(b);
	assert_int_equal(b->reply.error, -EBADMSG);
}

static void who_gives_up_hears_nothing(void **state)
{
	struct bench *b = *state;
	struct lease_call *call;

	b->keep = true;
	assert_int_equal(put(b, SENDER, &call), 0);
	run(b);
	lease_call_cancel(call);
	lease_call_cancel(NULL);
	b->keep = false;
	put_and_wait(b, SENDER); /* by now the receiver has seen the other go */
	assert_null(b->kept->x);
	lease_answer_error(b->kept, -EACCES, "too late", NULL);
	assert_int_equal(b->done, 1);
}

static void stopping_ends_calls_and_leaves_asks_answerable(void **state)
{
	struct bench *b = *state;

	b->keep = true;
	assert_int_equal(put(b, SENDER, NULL), 0);
	run(b);
	lease_link_stop(b->node[SENDER].link);
	b->node[SENDER].link = NULL;
	lease_link_stop(b->node[RECEIVER].link);
	b->node[RECEIVER].link = NULL;
	lease_answer_released(b->kept);
	assert_int_equal(b->done, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_asked_is_answered),
		TEST(a_refusal_arrives_with_its_reason),
		TEST(hundreds_may_be_under_way),
		TEST(who_asks_too_often_waits),
		TEST(who_asks_for_many_ports_waits_sooner),
		TEST(who_has_no_member_address_is_refused),
		TEST(a_members_address_without_its_key_is_not_enough),
		TEST(what_is_not_signed_takes_no_turns_of_what_is),
		TEST(what_is_not_done_here_is_said),
		TEST(where_nobody_listens_the_error_tells),
		TEST(without_its_device_nothing_goes),
		TEST(an_answer_may_take_its_time),
		TEST(who_gives_up_hears_nothing),
		TEST(stopping_ends_calls_and_leaves_asks_answerable),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
