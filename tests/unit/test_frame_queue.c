#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "relay/frame_queue.h"

static uint8_t bytes[FRAME_QUEUE_BYTES + 1];

struct bench {
	struct frame_pool pool;
	struct frame_queue q;
};

static struct bench bench(void)
{
	return (struct bench) { .pool = { .max = 1 << 20 } };
}

/* The first byte tells messages apart. */
static void push(struct bench *b, uint32_t flow, uint8_t name, size_t len)
{
	bytes[0] = name;
	frame_queue_push(&b->q, &b->pool, flow, bytes, len);
}

/* The names of what waits, the oldest first. */
static const char *waiting(const struct bench *b)
{
	static char names[FRAME_QUEUE_MESSAGES + 1];
	struct part parts[FRAME_QUEUE_MESSAGES];
	size_t n = frame_queue_peek(&b->q, parts, SIZE_MAX);

	for (size_t i = 0; i < n; i++)
		names[i] = *(const char *)parts[i].data;
	names[n] = 0;
	return names;
}

static void messages_leave_in_order_and_memory_goes_with_the_last(void **state)
{
	(void)state;
	struct bench b = bench();

	push(&b, 1, 'a', 100);
	push(&b, 2, 'b', 200);
	push(&b, 1, 'c', 300);
	assert_string_equal(waiting(&b), "abc");
	assert_int_equal(b.pool.bytes, 600);
	assert_int_equal(b.pool.users, 1);
	frame_queue_pop(&b.q, &b.pool, 2);
	assert_string_equal(waiting(&b), "c");
	frame_queue_pop(&b.q, &b.pool, 1);
	assert_string_equal(waiting(&b), "");
	assert_null(b.q.list);
	assert_int_equal(b.pool.bytes + b.pool.users + b.pool.dropped, 0);
	frame_queue_pop(&b.q, &b.pool, 0);
	frame_queue_clear(&b.q, &b.pool);
}

static void a_peek_takes_what_fits_but_one_at_least(void **state)
{
	(void)state;
	static const struct {
		size_t most, want;
	} cases[] = { { 0, 1 }, { 999, 1 }, { 1000, 1 }, { 1999, 1 }, { 2000, 2 }, { 2100, 3 }, { 9999, 3 } };
	struct part parts[FRAME_QUEUE_MESSAGES];
	struct bench b = bench();

	push(&b, 1, 'a', 1000);
	push(&b, 1, 'b', 1000);
	push(&b, 1, 'c', 100);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(frame_queue_peek(&b.q, parts, cases[i].most), cases[i].want);
	assert_int_equal(parts[1].len, 1000);
	assert_int_equal(parts[2].len, 100);
	frame_queue_clear(&b.q, &b.pool);
	assert_int_equal(b.pool.bytes + b.pool.users, 0);
}

static void of_one_sender_the_oldest_is_dropped_and_counted(void **state)
{
	(void)state;
	struct bench b = bench();

	for (uint8_t i = 0; i < FRAME_QUEUE_MESSAGES + 3; i++)
		push(&b, 1, (uint8_t)('0' + i), 10);
	assert_int_equal(b.pool.dropped, 3);
	assert_int_equal(strlen(waiting(&b)), FRAME_QUEUE_MESSAGES);
	assert_int_equal(waiting(&b)[0], '3');
	assert_int_equal(waiting(&b)[FRAME_QUEUE_MESSAGES - 1], '0' + FRAME_QUEUE_MESSAGES + 2);
	frame_queue_clear(&b.q, &b.pool);
	/* By bytes. */
	for (uint8_t i = 0; i < 10; i++)
		push(&b, 1, (uint8_t)('0' + i), 16384);
	assert_int_equal(b.pool.dropped, 3 + 2);
	assert_string_equal(waiting(&b), "23456789");
	push(&b, 1, 'x', FRAME_QUEUE_BYTES);
	assert_string_equal(waiting(&b), "x");
	push(&b, 1, 'y', FRAME_QUEUE_BYTES + 1);
	assert_string_equal(waiting(&b), "x");
	assert_int_equal(b.pool.dropped, 5 + 8 + 1);
	frame_queue_clear(&b.q, &b.pool);
	push(&b, 1, 'y', FRAME_QUEUE_BYTES + 1);
	assert_null(b.q.list);
	assert_int_equal(b.pool.users, 0);
}

static void of_several_senders_the_greediest_loses(void **state)
{
	(void)state;
	struct bench b = bench();

	push(&b, 7, 'm', 100);
	for (int i = 0; i < 100; i++) {
		push(&b, 1, 'G', 16384);
		push(&b, 2, 'g', 4096);
	}
	push(&b, 8, 'n', 100);
	const char *names = waiting(&b);
	assert_int_equal(names[0], 'm');
	assert_int_equal(names[strlen(names) - 1], 'n');
	size_t large = 0, small = 0;
	for (; *names; names++) {
		large += *names == 'G';
		small += *names == 'g';
	}
	/* Equal in bytes, as near as messages allow. */
	assert_in_range(large * 16384, 49152, 65536);
	assert_in_range(small * 4096, 49152, 81920);
	frame_queue_clear(&b.q, &b.pool);
}

static void clients_share_what_there_is_for_all(void **state)
{
	(void)state;
	enum { CLIENTS = 100, MAX = 400000 };
	struct frame_pool pool = { .max = MAX };
	struct frame_queue q[CLIENTS] = { 0 };

	for (int round = 0; round < 100; round++)
		for (int i = 0; i < CLIENTS; i++) {
			frame_queue_push(&q[i], &pool, 1, bytes, 1000);
			assert_true(pool.bytes <= MAX);
		}
	/* The first ones had more while they were alone, and gave it back. */
	struct part parts[FRAME_QUEUE_MESSAGES];
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(frame_queue_peek(&q[i], parts, SIZE_MAX), 4);
	assert_int_equal(pool.dropped, 100 * CLIENTS - 4 * CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		frame_queue_clear(&q[i], &pool);
	assert_int_equal(pool.bytes + pool.users, 0);
}

static void no_number_of_clients_takes_more_than_there_is(void **state)
{
	(void)state;
	enum { CLIENTS = 200 };
	struct frame_pool pool = { .max = 100000 };
	struct frame_queue q[CLIENTS] = { 0 };

	for (int i = 0; i < CLIENTS; i++) {
		frame_queue_push(&q[i], &pool, 1, bytes, 16000);
		assert_true(pool.bytes <= pool.max);
	}
	assert_int_equal(pool.users, 6);
	assert_int_equal(pool.dropped, CLIENTS - 6);
	for (int i = 0; i < CLIENTS; i++)
		frame_queue_clear(&q[i], &pool);
	assert_int_equal(pool.bytes + pool.users, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_leave_in_order_and_memory_goes_with_the_last),
		cmocka_unit_test(a_peek_takes_what_fits_but_one_at_least),
		cmocka_unit_test(of_one_sender_the_oldest_is_dropped_and_counted),
		cmocka_unit_test(of_several_senders_the_greediest_loses),
		cmocka_unit_test(clients_share_what_there_is_for_all),
		cmocka_unit_test(no_number_of_clients_takes_more_than_there_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
