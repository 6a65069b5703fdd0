/* What `p2pd up` makes of the options and of what the state folder remembers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/hub_proxy.h"
#include "apps/p2pd/join.h"
#include "core/crypto.h"
#include "core/fail.h"

static char folder[64];

#define HUB    "https://hub.example"
#define PIN    "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define SECRET "env:P2PD_TEST_SECRET"

static const struct join_wish first_wish = {
	.hub = HUB, .network = "home", .secret = SECRET, .name = "NAS box"
};

static void expect_ip(const struct addr *a, const char *text)
{
	char got[ADDR_TEXT_MAX];

	assert_string_equal(addr_format_ip(a, got), text);
}

/* As `p2pd up` does once it has joined. */
static struct join_plan join(struct state *s)
{
	struct join_plan p;

	assert_int_equal(join_plan(&first_wish, s, &p), EXIT_OK);
	p.network.port = 40000;
	assert_int_equal(addr_parse(&p.network.ip4_wish, "10.77.9.9", 0), 0);
	assert_int_equal(state_save_network(s, &p.network), 0);
	return p;
}

static void the_first_time_everything_comes_from_the_options(void **state)
{
	struct state *s = *state;
	struct join_plan p;
	struct join_wish w = first_wish;

	assert_int_equal(join_plan(&w, s, &p), EXIT_OK);
	assert_string_equal(p.network.net.name, "home");
	assert_string_equal(p.network.hub, HUB);
	assert_string_equal(p.network.name, "nas-box");
	expect_ip(&p.network.ip4_prefix, "10.77.0.0");
	assert_int_equal(p.network.ip4_bits, 16);
	assert_int_equal(p.network.ip4_wish.family, ADDR_NONE);
	assert_true(p.any_port);
	assert_false(p.trusted);
	w.found_new = true;
	assert_int_equal(join_plan(&w, s, &p), EXIT_OK);
	assert_true(p.trusted);
}

static void later_nothing_needs_to_be_typed(void **state)
{
	struct state *s = *state;
	struct join_plan p, first = join(s);
	struct join_wish w = { 0 };

	assert_int_equal(join_plan(&w, s, &p), EXIT_OK);
	assert_memory_equal(&p.network.net, &first.network.net, sizeof p.network.net);
	assert_string_equal(p.network.hub, HUB);
	assert_string_equal(p.network.name, "nas-box");
	assert_int_equal(p.network.port, 40000);
	assert_false(p.any_port);
	assert_true(p.trusted);
	expect_ip(&p.network.ip4_wish, "10.77.9.9");
}

static void the_router_is_left_alone_until_further_notice(void **state)
{
	static const struct {
		struct join_wish wish;
		bool no_portmap;
	} steps[] = {
		{ { 0 }, false }, { { .no_portmap = true }, true },
		{ { 0 }, true },  { { .portmap = true }, false },
		{ { 0 }, false },
	};
	struct state *s = *state;
	struct join_plan p;

	join(s);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		assert_int_equal(join_plan(&steps[i].wish, s, &p), EXIT_OK);
		assert_int_equal(p.network.no_portmap, steps[i].no_portmap);
		assert_int_equal(state_save_network(s, &p.network), 0);
	}
}

static void the_proxy_stays_until_further_notice(void **state)
{
	static const struct {
		const char *given, *kept;
	} steps[] = {
		{ NULL, "" },
		{ "http://10.0.0.1:3128", "http://10.0.0.1:3128" },
		{ NULL, "http://10.0.0.1:3128" },
		{ "env:P2PD_TEST_PROXY", "http://user:pass@10.0.0.1:3128" },
		{ NULL, "http://user:pass@10.0.0.1:3128" },
		{ "none", "none" },
		{ NULL, "none" },
		{ "auto", "" },
		{ NULL, "" },
	};
	static const char *const bad[] = { "",
					   "https://h:1",
					   "http://h:0",
					   "env:P2PD_TEST_NO_SUCH",
					   "file:/nonexistent",
					   "env:P2PD_TEST_SECRET " };
	struct state *s = *state;
	struct join_plan p;

	join(s);
	setenv("P2PD_TEST_PROXY", "http://user:pass@10.0.0.1:3128", 1);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		assert_int_equal(join_plan(&(struct join_wish) { .proxy = steps[i].given }, s, &p), EXIT_OK);
		assert_string_equal(p.network.proxy, steps[i].kept);
		assert_int_equal(state_save_network(s, &p.network), 0);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_not_equal(join_plan(&(struct join_wish) { .proxy = bad[i] }, s, &p), EXIT_OK);
}

static void the_environment_names_a_proxy_unless_one_is_kept(void **state)
{
	(void)state;
	static const struct {
		const char *kept, *https, *all, *none;
		int rc;
		const char *host;
	} cases[] = {
		{ "", NULL, NULL, NULL, 0, NULL },
		{ "", "http://a:1", "http://b:1", NULL, 1, "a" },
		{ "", "", "http://b:1", NULL, 1, "b" },
		{ "", "http://a:1", NULL, "example", 0, NULL },
		{ "", "http://a:1", NULL, "other", 1, "a" },
		{ "none", "http://a:1", NULL, NULL, 0, NULL },
		{ "http://kept:1", "http://a:1", NULL, "*", 1, "kept" },
		{ "", "socks5://a:1", NULL, NULL, -EPROTONOSUPPORT, NULL },
		{ "", "http://secret:word@a:99999", NULL, NULL, -EINVAL, NULL },
	};
	struct hub_url url;
	struct proxy p;
	char why[HUB_PROXY_WHY];

	assert_int_equal(hub_url_parse(&url, HUB), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const set[][2] = { { "HTTPS_PROXY", cases[i].https },
					       { "ALL_PROXY", cases[i].all },
					       { "NO_PROXY", cases[i].none } };
		static const char *const lower[] = { "https_proxy", "all_proxy", "no_proxy" };
		for (size_t v = 0; v < 3; v++) {
			unsetenv(lower[v]);
			if (set[v][1])
				setenv(set[v][0], set[v][1], 1);
			else
				unsetenv(set[v][0]);
		}
		assert_int_equal(hub_proxy_choose(&p, cases[i].kept, &url, why), cases[i].rc);
		if (cases[i].host)
			assert_string_equal(p.host, cases[i].host);
		if (cases[i].rc < 0)
			assert_null(strstr(why, "word"));
	}
}

static void the_cipher_stays_until_further_notice(void **state)
{
	static const struct {
		struct join_wish wish;
		bool chacha20_only;
	} steps[] = {
		{ { 0 }, false }, { { .cipher = "auto" }, false }, { { .cipher = "chacha20" }, true },
		{ { 0 }, true },  { { .cipher = "auto" }, false }, { { 0 }, false },
	};
	struct state *s = *state;
	struct join_plan p;

	join(s);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		assert_int_equal(join_plan(&steps[i].wish, s, &p), EXIT_OK);
		assert_int_equal(p.network.chacha20_only, steps[i].chacha20_only);
		assert_int_equal(state_save_network(s, &p.network), 0);
	}
}

static void what_is_typed_goes_over_what_is_remembered(void **state)
{
	struct state *s = *state;
	struct join_plan p;
	struct join_wish w = {
		.hub = "https://hub2.example", .name = "attic", .port = 5555, .ip4_prefix = "10.9.8.7/24"
	};

	join(s);
	assert_int_equal(join_plan(&w, s, &p), EXIT_OK);
	assert_string_equal(p.network.hub, "https://hub2.example");
	assert_string_equal(p.network.name, "attic");
	assert_int_equal(p.network.port, 5555);
	expect_ip(&p.network.ip4_prefix, "10.9.8.0");
	assert_int_equal(p.network.ip4_bits, 24);
	assert_int_equal(p.network.ip4_wish.family, ADDR_NONE); /* of the old prefix */
}

static void the_same_secret_again_is_fine_and_another_is_denied(void **state)
{
	struct state *s = *state;
	struct join_plan p;
	struct join_wish w = first_wish;

	join(s);
	assert_int_equal(join_plan(&w, s, &p), EXIT_OK);
	w.secret = "env:P2PD_TEST_OTHER";
	assert_int_equal(join_plan(&w, s, &p), EXIT_DENIED);
	assert_true(crypto_is_zero(&p.network.net, sizeof p.network.net));
	w.network = "office";
	assert_int_equal(join_plan(&w, s, &p), EXIT_CONFLICT);
}

static void wrong_wishes_end_with_the_code_of_their_kind(void **state)
{
	struct state *s = *state;
	static const struct {
		struct join_wish wish;
		int code;
	} cases[] = {
		{ { 0 }, EXIT_USAGE },
		{ { .hub = HUB, .secret = SECRET }, EXIT_USAGE },
		{ { .network = "home", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = "hub.example", .network = "home", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = "https://198.51.100.7", .network = "home", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = "https://[2001:db8::7]", .network = "home", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = "https://nas", .network = "home", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = "https://198.51.100.7#" PIN, .network = "home", .secret = SECRET }, EXIT_OK },
		{ { .hub = "https://nas#" PIN, .network = "home", .secret = SECRET }, EXIT_OK },
		{ { .hub = HUB, .network = "", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = HUB, .network = "h\xc3\xb6me", .secret = SECRET }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = "bare" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = "env:P2PD_TEST_WEAK" }, EXIT_DENIED },
		{ { .hub = HUB, .network = "home", .secret = "env:P2PD_TEST_WEAK", .allow_weak = true },
		  EXIT_OK },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "10.78.0.1" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "10.77.0.1:5" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "fd00::1" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "10.77.0.1" }, EXIT_OK },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "10.77.0.0" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "10.77.255.255" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4 = "10.77.255.254" }, EXIT_OK },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4_prefix = "10.0.0.0" }, EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4_prefix = "10.0.0.0/7" },
		  EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4_prefix = "10.0.0.0/30" },
		  EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4_prefix = "fd00::/16" },
		  EXIT_USAGE },
		{ { .hub = HUB, .network = "home", .secret = SECRET, .ip4_prefix = "x/16" }, EXIT_USAGE },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct join_plan p;
		int code = join_plan(&cases[i].wish, s, &p);
		if (code != cases[i].code)
			fail_msg("case %zu ends with %d instead of %d", i, code, cases[i].code);
	}
}

/* --- */

static int open_folder(void **state)
{
	static struct state s;

	strcpy(folder, "/tmp/p2pd-test-join-XXXXXX");
	if (!mkdtemp(folder) || state_open(&s, folder))
		return -1;
	*state = &s;
	return 0;
}

static int remove_folder(void **state)
{
	struct state *s = *state;
	DIR *d = opendir(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		unlinkat(dirfd(d), entry->d_name, 0);
	closedir(d);
	state_close(s);
	return rmdir(folder);
}

static int setup(void **state)
{
	(void)state;
	setenv("P2PD_TEST_SECRET", "qcchdl37ez2ftbl7nyhwt7ktqy", 1);
	setenv("P2PD_TEST_OTHER", "ztqpdl37ez2ftbl7nyhwt7ktqy", 1);
	setenv("P2PD_TEST_WEAK", "hunter2", 1);
	fail_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return crypto_init();
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, open_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_a_folder(the_first_time_everything_comes_from_the_options),
		in_a_folder(later_nothing_needs_to_be_typed),
		in_a_folder(the_router_is_left_alone_until_further_notice),
		in_a_folder(the_cipher_stays_until_further_notice),
		in_a_folder(the_proxy_stays_until_further_notice),
		cmocka_unit_test(the_environment_names_a_proxy_unless_one_is_kept),
		in_a_folder(what_is_typed_goes_over_what_is_remembered),
		in_a_folder(the_same_secret_again_is_fine_and_another_is_denied),
		in_a_folder(wrong_wishes_end_with_the_code_of_their_kind),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
