/* Sessions whose messages are sealed and opened elsewhere, by both ciphers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/wg_pair.h"

enum { MTU = 1392 };

static struct keypair *keys(struct node *n)
{
	return &n->session.keypairs.current;
}

/* A session that both sides know to be up and that both ciphers are agreed for. */
static void establish(struct pair *p)
{
	struct session_opened opened;
	struct letter a, b;
	struct sealer asks;

	session_want(&p->lo.session, p->now);
	session_seal_begin(&p->lo.session, 1, MTU, p->now, &asks); /* for new keys, if it is time for them */
	assert_int_equal(node_next(&p->lo, p->now, &a), SESSION_MESSAGE);
	assert_int_equal(node_receive(&p->hi, p->now, false, &a, &b, &opened), 0);
	assert_int_equal(node_receive(&p->lo, p->now, false, &b, &a, &opened), 0);
	assert_int_equal(node_next(&p->lo, p->now, &a), SESSION_MESSAGE);
	assert_int_equal(node_receive(&p->hi, p->now, false, &a, &b, &opened), 0);
	keypair_open_aegis(keys(&p->lo));
	keypair_open_aegis(keys(&p->hi));
}

static void open_pair(struct pair *p)
{
	pair_open(p, &(struct pair_options) { 0 });
	establish(p);
}

static void seal(struct sealer *s, const char *text, struct letter *out)
{
	out->len = sealer_seal(s, out->bytes, (const uint8_t *)text, strlen(text));
}

static void seal_one(struct pair *p, struct node *from, const char *text, struct letter *out)
{
	struct sealer s;

	assert_int_equal(session_seal_begin(&from->session, 1, MTU, p->now, &s), 0);
	seal(&s, text, out);
}

/* --- A session's messages go to one socket: udp_steer(). */

static void new_keys_keep_the_lowest_byte_of_the_index(void **state)
{
	enum { RENEWALS = 4 };
	struct node *nodes[2];
	uint32_t last[2];
	struct pair p;

	(void)state;
	open_pair(&p);
	nodes[0] = &p.lo;
	nodes[1] = &p.hi;
	for (int renewal = 0; renewal < RENEWALS; renewal++) {
		for (int i = 0; i < 2; i++)
			last[i] = keys(nodes[i])->local_index;
		p.now += SESSION_REKEY_AFTER_MS + 1;
		establish(&p);
		for (int i = 0; i < 2; i++) {
			assert_int_not_equal(keys(nodes[i])->local_index, last[i]);
			assert_int_equal((uint8_t)keys(nodes[i])->local_index, (uint8_t)last[i]);
		}
	}
	pair_close(&p);
}

/* --- A counter of a key is used once. */

enum { USED_MAX = 20000 };

static struct used {
	uint8_t key[32];
	uint64_t counter;
} used[USED_MAX];
static size_t used_count;

static void note(const uint8_t *key, uint64_t counter)
{
	assert_true(used_count < USED_MAX);
	memset(&used[used_count], 0, sizeof *used);
	memcpy(used[used_count].key, key, 32);
	used[used_count++].counter = counter;
}

static int compare_used(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct used));
}

static void note_range(struct sealer *s)
{
	struct letter x;

	while (s->next < s->end) {
		uint64_t counter = s->next;
		seal(s, "x", &x);
		assert_int_equal(load_le64(x.bytes + 8), counter);
		note(s->key, counter);
	}
}

static void send_something(struct pair *p, struct node *from, struct sealer *held)
{
	struct letter x;

	switch (rng_below(&from->rng, 5)) {
	case 0: /* some of a range that was begun long ago; the rest of it later */
		note_range(held);
		assert_int_equal(
			session_seal_begin(&from->session, 1 + rng_below(&from->rng, 40), MTU, p->now, held),
			0);
		break;
	case 1: keys(from)->seals_aegis = !keys(from)->seals_aegis; break;
	default: {
		struct keypair before = *keys(from);
		assert_true(node_send(from, p->now, rng_below(&from->rng, 2) ? "data" : "", &x));
		note(before.seals_aegis ? before.aegis.send : before.keys.send, load_le64(x.bytes + 8));
	}
	}
}

static void no_key_meets_the_same_nonce_twice(void **state)
{
	struct sealer held[2] = { 0 };
	struct pair p;

	(void)state;
	open_pair(&p);
	used_count = 0;
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 400; i++)
			send_something(&p, i % 2 ? &p.lo : &p.hi, &held[i % 2]);
		p.now += SESSION_REKEY_AFTER_MS + SESSION_REKEY_TIMEOUT_MS;
		establish(&p);
	}
	note_range(&held[0]);
	note_range(&held[1]);
	assert_true(used_count > 1000);
	qsort(used, used_count, sizeof *used, compare_used);
	for (size_t i = 1; i < used_count; i++)
		assert_memory_not_equal(&used[i - 1], &used[i], sizeof *used);
	pair_close(&p);
}

static void each_cipher_and_direction_has_a_key_of_its_own(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p);
	const struct keypair *lo = keys(&p.lo), *hi = keys(&p.hi);
	const uint8_t *all[] = { lo->keys.send, lo->keys.receive, lo->aegis.send, lo->aegis.receive };
	for (size_t i = 0; i < 4; i++) {
		assert_false(crypto_is_zero(all[i], 32));
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(all[i], all[j], 32);
	}
	assert_memory_equal(lo->aegis.send, hi->aegis.receive, 32);
	assert_memory_equal(lo->aegis.receive, hi->aegis.send, 32);
	pair_close(&p);
}

static void no_range_goes_beyond_the_last_counter(void **state)
{
	struct letter a, reply;
	struct session_opened opened;
	struct sealer s;
	struct pair p;

	(void)state;
	open_pair(&p);
	keys(&p.lo)->send_counter = KEYPAIR_REJECT_AFTER_MESSAGES - 3;
	assert_int_equal(session_seal_begin(&p.lo.session, 4, MTU, p.now, &s), -EAGAIN);
	assert_int_equal(keys(&p.lo)->send_counter, KEYPAIR_REJECT_AFTER_MESSAGES - 3);
	assert_int_equal(session_seal_begin(&p.lo.session, 3, MTU, p.now, &s), 0);
	assert_int_equal(s.end, KEYPAIR_REJECT_AFTER_MESSAGES);
	assert_false(session_ready(&p.lo.session, p.now));
	assert_int_equal(session_seal_begin(&p.lo.session, 1, MTU, p.now, &s), -EAGAIN);
	s.next = s.end - 1;
	seal(&s, "the last", &a);
	assert_int_equal(node_receive(&p.hi, p.now, false, &a, &reply, &opened), 0);
	s.end++;
	seal(&s, "one too many", &a);
	assert_int_equal(node_receive(&p.hi, p.now, false, &a, &reply, &opened), -EALREADY);
	pair_close(&p);
}

static void a_large_range_asks_for_new_keys(void **state)
{
	struct sealer s;
	struct letter x;
	struct pair p;

	(void)state;
	open_pair(&p);
	keys(&p.hi)->send_counter = KEYPAIR_REKEY_AFTER_MESSAGES - 64;
	assert_int_equal(session_seal_begin(&p.hi.session, 64, MTU, p.now, &s), 0);
	assert_int_equal(node_next(&p.hi, p.now, &x), SESSION_NOTHING);
	assert_int_equal(session_seal_begin(&p.hi.session, 64, MTU, p.now, &s), 0);
	assert_int_equal(node_next(&p.hi, p.now, &x), SESSION_MESSAGE);
	assert_int_equal(x.len, WG_INITIATION_LEN);
	pair_close(&p);
}

/* --- Opening. */

struct batch {
	struct letter letters[8];
	struct opened list[8];
	struct opener opener;
	uint32_t receiver;
};

static void seal_batch(struct pair *p, struct node *from, struct batch *b, unsigned count)
{
	struct sealer s;

	assert_int_equal(session_seal_begin(&from->session, count, MTU, p->now, &s), 0);
	for (unsigned i = 0; i < count; i++)
		seal(&s, "packet", &b->letters[i]);
	b->receiver = s.receiver;
}

static void open_batch(struct batch *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		opener_open(&b->opener, b->letters[i].bytes, b->letters[i].len, &b->list[i]);
}

static void replays_are_refused_whichever_cipher_they_come_by(void **state)
{
	struct session_opened opened;
	struct letter first, second, reply;
	struct sealer chacha, aegis;
	struct pair p;

	(void)state;
	open_pair(&p);
	for (int i = 0; i < 2; i++) {
		keys(&p.lo)->seals_aegis = false;
		assert_int_equal(session_seal_begin(&p.lo.session, 1, MTU, p.now, &chacha), 0);
		keys(&p.lo)->seals_aegis = true;
		assert_int_equal(session_seal_begin(&p.lo.session, 1, MTU, p.now, &aegis), 0);
		aegis.next = chacha.next;
		seal(i ? &chacha : &aegis, "the one", &first);
		seal(i ? &aegis : &chacha, "the other", &second);
		assert_int_equal(node_receive(&p.hi, p.now, false, &first, &reply, &opened), 0);
		const struct session before = p.hi.session;
		assert_int_equal(node_receive(&p.hi, p.now, false, &second, &reply, &opened), -EALREADY);
		assert_memory_equal(&before, &p.hi.session, sizeof before);
	}
	pair_close(&p);
}

static void a_batch_loses_only_what_is_bad(void **state)
{
	static struct batch b;
	bool confirmed;
	struct pair p;

	(void)state;
	open_pair(&p);
	for (int aegis = 0; aegis < 2; aegis++) {
		keys(&p.lo)->seals_aegis = aegis;
		seal_batch(&p, &p.lo, &b, 8);
		b.letters[3].bytes[40] ^= 1; /* damaged */
		b.letters[5] = b.letters[1]; /* a replay within the batch */
		assert_int_equal(session_open_begin(&p.hi.session, b.receiver, p.now, &b.opener), 0);
		open_batch(&b, 8);
		assert_int_equal(session_open_end(&p.hi.session, b.receiver, b.list, 8, p.now, &confirmed),
				 1);
		assert_false(confirmed);
		for (int i = 0; i < 8; i++)
			assert_int_equal(b.list[i].data != NULL, i != 3 && i != 5);
		/* All of it again. */
		for (int i = 0; i < 8; i++)
			b.list[i].data = b.list[i].data ? b.letters[i].bytes : NULL;
		assert_int_equal(session_open_end(&p.hi.session, b.receiver, b.list, 8, p.now, &confirmed),
				 6);
	}
	pair_close(&p);
}

static void a_batch_that_opens_nothing_changes_nothing(void **state)
{
	static struct batch b;
	bool confirmed;
	struct pair p;

	(void)state;
	open_pair(&p);
	seal_batch(&p, &p.lo, &b, 8);
	for (int i = 0; i < 8; i++)
		b.letters[i].bytes[20] ^= 1;
	assert_int_equal(session_open_begin(&p.hi.session, b.receiver, p.now, &b.opener), 0);
	const struct session before = p.hi.session;
	open_batch(&b, 8);
	assert_int_equal(session_open_end(&p.hi.session, b.receiver, b.list, 8, p.now, &confirmed), 0);
	assert_memory_equal(&before, &p.hi.session, sizeof before);
	pair_close(&p);
}

static void the_first_batch_confirms_new_keys(void **state)
{
	struct session_opened opened;
	static struct batch b;
	struct letter x, y;
	bool confirmed;
	struct pair p;

	(void)state;
	pair_open(&p, &(struct pair_options) { 0 });
	session_want(&p.lo.session, p.now);
	assert_int_equal(node_next(&p.lo, p.now, &x), SESSION_MESSAGE);
	assert_int_equal(node_receive(&p.hi, p.now, false, &x, &y, &opened), 0);
	assert_int_equal(node_receive(&p.lo, p.now, false, &y, &x, &opened), 0);
	seal_batch(&p, &p.lo, &b, 8);
	assert_int_equal(node_next(&p.lo, p.now, &x), SESSION_NOTHING);
	assert_false(session_ready(&p.hi.session, p.now));
	assert_int_equal(session_open_begin(&p.hi.session, b.receiver, p.now, &b.opener), 0);
	open_batch(&b, 8);
	assert_int_equal(session_open_end(&p.hi.session, b.receiver, b.list, 4, p.now, &confirmed), 0);
	assert_true(confirmed);
	assert_true(session_ready(&p.hi.session, p.now));
	assert_int_equal(session_open_end(&p.hi.session, b.receiver, b.list + 4, 4, p.now, &confirmed), 0);
	assert_false(confirmed);
	pair_close(&p);
}

static void a_range_outlives_the_change_of_keys(void **state)
{
	static struct batch b;
	bool confirmed;
	struct sealer s;
	struct pair p;

	(void)state;
	open_pair(&p);
	keys(&p.lo)->seals_aegis = true;
	assert_int_equal(session_seal_begin(&p.lo.session, 8, MTU, p.now, &s), 0);
	for (int i = 0; i < 4; i++)
		seal(&s, "before", &b.letters[i]);
	assert_int_equal(session_open_begin(&p.hi.session, s.receiver, p.now, &b.opener), 0);
	p.now += SESSION_REKEY_AFTER_MS;
	establish(&p);
	for (int i = 4; i < 8; i++)
		seal(&s, "after", &b.letters[i]);
	open_batch(&b, 8);
	assert_int_equal(session_open_end(&p.hi.session, s.receiver, b.list, 8, p.now, &confirmed), 0);
	for (int i = 0; i < 8; i++)
		assert_non_null(b.list[i].data);
	assert_false(confirmed);
	/* Fresh keys begin at the first cipher again. */
	assert_int_equal(session_seal_begin(&p.lo.session, 1, MTU, p.now, &s), 0);
	assert_int_equal(s.cipher, CIPHER_CHACHA20);
	pair_close(&p);
}

static void copies_outlive_the_keys_but_open_nothing_any_more(void **state)
{
	static struct batch b;
	bool confirmed;
	struct pair p;

	(void)state;
	open_pair(&p);
	seal_batch(&p, &p.lo, &b, 8);
	assert_int_equal(session_open_begin(&p.hi.session, b.receiver, p.now, &b.opener), 0);
	session_reset(&p.hi.session);
	open_batch(&b, 8);
	assert_non_null(b.list[0].data);
	assert_int_equal(session_open_end(&p.hi.session, b.receiver, b.list, 8, p.now, &confirmed), -ENOENT);
	for (int i = 0; i < 8; i++)
		assert_null(b.list[i].data);
	assert_false(confirmed);
	assert_int_equal(session_open_begin(&p.hi.session, b.receiver, p.now, &b.opener), -ENOENT);
	pair_close(&p);
}

static void old_keys_neither_seal_nor_open(void **state)
{
	struct opener opener;
	struct sealer s;
	struct pair p;

	(void)state;
	open_pair(&p);
	assert_int_equal(session_seal_begin(&p.lo.session, 1, MTU, p.now, &s), 0);
	p.now += KEYPAIR_REJECT_AFTER_MS;
	assert_int_equal(session_open_begin(&p.hi.session, s.receiver, p.now, &opener), -EKEYEXPIRED);
	assert_int_equal(session_seal_begin(&p.lo.session, 1, MTU, p.now, &s), -EAGAIN);
	pair_close(&p);
}

static void bulk_starts_the_timers_that_single_packets_start(void **state)
{
	struct pair one, many;
	static struct batch b;
	struct letter x, y;
	struct session_opened opened;
	bool confirmed;

	(void)state;
	open_pair(&one);
	open_pair(&many);
	seal_one(&one, &one.lo, "packet", &x);
	seal_batch(&many, &many.lo, &b, 8);
	assert_int_equal(session_deadline(&one.lo.session), session_deadline(&many.lo.session));
	assert_int_equal(node_receive(&one.hi, one.now, false, &x, &y, &opened), 0);
	assert_int_equal(session_open_begin(&many.hi.session, b.receiver, many.now, &b.opener), 0);
	open_batch(&b, 8);
	assert_int_equal(session_open_end(&many.hi.session, b.receiver, b.list, 8, many.now, &confirmed), 0);
	assert_int_equal(session_deadline(&one.hi.session), session_deadline(&many.hi.session));
	assert_int_equal(session_deadline(&one.hi.session), one.now + SESSION_KEEPALIVE_MS);
	pair_close(&one);
	pair_close(&many);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_keys_keep_the_lowest_byte_of_the_index),
		cmocka_unit_test(no_key_meets_the_same_nonce_twice),
		cmocka_unit_test(each_cipher_and_direction_has_a_key_of_its_own),
		cmocka_unit_test(no_range_goes_beyond_the_last_counter),
		cmocka_unit_test(a_large_range_asks_for_new_keys),
		cmocka_unit_test(replays_are_refused_whichever_cipher_they_come_by),
		cmocka_unit_test(a_batch_loses_only_what_is_bad),
		cmocka_unit_test(a_batch_that_opens_nothing_changes_nothing),
		cmocka_unit_test(the_first_batch_confirms_new_keys),
		cmocka_unit_test(a_range_outlives_the_change_of_keys),
		cmocka_unit_test(copies_outlive_the_keys_but_open_nothing_any_more),
		cmocka_unit_test(old_keys_neither_seal_nor_open),
		cmocka_unit_test(bulk_starts_the_timers_that_single_packets_start),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
