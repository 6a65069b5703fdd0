#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/natcheck/nat64.h"
#include "apps/natcheck/progress.h"
#include "apps/natcheck/report_json.h"
#include "apps/natcheck/report_text.h"
#include "apps/natcheck/watch.h"

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* What is found behind an ordinary home router. */
static struct check home(void)
{
	struct check c = { .count = 1 };
	struct check_view *v = &c.ip4;

	c.servers[0] = (struct check_server) { .addr = address("198.51.100.10:3478"),
					       .answer = CHECK_ANSWERED,
					       .mapped = address("203.0.113.21:4000"),
					       .rtt_ms = 50 };
	v->udp = CHECK_UDP_OK;
	v->tried = true;
	v->local = address("192.168.1.10:4000");
	v->mapped = address("203.0.113.21:4000");
	v->nat.verdict = (struct verdict) { .mapping = MAPPING_ENDPOINT_INDEPENDENT,
					    .filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT,
					    .allocation = ALLOCATION_PRESERVING,
					    .confidence = 100,
					    .depth = 1 };
	v->nat.across_addresses = true;
	v->nat.hairpin = DISCOVER_NO;
	v->nat.clash_moves_port = DISCOVER_YES;
	v->depth_known = DISCOVER_YES;
	v->mtu = (struct mtu_result) { 1492, 1480, DISCOVER_YES, DISCOVER_NO };
	v->alg = DISCOVER_NO;
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		v->maps[i].state = PORTMAP_ABSENT;
	return c;
}

static char *text_of(const struct check *c)
{
	struct against others[AGAINST_TYPES];
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	against_types(others);
	report_text(c, others, AGAINST_TYPES, out);
	fclose(out);
	return text;
}

static void assert_says(const struct check *c, const char *what)
{
	char *text = text_of(c);

	if (!strstr(text, what))
		fail_msg("'%s' is not in:\n%s", what, text);
	free(text);
}

static void assert_does_not_say(const struct check *c, const char *what)
{
	char *text = text_of(c);

	if (strstr(text, what))
		fail_msg("'%s' is in:\n%s", what, text);
	free(text);
}

static json_t *json_of(const struct check *c)
{
	struct against others[AGAINST_TYPES];

	against_types(others);
	json_t *report = report_json(c, others, AGAINST_TYPES);
	assert_non_null(report);
	return report;
}

/* The value at "a.b.c", as text. */
static void assert_json(const json_t *report, const char *path, const char *want)
{
	char copy[64], *rest = copy, *key;
	const json_t *value = report;

	snprintf(copy, sizeof copy, "%s", path);
	while ((key = strsep(&rest, ".")))
		value = json_object_get(value, key);
	if (!value)
		fail_msg("no key %s", path);
	char *got = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	if (strcmp(got, want))
		fail_msg("%s is %s, not %s", path, got, want);
	free(got);
}

/* --- For a person */

static void a_home_router_is_told_on_one_screen(void **state)
{
	(void)state;
	struct check c = home();
	char *text = text_of(&c);
	unsigned lines = 0;

	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_in_range(lines, 15, 30);
	for (const char *p = text, *end; (end = strchr(p, '\n')); p = end + 1)
		assert_in_range(end - p, 0, 110);
	free(text);
	assert_says(&c, "NAT3, port-restricted cone: easy");
	assert_says(&c, "192.168.1.10:4000 here, 203.0.113.21:4000 outside");
	assert_says(&c, "up to 1492 bytes out, 1480 in; fragments out pass, in do not pass");
	assert_says(&c, "your port moves");
	assert_says(&c, "Switch on UPnP");
	assert_says(&c, "nat3       direct, 99.5 %, 0.2 s (1.0 s at worst)");
	assert_does_not_say(&c, "unknown");
}

static void the_advice_follows_from_what_was_found(void **state)
{
	(void)state;
	struct check c = home();
	struct check_map *upnp = &c.ip4.maps[GATEWAY_UPNP];

	upnp->state = PORTMAP_REFUSED;
	assert_says(&c, "refuses it");
	upnp->state = PORTMAP_WORKING;
	upnp->external = address("203.0.113.21:4000");
	upnp->inbound = DISCOVER_YES;
	assert_says(&c, "the opened one was reached");
	upnp->inbound = DISCOVER_NO;
	assert_says(&c, "did not come in");
	upnp->external = address("10.0.0.7:4000");
	assert_says(&c, "not the one that the internet sees");
	c.ip4.nat.verdict.cgnat = true;
	assert_says(&c, "carrier NAT");
	assert_does_not_say(&c, "Switch on UPnP");
	c.ip4.alg = DISCOVER_YES;
	assert_says(&c, "ALG");
	c.aged = true;
	c.lifetime = (struct lifetime) { .alive_s = 20, .dead_s = 25 };
	assert_says(&c, "20 s without traffic, gone after 25 s");
	assert_says(&c, "forgets idle UDP early");
}

static void each_type_is_told_in_words(void **state)
{
	(void)state;
	static const struct {
		enum nat_mapping mapping;
		enum nat_filtering filtering;
		const char *words;
	} cases[] = {
		{ MAPPING_NONE, FILTERING_ENDPOINT_INDEPENDENT, "(open)" },
		{ MAPPING_NONE, FILTERING_ADDRESS_DEPENDENT, "firewall" },
		{ MAPPING_NONE, FILTERING_UNKNOWN, "No NAT: easy" },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ENDPOINT_INDEPENDENT, "NAT1, full cone" },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ADDRESS_DEPENDENT, "NAT2, address-restricted" },
		{ MAPPING_ENDPOINT_INDEPENDENT, FILTERING_UNKNOWN, "NAT1 to NAT3" },
		{ MAPPING_ADDRESS_AND_PORT_DEPENDENT, FILTERING_UNKNOWN, "NAT4, symmetric: hard" },
		{ MAPPING_UNKNOWN, FILTERING_UNKNOWN, "It takes two servers" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct check c = home();
		c.ip4.nat.verdict.mapping = (uint8_t)cases[i].mapping;
		c.ip4.nat.verdict.filtering = (uint8_t)cases[i].filtering;
		assert_says(&c, cases[i].words);
	}
}

static void blocked_udp_says_so_and_predicts_nothing(void **state)
{
	(void)state;
	struct check c = home();

	c.ip4 = (struct check_view) { .udp = CHECK_UDP_BLOCKED, .tried = true };
	c.ip4.nat.verdict.udp_blocked = true;
	c.servers[0].answer = CHECK_SILENT;
	c.tcp = DISCOVER_YES;
	assert_says(&c, "UDP is blocked");
	assert_says(&c, "198.51.100.10:3478: no answer\n");
	assert_says(&c, "TCP connections work");
	assert_does_not_say(&c, "To expect");
}

static void what_was_not_found_out_is_not_guessed(void **state)
{
	(void)state;
	struct check c = home();
	struct against stranger = { .name = "a-long-name" };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		c.ip4.maps[i].state = PORTMAP_UNKNOWN;
	assert_says(&c, "PCP, NAT-PMP and UPnP were not tried");
	assert_does_not_say(&c, "Switch on UPnP");

	assert_non_null(out);
	report_text(&c, &stranger, 1, out);
	fclose(out);
	assert_non_null(strstr(text, "  a-long-name unknown: the NAT there is not known"));
	free(text);
	json_t *report = report_json(&c, &stranger, 1);
	const json_t *predicted = json_array_get(json_object_get(report, "predict"), 0);
	assert_string_equal(json_string_value(json_object_get(predicted, "success")), "unknown");
	json_decref(report);
}

/* --- For a program */

static void the_json_tells_all_that_was_found(void **state)
{
	(void)state;
	struct check c = home();

	c.ip4.maps[GATEWAY_PCP] = (struct check_map) { PORTMAP_WORKING, address("203.0.113.21:4000"),
						       DISCOVER_YES };
	c.aged = true;
	c.lifetime = (struct lifetime) { .alive_s = 120, .dead_s = 125 };
	json_t *report = json_of(&c);
	assert_json(report, "schema", "\"natcheck/1\"");
	assert_json(report, "verdict", "\"easy\"");
	assert_json(report, "udp", "\"ok\"");
	assert_json(report, "mapping", "\"endpoint-independent\"");
	assert_json(report, "mapping_basis", "\"addresses\"");
	assert_json(report, "filtering", "\"address-and-port-dependent\"");
	assert_json(report, "type", "\"nat3\"");
	assert_json(report, "allocation.pattern", "\"preserving\"");
	assert_json(report, "allocation.block", "null");
	assert_json(report, "pooling", "false");
	assert_json(report, "hairpin", "false");
	assert_json(report, "lifetime_s", "120");
	assert_json(report, "portmap.pcp", "\"working\"");
	assert_json(report, "portmap.upnp", "\"absent\"");
	assert_json(report, "portmap.external", "\"203.0.113.21:4000\"");
	assert_json(report, "portmap.inbound", "true");
	assert_json(report, "portmap.double_nat", "false");
	assert_json(report, "depth", "1");
	assert_json(report, "cgnat", "false");
	assert_json(report, "mtu", "1480");
	assert_json(report, "fragments.down", "false");
	assert_json(report, "alg", "false");
	assert_json(report, "clash_moves_port", "true");
	assert_json(report, "ipv6", "\"unknown\"");
	assert_int_equal(json_array_size(json_object_get(report, "predict")), AGAINST_TYPES);
	assert_json(json_array_get(json_object_get(report, "predict"), 2), "against", "\"nat3\"");
	assert_json(json_array_get(json_object_get(report, "predict"), 2), "technique",
		    "\"simultaneous-open\"");
	json_decref(report);
}

static void what_is_not_known_is_unknown(void **state)
{
	(void)state;
	static const char *const keys[] = { "udp",
					    "local",
					    "mapped",
					    "nat",
					    "mapping",
					    "type",
					    "filtering",
					    "pooling",
					    "hairpin",
					    "lifetime_s",
					    "depth",
					    "cgnat",
					    "mtu",
					    "ipv6",
					    "clash_moves_port",
					    "alg",
					    "tcp",
					    "portmap.pcp",
					    "portmap.upnp",
					    "portmap.natpmp",
					    "portmap.external",
					    "portmap.double_nat",
					    "allocation.pattern",
					    "allocation.step",
					    "allocation.scope",
					    "allocation.noise_per_s",
					    "allocation.block" };
	struct check c = { 0 };
	json_t *report = json_of(&c);

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		assert_json(report, keys[i], "\"unknown\"");
	assert_int_equal(json_array_size(json_object_get(report, "predict")), 0);
	json_decref(report);
}

static void ipv6_is_told_beside_ipv4_and_alone(void **state)
{
	(void)state;
	struct check c = home();

	c.ip6 = c.ip4;
	c.ip6.local = c.ip6.mapped = address("[2001:db8::10]:4000");
	c.ip6.nat.verdict.mapping = MAPPING_NONE;
	c.nat64 = (struct nat64) { DISCOVER_YES, address("64:ff9b::"), 96 };
	json_t *report = json_of(&c);
	assert_json(report, "type", "\"nat3\"");
	assert_json(report, "ipv6.type", "\"firewall\"");
	assert_json(report, "ipv6.inbound_firewall", "true");
	assert_json(report, "ipv6.nat64", "true");
	assert_json(report, "ipv6.nat64_prefix", "\"64:ff9b::\"");
	json_decref(report);
	assert_says(&c, "IPv4 servers are reached by IPv6");

	c.ip4 = (struct check_view) { 0 };
	report = json_of(&c);
	assert_json(report, "type", "\"firewall\"");
	json_decref(report);
}

/* --- Against whom */

static void a_report_of_elsewhere_is_read_back_as_it_was_written(void **state)
{
	(void)state;
	char path[] = "/tmp/natcheck-XXXXXX", what[64];
	struct check c = home();
	struct against other;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	c.ip4.nat.verdict = (struct verdict) { .mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT,
					       .filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT,
					       .allocation = ALLOCATION_SEQUENTIAL,
					       .scope = SCOPE_GLOBAL,
					       .step = -2,
					       .noise_per_10s = 25,
					       .block_lo = 2048,
					       .block_hi = 4095 };
	json_t *report = json_of(&c);
	assert_int_equal(json_dumpfd(report, fd, 0), 0);
	json_decref(report);
	close(fd);
	snprintf(what, sizeof what, "file:%s", path);
	assert_int_equal(against_find(&other, what, "/nowhere"), 0);
	unlink(path);
	assert_int_equal(other.nat.mapping, MAPPING_ADDRESS_AND_PORT_DEPENDENT);
	assert_int_equal(other.nat.filtering, FILTERING_ADDRESS_AND_PORT_DEPENDENT);
	assert_int_equal(other.nat.allocation, ALLOCATION_SEQUENTIAL);
	assert_int_equal(other.nat.scope, SCOPE_GLOBAL);
	assert_int_equal(other.nat.step, -2);
	assert_int_equal(other.nat.noise_per_10s, 25);
	assert_int_equal(other.nat.block_lo, 2048);
	assert_int_equal(other.nat.block_hi, 4095);
}

static void a_peer_is_found_in_the_daemons_status(void **state)
{
	(void)state;
	static const char status[] =
		"{\"peers\": [{\"name\": \"tv\"}, {\"name\": \"nas\", \"nat\": {\"mapping\": "
		"\"address-and-port-dependent\", \"filtering\": \"unknown\", \"type\": \"nat4\", "
		"\"allocation\": \"random\", \"scope\": \"unknown\", \"step\": 0, \"noise_per_s\": 1e9, "
		"\"block\": [2048, 3071], \"depth\": 1, \"cgnat\": false}}]}";
	struct against other;

	assert_int_equal(against_peer(&other, status, "nas"), 0);
	assert_string_equal(other.name, "nas");
	assert_int_equal(other.nat.mapping, MAPPING_ADDRESS_AND_PORT_DEPENDENT);
	assert_int_equal(other.nat.allocation, ALLOCATION_RANDOM);
	assert_int_equal(other.nat.block_lo, 2048);
	assert_int_equal(other.nat.block_hi, 3071);
	assert_int_equal(other.nat.noise_per_10s, 0);
	assert_int_equal(against_peer(&other, status, "tv"), 5); /* EXIT_NOT_FOUND */
	assert_int_equal(against_peer(&other, status, "car"), 5);
	assert_int_equal(against_peer(&other, "nonsense", "nas"), 5);
}

static void types_are_known_by_name_and_peers_need_a_daemon(void **state)
{
	(void)state;
	static const char *const names[] = { "nat1", "nat2", "nat3", "nat4", "open" };
	struct against other;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		assert_int_equal(against_find(&other, names[i], "/nowhere"), 0);
		assert_string_equal(nat_type_name(verdict_type(&other.nat)), names[i]);
	}
	assert_int_equal(against_find(&other, "nas", "/nowhere/p2pd.sock"), 3); /* EXIT_NO_DAEMON */
}

/* --- Watching */

static void only_what_matters_counts_as_a_change(void **state)
{
	(void)state;
	struct check a = home(), b = home();
	char *text = NULL;
	size_t len;

	b.servers[0].rtt_ms = 51;
	b.ip4.local = address("192.168.1.10:4001");
	b.ip4.mapped = address("203.0.113.21:4001");
	json_t *before = json_of(&a), *after = json_of(&b);
	FILE *out = open_memstream(&text, &len);
	assert_int_equal(watch_print_changes(before, after, "12:00", out), 0);
	json_decref(after);

	b.ip4.mapped = address("203.0.113.22:4001");
	b.ip4.mtu.down = 1400;
	after = json_of(&b);
	assert_int_equal(watch_print_changes(before, after, "12:00", out), 3);
	fclose(out);
	assert_string_equal(text, "12:00 mapped: 203.0.113.21 -> 203.0.113.22\n"
				  "12:00 mtu: 1480 -> 1400\n"
				  "12:00 mtu_down: 1480 -> 1400\n");
	free(text);
	json_decref(before);
	json_decref(after);
}

/* --- Small things */

static void nat64_is_known_by_the_address_that_hides_in_it(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		unsigned bits;
	} cases[] = {
		{ "64:ff9b::c000:aa", 96 },
		{ "64:ff9b::c000:ab", 96 },
		{ "2001:db8:1:2:c0:0:aa00:0", 64 },
		{ "2001:db8:122:3c0:0:aa::", 56 },
		{ "2001:db8:122:c000:0:aa00::", 48 },
		{ "2001:db8:1c0:0:aa::", 40 },
		{ "2001:db8:c000:aa::", 32 },
		{ "64:ff9b::c000:a9", 0 },
		{ "2001:db8::1", 0 },
		{ "192.0.0.170", 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct addr a = address(cases[i].address);
		assert_int_equal(nat64_prefix_bits(&a), cases[i].bits);
	}
}

static void the_time_that_a_lifetime_still_takes_falls(void **state)
{
	(void)state;
	struct lifetime l = { .config = { .max_s = 600, .precision_s = 5 } };
	uint32_t at_first = progress_lifetime_left_s(&l);

	l.alive_s = 160;
	uint32_t later = progress_lifetime_left_s(&l);
	l.dead_s = 165;
	assert_in_range(at_first, later + 1, 3600);
	assert_in_range(later, 320, 1300);
	assert_int_equal(progress_lifetime_left_s(&l), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_home_router_is_told_on_one_screen),
		cmocka_unit_test(the_advice_follows_from_what_was_found),
		cmocka_unit_test(each_type_is_told_in_words),
		cmocka_unit_test(blocked_udp_says_so_and_predicts_nothing),
		cmocka_unit_test(what_was_not_found_out_is_not_guessed),
		cmocka_unit_test(the_json_tells_all_that_was_found),
		cmocka_unit_test(what_is_not_known_is_unknown),
		cmocka_unit_test(ipv6_is_told_beside_ipv4_and_alone),
		cmocka_unit_test(a_report_of_elsewhere_is_read_back_as_it_was_written),
		cmocka_unit_test(a_peer_is_found_in_the_daemons_status),
		cmocka_unit_test(types_are_known_by_name_and_peers_need_a_daemon),
		cmocka_unit_test(only_what_matters_counts_as_a_change),
		cmocka_unit_test(nat64_is_known_by_the_address_that_hides_in_it),
		cmocka_unit_test(the_time_that_a_lifetime_still_takes_falls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
