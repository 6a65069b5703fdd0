/* Counts put together from counters and flows, and the names of both. No kernel. */
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tun/nat_change.h"
#include "tun/nat_table.h"
#include "tun/nat_tally.h"

static struct addr at(const char *ip, uint16_t port)
{
	struct addr a;
	assert_int_equal(addr_parse(&a, ip, 0), 0);
	a.port = port;
	return a;
}

static struct forward_entry entry(uint8_t id, enum forward_proto proto, const char *ip, uint16_t port,
				  uint16_t count)
{
	return (struct forward_entry) {
		.id = { [15] = id }, .proto = proto, .listen = at(ip, port), .count = count
	};
}

static struct conntrack_flow flow(uint32_t id, uint8_t proto, const char *ip, uint16_t port)
{
	return (struct conntrack_flow) {
		.id = id,
		.proto = proto,
		.tcp_state = proto == FORWARD_TCP ? TCP_CONNTRACK_ESTABLISHED : 0,
		.from = at("198.51.100.7", (uint16_t)id),
		.to = at(ip, port),
	};
}

static void a_flow_finds_its_entry(void **state)
{
	static const struct forward_entry *none;
	struct forward_entry e[] = {
		entry(1, FORWARD_TCP, "192.0.2.1", 80, 1),    entry(1, FORWARD_UDP, "192.0.2.1", 80, 1),
		entry(2, FORWARD_TCP, "192.0.2.1", 1000, 50), entry(3, FORWARD_TCP, "192.0.2.1", 1050, 1),
		entry(4, FORWARD_TCP, "2001:db8::1", 80, 2),  entry(5, FORWARD_TCP, "192.0.2.2", 65535, 1),
	};
	const struct {
		uint8_t proto;
		const char *ip;
		uint16_t port;
		const struct forward_entry *found;
	} cases[] = {
		{ FORWARD_TCP, "192.0.2.1", 79, none },	   { FORWARD_TCP, "192.0.2.1", 80, &e[0] },
		{ FORWARD_UDP, "192.0.2.1", 80, &e[1] },   { FORWARD_TCP, "192.0.2.1", 81, none },
		{ FORWARD_TCP, "192.0.2.1", 1000, &e[2] }, { FORWARD_TCP, "192.0.2.1", 1049, &e[2] },
		{ FORWARD_TCP, "192.0.2.1", 1050, &e[3] }, { FORWARD_TCP, "192.0.2.1", 1051, none },
		{ FORWARD_UDP, "192.0.2.1", 1000, none },  { FORWARD_TCP, "2001:db8::1", 81, &e[4] },
		{ FORWARD_TCP, "2001:db8::2", 80, none },  { FORWARD_TCP, "192.0.2.2", 65535, &e[5] },
		{ FORWARD_TCP, "192.0.2.3", 1, none },	   { 132, "192.0.2.1", 80, none },
	};
	struct nat_tally empty = { 0 }, t;
	(void)state;

	assert_int_equal(nat_tally_make(&t, e, sizeof e / sizeof *e, &empty), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct conntrack_flow f = flow(1, cases[i].proto, cases[i].ip, cases[i].port);
		assert_ptr_equal(nat_tally_entry(&t, &f), cases[i].found);
		assert_null(nat_tally_entry(&empty, &f));
	}
	nat_tally_free(&t);
}

static void look(struct nat_tally *t, const struct conntrack_flow *flows, size_t count, uint64_t now_ms)
{
	nat_tally_begin(t);
	for (size_t i = 0; i < count; i++)
		nat_tally_flow(t, &flows[i], now_ms);
	nat_tally_end(t);
}

static void only_a_new_flow_is_the_last_visitor(void **state)
{
	struct forward_entry e = entry(1, FORWARD_TCP, "192.0.2.1", 80, 1);
	struct conntrack_flow f[] = { flow(9, FORWARD_TCP, "192.0.2.1", 80),
				      flow(3, FORWARD_TCP, "192.0.2.1", 80),
				      flow(5, FORWARD_TCP, "192.0.2.1", 80),
				      flow(5, FORWARD_TCP, "192.0.2.9", 80) };
	struct nat_tally empty = { 0 }, t, next;
	(void)state;

	assert_int_equal(nat_tally_make(&t, &e, 1, &empty), 0);
	look(&t, f, 2, 100);
	const struct forward_stats *s = nat_tally_stats(&t, e.id);
	assert_int_equal(s->connections, 2);
	assert_int_equal(s->last_visitor.port, 3);
	look(&t, f, 2, 200);
	assert_int_equal(s->last_ms, 100);
	/* What has been seen stays seen when the entries change. */
	assert_int_equal(nat_tally_make(&next, &e, 1, &t), 0);
	nat_tally_free(&t);
	f[1].tcp_state = TCP_CONNTRACK_TIME_WAIT;
	f[2].tcp_state = TCP_CONNTRACK_SYN_SENT;
	look(&next, f, 4, 300);
	s = nat_tally_stats(&next, e.id);
	assert_int_equal(s->connections, 1);
	assert_int_equal(s->last_visitor.port, 5);
	assert_int_equal(s->last_ms, 300);
	nat_tally_free(&next);
}

static void counters_go_where_their_names_say(void **state)
{
	struct forward_entry e = entry(0xab, FORWARD_TCP, "192.0.2.1", 80, 1);
	struct nat_tally empty = { 0 }, t;
	char id[NAT_ID_TEXT], name[80];
	static const char *const kinds[] = { "in",	   "out", "total", "full",
					     "no_service", "inn", "",	   "bad_header" };
	(void)state;

	assert_int_equal(nat_tally_make(&t, &e, 1, &empty), 0);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		snprintf(name, sizeof name, "%s_%s", kinds[i], nat_table_id(e.id, id));
		nat_tally_counter(&t, name, i + 1, 100 * (i + 1));
	}
	snprintf(name, sizeof name, "in_%s", "000000000000000000000000000000ac");
	nat_tally_counter(&t, name, 77, 77);
	nat_tally_counter(&t, "mark_1", 77, 77);
	nat_tally_counter(&t, "in_", 77, 77);
	const struct forward_stats *s = nat_tally_stats(&t, e.id);
	assert_int_equal(s->bytes_in, 100);
	assert_int_equal(s->bytes_out, 200);
	assert_int_equal(s->total, 3);
	assert_int_equal(s->rejected[FORWARD_FULL], 4);
	assert_int_equal(s->rejected[FORWARD_NO_SERVICE], 5);
	assert_int_equal(s->rejected[FORWARD_BAD_HEADER], 0);
	nat_tally_free(&t);
}

static void a_cap_is_told_anew_when_fewer_live(void **state)
{
	struct forward_entry e = entry(1, FORWARD_TCP, "192.0.2.1", 80, 1);
	struct conntrack_flow f[] = { flow(1, FORWARD_TCP, "192.0.2.1", 80),
				      flow(2, FORWARD_TCP, "192.0.2.1", 80),
				      flow(3, FORWARD_TCP, "192.0.2.1", 80) };
	struct nat_tally empty = { 0 }, t, next;
	static const struct {
		size_t live;
		bool anew;
		uint32_t uncounted;
	} looks[] = { { 2, false, 2 }, { 3, false, 2 }, { 2, true, 2 },	 { 1, true, 1 },
		      { 1, false, 1 }, { 0, true, 0 },	{ 3, false, 0 }, { 0, false, 0 } };
	(void)state;

	assert_int_equal(nat_tally_make(&t, &e, 1, &empty), 0);
	nat_tally_uncounted(&t, &e); /* a new id's cap counts all */
	assert_int_equal(nat_tally_find(&t, e.id)->uncounted, 0);
	e.max_conn = 5;
	assert_int_equal(nat_tally_make(&next, &e, 1, &t), 0);
	nat_tally_uncounted(&next, &e);
	nat_tally_uncounted(&next, &e);
	for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
		look(&next, f, looks[i].live, 1);
		assert_int_equal(nat_tally_recap(nat_tally_find(&next, e.id)), looks[i].anew);
		assert_int_equal(nat_tally_find(&next, e.id)->uncounted, looks[i].uncounted);
	}
	nat_tally_free(&t);
	nat_tally_free(&next);
}

/* What is told to nft for a change, of which only this is of interest: that nothing else is touched. */
static void a_change_touches_only_what_changes(void **state)
{
	struct nat_frame f = { .table = "t", .tun = "p2pd0", .mark = 1, .mask = 3 };
	struct forward_entry old[] = { entry(1, FORWARD_TCP, "192.0.2.1", 80, 1),
				       entry(2, FORWARD_TCP, "192.0.2.1", 90, 1) };
	struct forward_entry now[] = { old[0], old[1] };
	char *text;
	size_t len;
	(void)state;

	for (size_t i = 0; i < 2; i++)
		old[i].target = now[i].target = at("192.0.2.9", 1);
	now[0].max_conn = 7;
	FILE *out = open_memstream(&text, &len);
	nat_change(out, &f, old, 2, now, 2, NULL, NULL);
	fclose(out);
	assert_string_equal(
		text, "flush chain inet t cap_00000000000000000000000000000001\n"
		      "add rule inet t cap_00000000000000000000000000000001 ct count over 7 counter name "
		      "full_00000000000000000000000000000001 goto refuse\n");
	free(text);
	out = open_memstream(&text, &len);
	nat_change(out, &f, old, 2, old, 2, NULL, NULL);
	fclose(out);
	assert_int_equal(len, 0);
	free(text);
}

/* Of the limits of an id, the line that has `about` in it. */
static void told(const struct forward_entry *e, const char *about, const char *wanted)
{
	struct nat_frame f = { .table = "t", .tun = "p2pd0", .mark = 1, .mask = 3 };
	char *text;
	size_t len;

	FILE *out = open_memstream(&text, &len);
	nat_change(out, &f, NULL, 0, e, 1, NULL, NULL);
	fclose(out);
	char *line = strstr(text, about);
	assert_non_null(line);
	line[strcspn(line, ";\n")] = '\0';
	if (!strstr(line, wanted))
		fail_msg("\"%s\" is not in: %s", wanted, line);
	free(text);
}

/* Two hundred datagrams from made-up addresses must not fill the cap for longer than half a minute. */
static void udp_that_nobody_answers_is_soon_over(void **state)
{
	static const struct {
		uint32_t idle_s;
		const char *wanted;
	} cases[] = { { 0, "unreplied : 30, replied : 300" },
		      { 90, "unreplied : 30, replied : 90" },
		      { 30, "unreplied : 30, replied : 30" },
		      { 5, "unreplied : 5, replied : 5" },
		      { 604800, "unreplied : 30, replied : 432000" } };
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct forward_entry e = entry(1, FORWARD_UDP, "192.0.2.1", 80, 1);
		e.target = at("192.0.2.9", 1);
		e.idle_s = cases[i].idle_s;
		told(&e, "unreplied", cases[i].wanted);
	}
}

static void a_rate_is_never_more_than_the_kernel_takes(void **state)
{
	static const struct {
		uint64_t rate;
		const char *wanted;
	} cases[] = { { 12500000000, "over 12500000000 bytes/second burst 3125000000 bytes" },
		      { 12500000001, "over 12500000000 bytes/second burst 3125000000 bytes" },
		      { UINT64_MAX, "over 12500000000 bytes/second burst 3125000000 bytes" },
		      { 1000, "over 1000 bytes/second burst 131072 bytes" } };
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct forward_entry e = entry(1, FORWARD_UDP, "192.0.2.1", 80, 1);
		e.target = at("192.0.2.9", 1);
		e.rate = cases[i].rate;
		told(&e, "limit rate", cases[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_finds_its_entry),
		cmocka_unit_test(only_a_new_flow_is_the_last_visitor),
		cmocka_unit_test(counters_go_where_their_names_say),
		cmocka_unit_test(a_cap_is_told_anew_when_fewer_live),
		cmocka_unit_test(a_change_touches_only_what_changes),
		cmocka_unit_test(udp_that_nobody_answers_is_soon_over),
		cmocka_unit_test(a_rate_is_never_more_than_the_kernel_takes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
