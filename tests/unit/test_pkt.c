#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/pkt.h"

static void a_pool_gives_each_packet_once_and_then_none(void **state)
{
	(void)state;
	struct pkt_pool pool;
	struct pkt *p[3];

	assert_int_equal(pkt_pool_init(&pool, 3), 0);
	for (size_t i = 0; i < 3; i++)
		assert_non_null(p[i] = pkt_get(&pool));
	assert_ptr_not_equal(p[0], p[1]);
	assert_ptr_not_equal(p[1], p[2]);
	assert_null(pkt_get(&pool));
	assert_int_equal(pool.in_use, 3);
	pkt_put(&pool, p[1]);
	assert_ptr_equal(pkt_get(&pool), p[1]);
	pkt_put(&pool, NULL);
	assert_int_equal(pool.in_use, 3);
	pkt_pool_free(&pool);
}

static void a_packet_comes_back_empty(void **state)
{
	(void)state;
	struct pkt_pool pool;

	assert_int_equal(pkt_pool_init(&pool, 1), 0);
	struct pkt *p = pkt_get(&pool);
	p->addr.family = ADDR_V4;
	p->ttl = 3;
	p->off = 1;
	p->len = 100;
	pkt_put(&pool, p);
	p = pkt_get(&pool);
	assert_int_equal(p->addr.family, ADDR_NONE);
	assert_int_equal(p->ttl, 0);
	assert_int_equal(p->off, PKT_HEADROOM);
	assert_int_equal(p->len, 0);
	assert_null(p->next);
	assert_ptr_equal(pkt_data(p), p->buf + PKT_HEADROOM);
	pkt_pool_free(&pool);
}

static void the_last_one_put_is_the_first_one_got(void **state)
{
	(void)state;
	struct pkt_pool pool;

	assert_int_equal(pkt_pool_init(&pool, 4), 0);
	struct pkt *a = pkt_get(&pool), *b = pkt_get(&pool);
	pkt_put(&pool, a);
	pkt_put(&pool, b);
	assert_ptr_equal(pkt_get(&pool), b);
	assert_ptr_equal(pkt_get(&pool), a);
	pkt_pool_free(&pool);
}

static void a_list_is_first_in_first_out(void **state)
{
	(void)state;
	struct pkt_pool pool;
	struct pkt_list list = { 0 };

	assert_int_equal(pkt_pool_init(&pool, 3), 0);
	struct pkt *a = pkt_get(&pool), *b = pkt_get(&pool), *c = pkt_get(&pool);
	assert_null(pkt_list_pop(&list));
	pkt_list_push(&list, a);
	pkt_list_push(&list, b);
	assert_ptr_equal(pkt_list_pop(&list), a);
	pkt_list_push(&list, c);
	assert_int_equal(list.count, 2);
	assert_ptr_equal(pkt_list_pop(&list), b);
	assert_ptr_equal(pkt_list_pop(&list), c);
	assert_null(pkt_list_pop(&list));
	pkt_list_push(&list, a);
	assert_ptr_equal(pkt_list_pop(&list), a);
	assert_int_equal(list.count, 0);
	pkt_pool_free(&pool);
}

static void clearing_a_list_gives_its_packets_back(void **state)
{
	(void)state;
	struct pkt_pool pool;
	struct pkt_list list = { 0 };

	assert_int_equal(pkt_pool_init(&pool, 2), 0);
	pkt_list_push(&list, pkt_get(&pool));
	pkt_list_push(&list, pkt_get(&pool));
	pkt_list_clear(&list, &pool);
	assert_int_equal(pool.in_use, 0);
	assert_int_equal(list.count, 0);
	assert_non_null(pkt_get(&pool));
	pkt_pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_gives_each_packet_once_and_then_none),
		cmocka_unit_test(a_packet_comes_back_empty),
		cmocka_unit_test(the_last_one_put_is_the_first_one_got),
		cmocka_unit_test(a_list_is_first_in_first_out),
		cmocka_unit_test(clearing_a_list_gives_its_packets_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
