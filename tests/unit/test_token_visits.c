/* A rule has place for so many visitors: nobody who is in is pushed out. */
#include "token_bench.h"

/* Who comes by the link when the rule has as many as it can: nobody is pushed out, no use is lost. */
static void nobody_is_pushed_out_by_a_later_visitor(void **state)
{
	char text[TOKEN_TEXT], other[TOKEN_TEXT], b_text[TOKEN_TEXT];
	struct addr visitor = from("198.51.100.0"), late = from("203.0.113.9");
	struct token_visit visit;
	struct token token;
	const unsigned room = 5;

	(void)state;
	make(rule_a, 1000, 0, text);
	make(rule_a, 1000, 0, other);
	make(rule_b, 1000, 0, b_text);
	assert_int_equal(admit(rule_b, b_text, "192.0.2.1"), 0);
	for (unsigned i = 0; i < room; i++) {
		visitor.ip[3] = (uint8_t)i;
		assert_int_equal(tokens_admit(tokens, rule_a, text, &visitor, room, NOW + i, &visit, &token),
				 0);
	}
	assert_int_equal(tokens_admit(tokens, rule_a, text, &late, room, NOW + 10, &visit, &token), -EUSERS);
	assert_int_equal(tokens_look(tokens, rule_a, text, &late, room, NOW + 10, &token), -EUSERS);
	assert_int_equal(tokens_at(tokens, 0)->used, room);
	assert_int_equal(allowed(rule_a, NOW + 10), room);
	assert_int_equal(tokens_full_until(tokens, rule_a, &late, room, NOW + 10), NOW + 12 * HOUR);
	/* Who is in is still so, and takes no second place by another link. */
	assert_int_equal(tokens_admit(tokens, rule_a, text, &visitor, room, NOW + 10, &visit, &token), 0);
	assert_int_equal(tokens_admit(tokens, rule_a, other, &visitor, room, NOW + 10, &visit, &token), 0);
	assert_int_equal(allowed(rule_a, NOW + 10), room);
	assert_int_equal(tokens_full_until(tokens, rule_b, &late, room, NOW + 10), 0);
	/* The first one's time is over. */
	assert_int_equal(tokens_admit(tokens, rule_a, text, &late, room, NOW + 12 * HOUR, &visit, &token), 0);
	assert_int_equal(allowed(rule_a, NOW + 12 * HOUR), room);
}

static void no_more_visitors_than_the_file_takes(void **state)
{
	struct addr visitor = from("10.0.0.0");
	char text[TOKEN_TEXT];
	struct token_visit visit;
	struct token token;
	unsigned n = 0;
	int ret = 0;

	(void)state;
	make(rule_a, 1000, 0, text);
	for (; !ret && n <= TOKENS_VISITS_MAX; n++) {
		visitor.ip[2] = (uint8_t)(n >> 8);
		visitor.ip[3] = (uint8_t)n;
		ret = tokens_admit(tokens, rule_a, text, &visitor, 1000, NOW, &visit, &token);
	}
	assert_int_equal(ret, -EUSERS);
	assert_int_equal(n, TOKENS_VISITS_MAX + 1);
	assert_int_equal(tokens_full_until(tokens, rule_b, &visitor, 1000, NOW), NOW + 12 * HOUR);
	reopen();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_is_pushed_out_by_a_later_visitor),
		TEST(no_more_visitors_than_the_file_takes),
	};
	crypto_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
