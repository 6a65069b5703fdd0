#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "nat/hops.h"

/* Routers by TTL, "-" for a silent one. */
static struct hops way(const char *const routers[HOPS_MAX])
{
	struct hops h = { 0 };

	for (; h.count < HOPS_MAX && routers[h.count]; h.count++) {
		if (strcmp(routers[h.count], "-"))
			assert_int_equal(addr_parse(&h.router[h.count], routers[h.count], 0), 0);
	}
	return h;
}

static void depth_is_the_last_private_hop_and_a_second_private_network_is_a_carriers(void **state)
{
	(void)state;
	static const struct {
		const char *routers[HOPS_MAX];
		unsigned depth;
		bool cgnat;
	} cases[] = {
		{ { NULL }, 0, false },
		{ { "198.51.100.1" }, 0, false },
		{ { "192.168.1.1", "198.51.100.1" }, 1, false },
		{ { "-", "198.51.100.1" }, 0, false },
		{ { "-", "-", "-" }, 0, false },
		{ { "192.168.1.1", "-", "198.51.100.1" }, 1, false },
		{ { "192.168.1.1", "100.64.0.1", "198.51.100.1" }, 2, true },
		{ { "100.127.255.254", "198.51.100.1" }, 1, true },
		{ { "100.128.0.1" }, 0, false },
		{ { "192.168.1.1", "10.0.0.1", "198.51.100.1" }, 2, true },
		{ { "192.168.1.1", "-", "10.0.0.1" }, 3, true },
		{ { "192.168.1.1", "192.168.1.254", "198.51.100.1" }, 2, false },
		{ { "192.168.1.1", "192.168.2.1", "198.51.100.1" }, 2, true },
		{ { "fd00::1", "2001:db8::1" }, 1, false },
		{ { "fe80::1", "fd00::1", "2001:db8::1" }, 2, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct hops h = way(cases[i].routers);
		assert_int_equal(hops_depth(&h), cases[i].depth);
		assert_int_equal(hops_cgnat(&h), cases[i].cgnat);
	}
}

/* Nobody is at this port, and the kernel of this host says so: the way has ended at once, without a router. */
static void a_server_on_this_host_is_behind_no_router(void **state)
{
	(void)state;
	struct addr server;
	struct hops h;

	assert_int_equal(addr_parse(&server, "127.0.0.1:1", 0), 0);
	assert_int_equal(hops_trace(&server, &h), 0);
	assert_int_equal(h.count, 0);
	assert_int_equal(hops_depth(&h), 0);
}

static void an_address_that_is_none_is_an_error(void **state)
{
	(void)state;
	struct addr server = { .family = ADDR_V6, .ip = { 0xfe, 0x80 }, .port = 1 };
	struct hops h;

	assert_true(hops_trace(&server, &h) < 0);
	assert_int_equal(h.count, 0);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(depth_is_the_last_private_hop_and_a_second_private_network_is_a_carriers),
		cmocka_unit_test(a_server_on_this_host_is_behind_no_router),
		cmocka_unit_test(an_address_that_is_none_is_an_error),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
