/* What struct pass lets through, packet by packet. The owner is 10.77.0.5 (fd77::5), visitors are 198.51.100.7
 * (2001:db8::7), a router between is 192.0.2.1 (2001:db8::1). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/forward/pass.h"
#include "core/bytes.h"

enum { SIZE = 128, TCP = FORWARD_TCP, UDP = FORWARD_UDP, ICMP = 1, ICMP6 = 58, MORE = 0x2000 };

static struct addr own4, own6, visitor4, visitor6, router4, router6;
static const uint8_t gateway[32] = { 1 }, other[32] = { 2 }, owner[32] = { 3 };

static int setup(void **state)
{
	(void)state;
	return addr_parse(&own4, "10.77.0.5", 0) || addr_parse(&own6, "fd77::5", 0) ||
	       addr_parse(&visitor4, "198.51.100.7", 0) || addr_parse(&visitor6, "2001:db8::7", 0) ||
	       addr_parse(&router4, "192.0.2.1", 0) || addr_parse(&router6, "2001:db8::1", 0);
}

/* ---- packets */

struct packet {
	uint8_t data[SIZE];
	size_t len;
};

/* A header with room for `payload` bytes; where they begin. */
static uint8_t *header(struct packet *p, const struct addr *src, const struct addr *dst, uint8_t proto,
		       size_t payload)
{
	bool v4 = src->family == ADDR_V4;
	size_t size = v4 ? 20 : 40;

	memset(p->data, 0, sizeof p->data);
	p->len = size + payload;
	p->data[0] = v4 ? 0x45 : 0x60;
	store_be16(p->data + (v4 ? 2 : 4), (uint16_t)(v4 ? p->len : payload));
	p->data[v4 ? 9 : 6] = proto;
	memcpy(p->data + (v4 ? 12 : 8), src->ip, v4 ? 4 : 16);
	memcpy(p->data + (v4 ? 16 : 24), dst->ip, v4 ? 4 : 16);
	return p->data + size;
}

static struct packet flow(const struct addr *src, uint16_t sport, const struct addr *dst, uint16_t dport,
			  uint8_t proto)
{
	struct packet p;
	uint8_t *l4 = header(&p, src, dst, proto, 20);

	store_be16(l4, sport);
	store_be16(l4 + 2, dport);
	return p;
}

/* A fragment of the datagram `id`, `offset` bytes behind its beginning. */
static struct packet fragment(const struct addr *src, uint16_t sport, const struct addr *dst, uint16_t dport,
			      uint8_t proto, uint16_t id, uint16_t offset, size_t len)
{
	bool v4 = src->family == ADDR_V4;
	struct packet p;
	uint8_t *l4 = header(&p, src, dst, v4 ? proto : 44, len + (v4 ? 0 : 8));

	if (v4) {
		store_be16(p.data + 4, id);
		store_be16(p.data + 6, MORE | offset / 8);
	} else {
		l4[0] = proto;
		store_be16(l4 + 2, offset | 1);
		store_be32(l4 + 4, id);
		l4 += 8;
	}
	if (!offset) {
		store_be16(l4, sport);
		store_be16(l4 + 2, dport);
	}
	return p;
}

/* An ICMP error about `about`, of which it quotes 48 bytes. */
static struct packet error(const struct addr *src, const struct addr *dst, uint8_t type,
			   const struct packet *about)
{
	bool v4 = src->family == ADDR_V4;
	struct packet p;
	uint8_t *icmp = header(&p, src, dst, v4 ? ICMP : ICMP6, 8 + 48);

	icmp[0] = type;
	memcpy(icmp + 8, about->data, 48);
	return p;
}

/* ---- questions */

static bool in(struct pass *p, const uint8_t *peer, const struct packet *packet)
{
	struct ip_view ip;

	assert_true(ip_parse(&ip, packet->data, packet->len));
	return pass_in(p, peer, &ip, packet->data, &own4, &own6);
}

static const uint8_t *out(struct pass *p, const struct packet *packet)
{
	struct ip_view ip;

	assert_true(ip_parse(&ip, packet->data, packet->len));
	return pass_out(p, &ip, packet->data);
}

static struct pass_entry entry(const uint8_t *peer, enum forward_side side, int proto, uint16_t first,
			       uint16_t count)
{
	struct pass_entry e = {
		.side = side, .proto = (enum forward_proto)proto, .first = first, .count = count
	};

	memcpy(e.peer, peer, 32);
	return e;
}

/* At the owner: 10000-10009 TCP and 10005 UDP by `gateway`, 10010 TCP by `other`. */
static struct pass *at_owner(void)
{
	const struct pass_entry entries[] = { entry(other, FORWARD_OWNER, TCP, 10010, 1),
					      entry(gateway, FORWARD_OWNER, UDP, 10005, 1),
					      entry(gateway, FORWARD_OWNER, TCP, 10000, 10) };
	struct pass *p = pass_create();

	assert_non_null(p);
	assert_int_equal(pass_set(p, entries, 3), 0);
	return p;
}

/* At a gateway: `owner`'s 10000-10009 TCP and UDP, `other`'s 10005 and 20000 TCP. */
static struct pass *at_gateway(void)
{
	const struct pass_entry entries[] = { entry(other, FORWARD_GATEWAY, TCP, 20000, 1),
					      entry(owner, FORWARD_GATEWAY, UDP, 10000, 10),
					      entry(other, FORWARD_GATEWAY, TCP, 10005, 1),
					      entry(owner, FORWARD_GATEWAY, TCP, 10000, 10) };
	struct pass *p = pass_create();

	assert_non_null(p);
	assert_int_equal(pass_set(p, entries, 4), 0);
	return p;
}

/* ---- tests */

static void the_owner_takes_visitors_from_the_ports_gateway_alone(void **state)
{
	(void)state;
	static const struct {
		const uint8_t *peer;
		uint8_t proto;
		uint16_t port;
		bool passes;
	} cases[] = {
		{ gateway, TCP, 9999, false },	{ gateway, TCP, 10000, true },
		{ gateway, TCP, 10009, true },	{ gateway, TCP, 10010, false },
		{ other, TCP, 10010, true },	{ other, TCP, 10009, false },
		{ other, TCP, 10011, false },	{ gateway, UDP, 10005, true },
		{ gateway, UDP, 10004, false }, { gateway, UDP, 10006, false },
		{ other, UDP, 10005, false },	{ gateway, ICMP, 10000, false },
		{ gateway, 132, 10000, false }, { owner, TCP, 10000, false },
		{ gateway, TCP, 0, false },	{ gateway, TCP, 65535, false },
	};
	struct pass *p = at_owner();

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct packet v4 = flow(&visitor4, 5000, &own4, cases[i].port, cases[i].proto);
		struct packet v6 = flow(&visitor6, 5000, &own6, cases[i].port, cases[i].proto);
		if (in(p, cases[i].peer, &v4) != cases[i].passes ||
		    in(p, cases[i].peer, &v6) != cases[i].passes)
			fail_msg("case %zu", i);
	}
	struct packet elsewhere = flow(&visitor4, 5000, &router4, 10000, TCP);
	assert_false(in(p, gateway, &elsewhere));
	elsewhere = flow(&visitor4, 10000, &router4, 10000, TCP);
	assert_false(in(p, gateway, &elsewhere));
	pass_destroy(p);
}

static void answers_go_to_the_gateway_that_has_their_port(void **state)
{
	(void)state;
	struct pass *p = at_owner();
	struct packet a = flow(&own4, 10009, &visitor4, 5000, TCP),
		      b = flow(&own6, 10010, &visitor6, 5000, TCP),
		      c = flow(&own4, 10005, &visitor4, 10005, UDP),
		      d = flow(&own4, 10011, &visitor4, 10010, TCP);

	assert_memory_equal(out(p, &a), gateway, 32);
	assert_memory_equal(out(p, &b), other, 32);
	assert_memory_equal(out(p, &c), gateway, 32);
	assert_null(out(p, &d));
	pass_destroy(p);
	p = at_gateway();
	assert_null(out(p, &a));
	pass_destroy(p);
}

static void a_gateway_takes_an_owners_answers_from_its_own_ports(void **state)
{
	(void)state;
	static const struct {
		const uint8_t *peer;
		uint8_t proto;
		uint16_t port;
		bool passes;
	} cases[] = {
		{ owner, TCP, 10000, true },  { owner, TCP, 10009, true },    { owner, TCP, 10010, false },
		{ owner, TCP, 9999, false },  { owner, UDP, 10009, true },    { other, UDP, 10005, false },
		{ other, TCP, 10005, true },  { other, TCP, 10004, false },   { other, TCP, 20000, true },
		{ owner, TCP, 20000, false }, { gateway, TCP, 10005, false },
	};
	struct pass *p = at_gateway();

	/* The owner's address is a peer's here. */
	own4.ip[3] = own6.ip[15] = 9;
	struct addr owner4 = own4, owner6 = own6;
	owner4.ip[3] = owner6.ip[15] = 5;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct packet v4 = flow(&owner4, cases[i].port, &visitor4, 10000, cases[i].proto);
		struct packet v6 = flow(&owner6, cases[i].port, &visitor6, 10000, cases[i].proto);
		if (in(p, cases[i].peer, &v4) != cases[i].passes ||
		    in(p, cases[i].peer, &v6) != cases[i].passes)
			fail_msg("case %zu", i);
	}
	own4 = owner4;
	own6 = owner6;
	pass_destroy(p);
}

static void errors_go_by_what_they_quote(void **state)
{
	(void)state;
	struct pass *p = at_owner();
	struct packet sent4 = flow(&own4, 10000, &visitor4, 5000, TCP),
		      sent6 = flow(&own6, 10000, &visitor6, 5000, TCP),
		      got4 = flow(&visitor4, 5000, &own4, 10000, TCP),
		      got6 = flow(&visitor6, 5000, &own6, 10000, TCP),
		      others = flow(&own4, 10011, &visitor4, 5000, TCP),
		      foreign = flow(&router4, 10000, &visitor4, 5000, TCP);
	const struct {
		struct packet packet;
		bool in, out;
	} cases[] = {
		/* from the visitor, from a router between */
		{ error(&visitor4, &own4, 3, &sent4), true, false },
		{ error(&router4, &own4, 3, &sent4), true, false },
		{ error(&router4, &own4, 11, &sent4), true, false },
		{ error(&router4, &own4, 12, &sent4), true, false },
		{ error(&router6, &own6, 1, &sent6), true, false },
		{ error(&router6, &own6, 2, &sent6), true, false },
		{ error(&router6, &own6, 4, &sent6), true, false },
		/* a redirect, source quench, echo; of IPv6 an echo, a redirect */
		{ error(&router4, &own4, 5, &sent4), false, false },
		{ error(&router4, &own4, 4, &sent4), false, false },
		{ error(&router4, &own4, 8, &sent4), false, false },
		{ error(&router6, &own6, 128, &sent6), false, false },
		{ error(&router6, &own6, 137, &sent6), false, false },
		/* about another port; about what another host sent; about what came */
		{ error(&router4, &own4, 3, &others), false, false },
		{ error(&router4, &own4, 3, &foreign), false, false },
		{ error(&router4, &own4, 3, &got4), false, false },
		/* ours to the visitor: the port is closed */
		{ error(&own4, &visitor4, 3, &got4), false, true },
		{ error(&own6, &visitor6, 1, &got6), false, true },
		{ error(&own4, &router4, 3, &got4), false, false },
		{ error(&router4, &visitor4, 3, &got4), false, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (in(p, gateway, &cases[i].packet) != cases[i].in ||
		    !out(p, &cases[i].packet) == cases[i].out)
			fail_msg("case %zu", i);
	assert_false(in(p, other, &cases[0].packet));
	pass_destroy(p);
}

static void the_gateway_takes_an_owners_errors_about_its_ports_alone(void **state)
{
	(void)state;
	struct pass *p = at_gateway();
	struct addr owner4 = own4;
	struct packet got = flow(&visitor4, 5000, &owner4, 10000, UDP),
		      other_port = flow(&visitor4, 5000, &owner4, 10010, UDP),
		      elsewhere = flow(&visitor4, 5000, &router4, 10000, UDP);
	struct packet good = error(&owner4, &visitor4, 3, &got),
		      port = error(&owner4, &visitor4, 3, &other_port),
		      to_another = error(&owner4, &router4, 3, &got),
		      quoted = error(&owner4, &visitor4, 3, &elsewhere);

	own4.ip[3] = 9;
	assert_true(in(p, owner, &good));
	assert_false(in(p, other, &good));
	assert_false(in(p, owner, &port));
	assert_false(in(p, owner, &to_another));
	assert_false(in(p, owner, &quoted));
	own4 = owner4;
	pass_destroy(p);
}

static void later_fragments_go_the_way_of_their_first(void **state)
{
	(void)state;
	struct pass *p = at_owner();
	const struct addr *from[] = { &visitor4, &visitor6 }, *to[] = { &own4, &own6 };

	for (int i = 0; i < 2; i++) {
		struct packet first = fragment(from[i], 5000, to[i], 10005, UDP, 7, 0, 64),
			      later = fragment(from[i], 0, to[i], 0, UDP, 7, 64, 8),
			      stranger = fragment(from[i], 0, to[i], 0, UDP, 8, 64, 8),
			      refused = fragment(from[i], 5000, to[i], 10006, UDP, 8, 0, 64);
		assert_false(in(p, gateway, &later));
		assert_true(in(p, gateway, &first));
		assert_true(in(p, gateway, &later));
		assert_false(in(p, other, &later));
		assert_null(out(p, &later));
		assert_false(in(p, gateway, &refused));
		assert_false(in(p, gateway, &stranger));

		first = fragment(to[i], 10010, from[i], 5000, TCP, 9, 0, 64);
		later = fragment(to[i], 0, from[i], 0, TCP, 9, 64, 8);
		assert_null(out(p, &later));
		assert_memory_equal(out(p, &first), other, 32);
		assert_memory_equal(out(p, &later), other, 32);
	}
	pass_destroy(p);
}

static void what_could_be_written_over_in_reassembly_is_refused(void **state)
{
	(void)state;
	struct pass *p = at_owner();
	struct packet tiny = fragment(&visitor4, 5000, &own4, 10000, TCP, 7, 0, 8),
		      first = fragment(&visitor4, 5000, &own4, 10000, TCP, 7, 0, 24),
		      flags = fragment(&visitor4, 0, &own4, 0, TCP, 7, 8, 16),
		      later = fragment(&visitor4, 0, &own4, 0, TCP, 7, 24, 16);

	assert_false(in(p, gateway, &tiny));
	assert_true(in(p, gateway, &first));
	assert_false(in(p, gateway, &flags));
	assert_true(in(p, gateway, &later));
	pass_destroy(p);
}

static void the_oldest_datagram_is_forgotten_first(void **state)
{
	(void)state;
	struct pass *p = at_owner();

	for (uint16_t id = 0; id <= PASS_FRAGMENTS; id++) {
		struct packet first = fragment(&visitor4, 5000, &own4, 10005, UDP, id, 0, 64);
		assert_true(in(p, gateway, &first));
	}
	for (uint16_t id = 0; id <= PASS_FRAGMENTS; id++) {
		struct packet later = fragment(&visitor4, 0, &own4, 0, UDP, id, 64, 8);
		assert_int_equal(in(p, gateway, &later), id > 0);
	}
	/* Rules that change end what came by the old ones. */
	assert_int_equal(pass_set(p, NULL, 0), 0);
	struct packet later = fragment(&visitor4, 0, &own4, 0, UDP, PASS_FRAGMENTS, 64, 8);
	assert_false(in(p, gateway, &later));
	pass_destroy(p);
}

static void extension_headers_and_cut_packets_do_not_pass(void **state)
{
	(void)state;
	struct pass *p = at_owner();
	struct packet hop = flow(&visitor6, 5000, &own6, 10000, 0);
	struct packet whole = flow(&visitor4, 5000, &own4, 10000, TCP);

	hop.data[40] = TCP;
	assert_false(in(p, gateway, &hop));
	assert_true(in(p, gateway, &whole));
	store_be16(whole.data + 2, 27);
	whole.len = 27;
	assert_false(in(p, gateway, &whole));
	/* Errors that quote less than ports. */
	struct packet sent = flow(&own4, 10000, &visitor4, 5000, TCP), e = error(&router4, &own4, 3, &sent);
	for (size_t len = 20; len <= 20 + 8 + 28; len++) {
		e.len = len;
		store_be16(e.data + 2, (uint16_t)len);
		assert_int_equal(in(p, gateway, &e), len == 20 + 8 + 28);
	}
	pass_destroy(p);
}

static void what_is_set_is_checked_and_replaces_all(void **state)
{
	(void)state;
	const struct pass_entry same[] = { entry(gateway, FORWARD_OWNER, TCP, 100, 10),
					   entry(gateway, FORWARD_OWNER, TCP, 105, 10),
					   entry(gateway, FORWARD_OWNER, TCP, 115, 1) },
				clash[] = { entry(gateway, FORWARD_OWNER, TCP, 100, 10),
					    entry(other, FORWARD_OWNER, TCP, 109, 1) },
				inside[] = { entry(gateway, FORWARD_OWNER, UDP, 100, 10),
					     entry(gateway, FORWARD_OWNER, UDP, 102, 2),
					     entry(other, FORWARD_OWNER, UDP, 109, 1) },
				both[] = { entry(gateway, FORWARD_GATEWAY, TCP, 100, 10),
					   entry(other, FORWARD_GATEWAY, TCP, 100, 10),
					   entry(other, FORWARD_OWNER, TCP, 100, 10),
					   entry(gateway, FORWARD_OWNER, UDP, 100, 10) },
				bad[] = { entry(gateway, FORWARD_OWNER, TCP, 0, 1),
					  entry(gateway, FORWARD_OWNER, TCP, 1, 0),
					  entry(gateway, FORWARD_OWNER, TCP, 65535, 2) },
				top = entry(gateway, FORWARD_OWNER, TCP, 65535, 1);
	struct packet at100 = flow(&visitor4, 5000, &own4, 100, TCP),
		      at115 = flow(&visitor4, 5000, &own4, 115, TCP),
		      last = flow(&visitor4, 5000, &own4, 65535, TCP);
	struct pass *p = at_owner();

	assert_int_equal(pass_set(p, clash, 2), -EEXIST);
	assert_int_equal(pass_set(p, inside, 3), -EEXIST);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pass_set(p, &bad[i], 1), -EINVAL);
	assert_int_equal(pass_set(p, same, PASS_MAX + 1), -ENOSPC);
	struct packet old = flow(&visitor4, 5000, &own4, 10000, TCP);
	assert_true(in(p, gateway, &old));
	assert_int_equal(pass_set(p, same, 3), 0);
	assert_false(in(p, gateway, &old));
	assert_true(in(p, gateway, &at100) && in(p, gateway, &at115));
	assert_int_equal(pass_set(p, both, 4), 0);
	assert_true(in(p, other, &at100) && !in(p, gateway, &at100));
	assert_int_equal(pass_set(p, &top, 1), 0);
	assert_true(in(p, gateway, &last));
	pass_destroy(p);
}

/* Every other port, so that nothing joins: the look-up finds each and none between. */
static void thousands_of_ports_are_told_apart(void **state)
{
	(void)state;
	struct pass_entry *entries = calloc(PASS_MAX, sizeof *entries);
	struct pass *p = pass_create();

	for (unsigned i = 0; i < PASS_MAX; i++)
		entries[i] = entry(i % 2 ? gateway : other, i % 3 ? FORWARD_OWNER : FORWARD_GATEWAY, TCP,
				   (uint16_t)(1000 + 2 * (i * 7 % PASS_MAX)), 1);
	assert_int_equal(pass_set(p, entries, PASS_MAX), 0);
	for (unsigned i = 0; i < PASS_MAX; i++) {
		uint16_t port = (uint16_t)(1000 + 2 * (i * 7 % PASS_MAX));
		struct packet a = flow(&visitor4, 5000, &own4, port, TCP),
			      b = flow(&visitor4, 5000, &own4, port + 1, TCP);
		assert_int_equal(in(p, i % 2 ? gateway : other, &a), i % 3 != 0);
		assert_false(in(p, i % 2 ? other : gateway, &a));
		assert_false(in(p, gateway, &b) || in(p, other, &b));
	}
	pass_destroy(p);
	free(entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_owner_takes_visitors_from_the_ports_gateway_alone),
		cmocka_unit_test(answers_go_to_the_gateway_that_has_their_port),
		cmocka_unit_test(a_gateway_takes_an_owners_answers_from_its_own_ports),
		cmocka_unit_test(errors_go_by_what_they_quote),
		cmocka_unit_test(the_gateway_takes_an_owners_errors_about_its_ports_alone),
		cmocka_unit_test(later_fragments_go_the_way_of_their_first),
		cmocka_unit_test(what_could_be_written_over_in_reassembly_is_refused),
		cmocka_unit_test(the_oldest_datagram_is_forgotten_first),
		cmocka_unit_test(extension_headers_and_cut_packets_do_not_pass),
		cmocka_unit_test(what_is_set_is_checked_and_replaces_all),
		cmocka_unit_test(thousands_of_ports_are_told_apart),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
