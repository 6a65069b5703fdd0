#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/lpm.h"

#include "core/crypto.h"

static struct addr ip(const char *text)
{
	struct addr a;

	if (addr_parse(&a, text, 0))
		fail_msg("%s does not parse", text);
	return a;
}

static void *find(const struct lpm *t, const char *text)
{
	struct addr a = ip(text);

	return lpm_find(t, a.family, a.ip);
}

static void insert(struct lpm *t, const char *prefix, unsigned bits, void *owner)
{
	struct addr a = ip(prefix);

	assert_int_equal(lpm_insert(t, &a, bits, owner), 0);
}

static char a_, b_, c_;

static void the_longest_prefix_wins(void **state)
{
	(void)state;
	struct lpm t = { 0 };

	assert_null(find(&t, "10.0.0.1"));
	insert(&t, "0.0.0.0", 0, &a_);
	insert(&t, "10.77.0.0", 16, &b_);
	insert(&t, "10.77.3.4", 32, &c_);
	assert_ptr_equal(find(&t, "8.8.8.8"), &a_);
	assert_ptr_equal(find(&t, "10.77.0.0"), &b_);
	assert_ptr_equal(find(&t, "10.77.255.255"), &b_);
	assert_ptr_equal(find(&t, "10.76.255.255"), &a_);
	assert_ptr_equal(find(&t, "10.77.3.4"), &c_);
	assert_ptr_equal(find(&t, "10.77.3.5"), &b_);
	assert_null(find(&t, "::1"));
	insert(&t, "fd00::", 64, &a_);
	insert(&t, "fd00::1", 128, &b_);
	insert(&t, "fd00::", 63, &c_);
	assert_ptr_equal(find(&t, "fd00::2"), &a_);
	assert_ptr_equal(find(&t, "fd00::1"), &b_);
	assert_ptr_equal(find(&t, "fd00:0:0:1::1"), &c_);
	assert_null(find(&t, "fd00:0:0:2::1"));
	lpm_clear(&t);
	assert_null(find(&t, "fd00::1"));
}

static void the_same_prefix_changes_hands(void **state)
{
	(void)state;
	struct lpm t = { 0 };

	insert(&t, "10.77.3.4", 16, &a_);
	insert(&t, "10.77.9.9", 16, &b_);
	assert_ptr_equal(find(&t, "10.77.1.1"), &b_);
	struct addr p = ip("10.77.0.0");
	lpm_remove(&t, &p, 16, &a_);
	assert_ptr_equal(find(&t, "10.77.1.1"), &b_);
	lpm_remove(&t, &p, 17, &b_);
	lpm_remove(&t, &p, 15, &b_);
	assert_ptr_equal(find(&t, "10.77.1.1"), &b_);
	lpm_remove(&t, &p, 16, &b_);
	assert_null(t.root4);
}

static void bad_prefixes_are_refused(void **state)
{
	(void)state;
	struct addr v4 = ip("10.0.0.0"), v6 = ip("fd00::"), none = { 0 };
	struct lpm t = { 0 };

	assert_int_equal(lpm_insert(&t, &v4, 33, &a_), -EINVAL);
	assert_int_equal(lpm_insert(&t, &v6, 129, &a_), -EINVAL);
	assert_int_equal(lpm_insert(&t, &none, 0, &a_), -EINVAL);
	assert_int_equal(lpm_insert(&t, &v4, 8, NULL), -EINVAL);
	lpm_remove(&t, &v4, 33, &a_);
	lpm_remove(&t, &none, 0, &a_);
	assert_null(t.root4);
	assert_null(t.root6);
}

/* The slow reference: a list. */
enum { REF_MAX = 400, OWNERS = 6 };

struct ref {
	struct addr prefix[REF_MAX];
	unsigned bits[REF_MAX];
	void *owner[REF_MAX];
	size_t count;
};

static void ref_drop(struct ref *r, size_t i)
{
	r->count--;
	r->prefix[i] = r->prefix[r->count];
	r->bits[i] = r->bits[r->count];
	r->owner[i] = r->owner[r->count];
}

static size_t ref_find(const struct ref *r, const struct addr *prefix, unsigned bits)
{
	size_t i = 0;

	while (i < r->count && (r->bits[i] != bits || !addr_in_prefix(prefix, &r->prefix[i], bits)))
		i++;
	return i;
}

static void *ref_lookup(const struct ref *r, const struct addr *a)
{
	size_t best = r->count;

	for (size_t i = 0; i < r->count; i++)
		if (addr_in_prefix(a, &r->prefix[i], r->bits[i]) &&
		    (best == r->count || r->bits[i] > r->bits[best]))
			best = i;
	return best == r->count ? NULL : r->owner[best];
}

/* Few different bytes, so that prefixes nest and part at every depth. */
static struct addr random_addr(struct rng *rng)
{
	static const uint8_t bytes[] = { 0, 0, 0, 1, 0x80, 0xff };
	struct addr a = { .family = rng_below(rng, 2) ? ADDR_V4 : ADDR_V6 };

	for (size_t i = 0; i < (a.family == ADDR_V4 ? 4 : 16); i++)
		a.ip[i] = bytes[rng_below(rng, sizeof bytes)];
	if (rng_below(rng, 2))
		a.ip[rng_below(rng, a.family == ADDR_V4 ? 4 : 16)] ^= (uint8_t)(1U << rng_below(rng, 8));
	return a;
}

/* Mostly an address in or at the edge of a prefix that is there. */
static struct addr address_to_ask(struct rng *rng, const struct ref *r)
{
	if (r->count == 0 || rng_below(rng, 4) == 0)
		return random_addr(rng);
	size_t i = rng_below(rng, (uint32_t)r->count);
	struct addr a = r->prefix[i];
	unsigned bit = rng_below(rng, a.family == ADDR_V4 ? 32 : 128);
	a.ip[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
	return a;
}

static void change_both(struct lpm *t, struct ref *r, struct rng *rng, void *owner)
{
	struct addr p = random_addr(rng);
	unsigned bits = rng_below(rng, p.family == ADDR_V4 ? 33 : 129), what = rng_below(rng, 100);

	if (what >= 30 && r->count) { /* most changes concern a prefix that is there */
		size_t any = rng_below(rng, (uint32_t)r->count);
		if (what >= 60) {
			p = r->prefix[any];
			bits = r->bits[any];
		}
	}
	size_t i = ref_find(r, &p, bits);
	if (what == 99) {
		lpm_remove_owner(t, owner);
		for (size_t j = r->count; j-- > 0;)
			if (r->owner[j] == owner)
				ref_drop(r, j);
	} else if (what >= 75) {
		lpm_remove(t, &p, bits, owner);
		if (i < r->count && r->owner[i] == owner)
			ref_drop(r, i);
	} else if (i < r->count || r->count < REF_MAX) {
		assert_int_equal(lpm_insert(t, &p, bits, owner), 0);
		r->prefix[i] = p;
		r->bits[i] = bits;
		r->owner[i] = owner;
		r->count += i == r->count;
	}
}

static void it_agrees_with_a_linear_search_through_random_changes(void **state)
{
	(void)state;
	static char owners[OWNERS];
	static struct ref r;
	size_t hits = 0, most = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct lpm t = { 0 };
		struct rng rng;
		rng_init_seed(&rng, seed);
		r.count = 0;
		for (unsigned step = 0; step < 1000; step++) {
			change_both(&t, &r, &rng, &owners[rng_below(&rng, OWNERS)]);
			for (unsigned ask = 0; ask < 8; ask++) {
				struct addr a = address_to_ask(&rng, &r);
				void *want = ref_lookup(&r, &a);
				assert_ptr_equal(lpm_find(&t, a.family, a.ip), want);
				hits += want != NULL;
			}
			most = r.count > most ? r.count : most;
		}
		for (size_t i = 0; i < OWNERS; i++)
			lpm_remove_owner(&t, &owners[i]);
		assert_null(t.root4);
		assert_null(t.root6);
	}
	assert_true(hits > 10000 && most > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_prefix_wins),
		cmocka_unit_test(the_same_prefix_changes_hands),
		cmocka_unit_test(bad_prefixes_are_refused),
		cmocka_unit_test(it_agrees_with_a_linear_search_through_random_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
