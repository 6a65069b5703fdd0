#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/session_index.h"

static void indexes_are_unique_and_find_their_owner_until_removed(void **state)
{
	enum { MANY = 3000 };
	static uint32_t index[MANY];
	static char owner[MANY];
	struct session_index *table = session_index_create(MANY);
	struct rng rng;

	(void)state;
	rng_init_seed(&rng, 1);
	for (int i = 0; i < MANY; i++) {
		index[i] = session_index_add(table, &owner[i], 7, &rng);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(index[i], index[j]);
	}
	/* Every third goes, so that holes open in the middle of probes. */
	for (int i = 0; i < MANY; i += 3)
		session_index_remove(table, index[i]);
	session_index_remove(table, index[0]);
	for (int i = 0; i < MANY; i++)
		assert_ptr_equal(session_index_find(table, index[i]), i % 3 ? &owner[i] : NULL);
	/* The same slot, another index. */
	for (int i = 0; i < MANY; i++)
		assert_null(session_index_find(table, index[i] ^ 0x80000000));
	session_index_destroy(table);
}

static void no_more_is_reserved_than_there_is(void **state)
{
	struct session_index *table = session_index_create(10);

	(void)state;
	assert_int_equal(session_index_reserve(table, 4), 0);
	assert_int_equal(session_index_reserve(table, 4), 0);
	assert_int_equal(session_index_reserve(table, 4), -ENOSPC);
	session_index_release(table, 4);
	assert_int_equal(session_index_reserve(table, 4), 0);
	session_index_destroy(table);
	assert_null(session_index_create(SIZE_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(indexes_are_unique_and_find_their_owner_until_removed),
		cmocka_unit_test(no_more_is_reserved_than_there_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
