#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/crypto.h"
#include "core/network.h"

static struct network net;

static int set_up(void **state)
{
	(void)state;
	return crypto_init() || network_from_secret(&net, "home", "correct horse battery", 21);
}

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
	char text[2 * 64 + 1];

	for (size_t i = 0; i < len; i++)
		sprintf(text + 2 * i, "%02x", got[i]);
	assert_string_equal(text, want);
}

/* Computed once and pinned: a change here cuts every existing network in two. */
static void a_name_and_a_secret_always_make_the_same_network(void **state)
{
	(void)state;
	assert_string_equal(net.name, "home");
	assert_hex(net.root_pk, 32, "92551c14a4a105e7b604cbb2b455267858aeaaa1faf8a6ebc3c8f871c574c916");
	assert_hex(net.netid, 32, "d326cdda48118370fdffc58283bc7c9a7848ef1c585fc7194f01a49197bd8dd6");
	assert_hex(net.epoch_key, 32, "cbd90ff9fd9df5f6e126e2b3965dd131a671507da5c0f2a9e1008f588c76cf91");
	assert_hex(net.envelope_key, 32, "a7ceb63a30cb0f0312cc809f503a71a2f7041c7107102319779893073ce7e714");
	assert_hex(net.psk_key, 32, "c500511cbd5b78d5506a35f973b34f65198a7fddc7d39207f0a724a8a8250c23");
	assert_hex(net.probe_key, 32, "1d7ba19b9bcb33008f35ee90769fff17ab589943699dc189d3225a1df88d7f1c");
}

static void what_nodes_derive_is_pinned(void **state)
{
	(void)state;
	uint8_t a[32] = { 1 }, b[32] = { 2 }, psk[32];
	struct addr ip6, ip4, prefix = addr_from_ip(ADDR_V4, (const uint8_t[]) { 10, 77, 0, 0 }, 0);
	char text[ADDR_TEXT_MAX];

	network_psk(&net, a, b, psk);
	assert_hex(psk, 32, "a6688774a97933df4f801905f4d880c6a720959617f2b7fdeeb5f09ef63ab0fe");
	network_ip6(&net, a, &ip6);
	assert_string_equal(addr_format(&ip6, text), "fdd3:26cd:da48:fc5:391a:8e8a:e69e:27da");
	network_ip4(a, &prefix, 16, 0, &ip4);
	assert_string_equal(addr_format(&ip4, text), "10.77.186.251");
	assert_int_equal(network_name_tag("home"), 0x27cb);
}

static void another_name_or_secret_makes_another_network(void **state)
{
	(void)state;
	struct network other;

	assert_int_equal(network_from_secret(&other, "home2", "correct horse battery", 21), 0);
	assert_memory_not_equal(other.netid, net.netid, 32);
	assert_memory_not_equal(other.epoch_key, net.epoch_key, 32);
	assert_int_equal(network_from_secret(&other, "home", "correct horse batterz", 21), 0);
	assert_memory_not_equal(other.netid, net.netid, 32);
	assert_memory_not_equal(other.epoch_key, net.epoch_key, 32);
	assert_int_not_equal(network_name_tag("home2"), network_name_tag("home"));
}

static void keys_of_one_network_differ_from_each_other(void **state)
{
	(void)state;
	const uint8_t *keys[] = { net.epoch_key, net.envelope_key, net.psk_key, net.probe_key,
				  net.root_sk,	 net.root_pk,	   net.netid };

	for (size_t i = 0; i < 7; i++)
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(keys[i], keys[j], 32);
}

static void names_that_could_be_written_in_two_ways_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",	"caf\xc3\xa9",
		"a\tb", "a\x7f",
		"\xff", "0123456789012345678901234567890123456789012345678901234567890123" /* 64 */,
	};
	uint8_t stored[NETWORK_STORED_LEN];
	struct network n;

	network_store(&net, stored);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(network_from_secret(&n, bad[i], "secret", 6), -EINVAL);
		assert_int_equal(network_restore(&n, bad[i], stored), -EINVAL);
	}
	assert_int_equal(network_from_secret(&n, "home", "", 0), -EINVAL);
	assert_int_equal(network_from_secret(&n, bad[5] + 1, "s", 1), 0);
}

static void weak_secrets_are_recognised(void **state)
{
	(void)state;
	static const struct {
		const char *secret;
		bool weak;
	} cases[] = {
		{ "", true },
		{ "hunter2", true },
		{ "x8#kQ!mZ2p$Lw9v", true }, /* 15 */
		{ "x8#kQ!mZ2p$Lw9vT", false },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaa", true },
		{ "abababababababababababab", true },
		{ "passwordpassword", true },
		{ "passwordpasswordpassword", true },
		{ "1234567890123456", true },
		{ "abcdefghijklmnopqrstuvwxyz", true },
		{ "zyxwvutsrqponmlkjihgfedcba", true },
		{ "aabbccddeeffgghhiijjkk", true },
		{ "qwertzqwertzqwertz", true },
		{ "correct horse battery", false },
		{ "mgq3ah7yzk2wd5bxo4fvn6trce", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (network_secret_is_weak(cases[i].secret, strlen(cases[i].secret)) != cases[i].weak)
			fail_msg("%s", cases[i].secret);
}

static void generated_secrets_are_26_base32_characters_and_strong(void **state)
{
	(void)state;
	char a[NETWORK_SECRET_TEXT], b[NETWORK_SECRET_TEXT] = "";
	unsigned seen = 0;
	struct rng rng;

	rng_init_seed(&rng, 1);
	for (unsigned n = 0; n < 500; n++) {
		network_generate_secret(a, &rng);
		assert_int_equal(strlen(a), 26);
		assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz234567"), 26);
		assert_false(network_secret_is_weak(a, 26));
		assert_string_not_equal(a, b);
		for (size_t i = 0; i < 26; i++)
			seen |= 1U << (a[i] >= 'a' ? a[i] - 'a' : a[i] - '2' + 26);
		strcpy(b, a);
	}
	assert_int_equal(seen, UINT32_MAX);
}

static void a_generated_secret_carries_all_128_bits(void **state)
{
	(void)state;
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t want[16], got[17] = { 0 };
	char text[NETWORK_SECRET_TEXT];
	struct rng rng;

	rng_init_seed(&rng, 5);
	rng_fill(&rng, want, sizeof want);
	rng_init_seed(&rng, 5);
	network_generate_secret(text, &rng);
	for (size_t bit = 0; bit < 130; bit++) {
		size_t value = (size_t)(strchr(alphabet, text[bit / 5]) - alphabet);
		got[bit / 8] |= (uint8_t)((value >> (4 - bit % 5) & 1) << (7 - bit % 8));
	}
	assert_memory_equal(got, want, sizeof want);
	assert_int_equal(got[16], 0);
}

static void both_ends_have_one_psk_and_no_other_pair_has_it(void **state)
{
	(void)state;
	uint8_t a[32] = { 9, 1 }, b[32] = { 9, 2 }, c[32] = { 9, 3 }, ab[32], ba[32], ac[32];

	network_psk(&net, a, b, ab);
	network_psk(&net, b, a, ba);
	network_psk(&net, a, c, ac);
	assert_memory_equal(ab, ba, 32);
	assert_memory_not_equal(ab, ac, 32);
}

static void ip6_lies_in_the_networks_48(void **state)
{
	(void)state;
	struct addr first = { 0 };
	uint8_t wk[32] = { 0 };

	for (uint8_t i = 0; i < 100; i++) {
		struct addr a;
		wk[7] = i;
		network_ip6(&net, wk, &a);
		assert_int_equal(a.family, ADDR_V6);
		assert_int_equal(a.port, 0);
		assert_int_equal(a.ip[0], 0xfd);
		assert_memory_equal(a.ip + 1, net.netid, 5);
		assert_false(addr_equal(&a, &first));
		first = i == 0 ? a : first;
	}
}

static void ip4_is_a_host_address_of_the_prefix_at_every_attempt(void **state)
{
	(void)state;
	static const unsigned lengths[] = { 0, 1, 8, 15, 16, 17, 22, 24, 28, 29, 30 };
	struct addr prefix = addr_from_ip(ADDR_V4, (const uint8_t[]) { 10, 77, 77, 77 }, 0);

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (uint32_t attempt = 0; attempt < 2000; attempt++) {
			uint32_t host_mask = (uint32_t)((1ULL << (32 - lengths[i])) - 1);
			uint8_t wk[32] = { (uint8_t)(attempt % 7) };
			struct addr a;
			network_ip4(wk, &prefix, lengths[i], attempt, &a);
			assert_int_equal(a.family, ADDR_V4);
			assert_true(addr_in_prefix(&a, &prefix, lengths[i]));
			uint32_t host = load_be32(a.ip) & host_mask;
			assert_true(host != 0 && host != host_mask);
		}
}

static void ip4_attempts_walk_through_all_hosts(void **state)
{
	(void)state;
	struct addr prefix = addr_from_ip(ADDR_V4, (const uint8_t[]) { 10, 0, 0, 0 }, 0), a;
	uint8_t wk[32] = { 3 };
	bool seen[256] = { false };

	for (uint32_t attempt = 0; attempt < 254; attempt++) {
		network_ip4(wk, &prefix, 24, attempt, &a);
		assert_false(seen[a.ip[3]]);
		seen[a.ip[3]] = true;
	}
}

static void ip4_of_the_narrowest_prefixes(void **state)
{
	(void)state;
	struct addr prefix = addr_from_ip(ADDR_V4, (const uint8_t[]) { 10, 0, 0, 6 }, 0), a, b;
	uint8_t wk[32] = { 3 };

	network_ip4(wk, &prefix, 32, 5, &a);
	assert_true(addr_equal(&a, &prefix));
	network_ip4(wk, &prefix, 31, 0, &a);
	network_ip4(wk, &prefix, 31, 1, &b);
	assert_int_equal(a.ip[3] + b.ip[3], 6 + 7);
	network_ip4(wk, &prefix, 33, 0, &a);
	assert_int_equal(a.family, ADDR_NONE);
	prefix.family = ADDR_V6;
	network_ip4(wk, &prefix, 16, 0, &a);
	assert_int_equal(a.family, ADDR_NONE);
}

static void what_is_stored_comes_back_whole(void **state)
{
	(void)state;
	uint8_t stored[NETWORK_STORED_LEN];
	struct network back;

	network_store(&net, stored);
	assert_int_equal(network_restore(&back, "home", stored), 0);
	assert_memory_equal(&back, &net, sizeof net);
}

static void a_damaged_store_or_another_name_is_refused(void **state)
{
	(void)state;
	uint8_t stored[NETWORK_STORED_LEN];
	struct network back;

	network_store(&net, stored);
	for (size_t bit = 0; bit < sizeof stored * 8; bit++) {
		stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(network_restore(&back, "home", stored), -EBADMSG);
		stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(network_restore(&back, "hom", stored), -EBADMSG);
	assert_int_equal(network_restore(&back, "home", stored), 0);
}

static void a_wiped_network_holds_nothing(void **state)
{
	(void)state;
	struct network copy = net;

	network_wipe(&copy);
	assert_true(crypto_is_zero(&copy, sizeof copy));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_and_a_secret_always_make_the_same_network),
		cmocka_unit_test(what_nodes_derive_is_pinned),
		cmocka_unit_test(another_name_or_secret_makes_another_network),
		cmocka_unit_test(keys_of_one_network_differ_from_each_other),
		cmocka_unit_test(names_that_could_be_written_in_two_ways_are_refused),
		cmocka_unit_test(weak_secrets_are_recognised),
		cmocka_unit_test(generated_secrets_are_26_base32_characters_and_strong),
		cmocka_unit_test(a_generated_secret_carries_all_128_bits),
		cmocka_unit_test(both_ends_have_one_psk_and_no_other_pair_has_it),
		cmocka_unit_test(ip6_lies_in_the_networks_48),
		cmocka_unit_test(ip4_is_a_host_address_of_the_prefix_at_every_attempt),
		cmocka_unit_test(ip4_attempts_walk_through_all_hosts),
		cmocka_unit_test(ip4_of_the_narrowest_prefixes),
		cmocka_unit_test(what_is_stored_comes_back_whole),
		cmocka_unit_test(a_damaged_store_or_another_name_is_refused),
		cmocka_unit_test(a_wiped_network_holds_nothing),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
