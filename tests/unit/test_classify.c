#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nat/classify.h"

#define LOCAL	      "192.168.1.5:4000"
#define S1	      "198.51.100.1:3478"
#define S1_OTHER_PORT "198.51.100.1:3479"
#define S2	      "198.51.100.2:3478"
#define S2_OTHER_PORT "198.51.100.2:3479"
#define OUT	      "203.0.113.9:4000"
#define OUT_X	      "203.0.113.9:50001"
#define OUT_Y	      "203.0.113.9:50002"

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static void mappings_are_told_by_comparing_servers(void **state)
{
	(void)state;
	static const struct {
		struct {
			const char *server, *mapped;
		} answers[4];
		enum nat_mapping mapping;
		bool across_addresses, keeps_port;
	} cases[] = {
		{ { { 0 } }, MAPPING_UNKNOWN, false, false },
		{ { { S1, LOCAL } }, MAPPING_NONE, false, true },
		{ { { S1, LOCAL }, { S2, LOCAL } }, MAPPING_NONE, true, true },
		{ { { S1, OUT } }, MAPPING_UNKNOWN, false, true },
		{ { { S1, OUT_X } }, MAPPING_UNKNOWN, false, false },
		{ { { S1, OUT }, { S1, OUT } }, MAPPING_UNKNOWN, false, true }, /* one server twice */
		{ { { S1, OUT }, { S2, OUT } }, MAPPING_ENDPOINT_INDEPENDENT, true, true },
		{ { { S1, OUT_X }, { S2, OUT_X } }, MAPPING_ENDPOINT_INDEPENDENT, true, false },
		{ { { S1, OUT }, { S1_OTHER_PORT, OUT } }, MAPPING_ENDPOINT_INDEPENDENT, false, true },
		{ { { S1, OUT_X }, { S1_OTHER_PORT, OUT_Y } },
		  MAPPING_ADDRESS_AND_PORT_DEPENDENT,
		  false,
		  false },
		{ { { S1, OUT_X }, { S2, OUT_Y } }, MAPPING_ENDPOINT_DEPENDENT, true, false },
		{ { { S1, OUT }, { S2, OUT_Y } }, MAPPING_ENDPOINT_DEPENDENT, true, false },
		{ { { S1, OUT_X }, { S1_OTHER_PORT, OUT_X }, { S2, OUT_Y } },
		  MAPPING_ADDRESS_DEPENDENT,
		  true,
		  false },
		{ { { S2, OUT_Y }, { S1, OUT_X }, { S2_OTHER_PORT, OUT_Y } },
		  MAPPING_ADDRESS_DEPENDENT,
		  true,
		  false },
		{ { { S1, OUT_X }, { S1_OTHER_PORT, OUT_Y }, { S2, OUT_X } },
		  MAPPING_ADDRESS_AND_PORT_DEPENDENT,
		  true,
		  false },
		/* Two addresses outside are two mappings, though the port is the same. */
		{ { { S1, OUT }, { S2, "203.0.113.10:4000" } }, MAPPING_ENDPOINT_DEPENDENT, true, true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct classify_sample samples[4];
		size_t n = 0;

		for (; n < 4 && cases[i].answers[n].server; n++)
			samples[n] = (struct classify_sample) { addr_of(LOCAL),
								addr_of(cases[i].answers[n].server),
								addr_of(cases[i].answers[n].mapped) };
		struct classify_result got = classify(samples, n);
		assert_int_equal(got.mapping, cases[i].mapping);
		assert_int_equal(got.across_addresses, cases[i].across_addresses);
		assert_int_equal(got.keeps_port, cases[i].keeps_port);
	}
}

static void each_mapping_is_easy_or_hard_or_unknown(void **state)
{
	(void)state;
	static const struct {
		enum nat_mapping mapping;
		const char *name;
		bool easy, hard;
	} cases[] = {
		{ MAPPING_UNKNOWN, "unknown", false, false },
		{ MAPPING_NONE, "none", true, false },
		{ MAPPING_ENDPOINT_INDEPENDENT, "endpoint-independent", true, false },
		{ MAPPING_ADDRESS_DEPENDENT, "address-dependent", false, true },
		{ MAPPING_ADDRESS_AND_PORT_DEPENDENT, "address-and-port-dependent", false, true },
		{ MAPPING_ENDPOINT_DEPENDENT, "endpoint-dependent", false, true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_string_equal(nat_mapping_name(cases[i].mapping), cases[i].name);
		assert_int_equal(verdict_is_easy(&(struct verdict) { .mapping = cases[i].mapping }),
				 cases[i].easy);
		assert_int_equal(verdict_is_hard(&(struct verdict) { .mapping = cases[i].mapping }),
				 cases[i].hard);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_are_told_by_comparing_servers),
		cmocka_unit_test(each_mapping_is_easy_or_hard_or_unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
