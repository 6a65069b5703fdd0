/* As whom a visitor comes through a gateway: what is believed of its header, and what is said on. */
#include "carry_end.h"

#define ADDRESSES "\xc6\x33\x64\x07\xcb\x00\x71\x05\xc3\x50\x01\xbb"
#define SECRET	  "0123456789abcdef"

/* As the gateway sends it, and as the service gets it. */
static const uint8_t foreign[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1f" ADDRESSES "\xe0\0\x10" SECRET "hello",
		     handed_on[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" ADDRESSES "hello";
enum { FOREIGN = sizeof foreign - 1, FOREIGN_HEADER = 47, HANDED_ON = sizeof handed_on - 1 };

static void set_secret(struct forward_entry *e)
{
	memcpy(e->secret, SECRET, sizeof e->secret);
}

static void gateway_only(struct end *n)
{
	n->e.gateway4 = at("127.0.0.9", 0);
	n->e.header_in = n->e.header_out = true;
	set_secret(&n->e);
	apply(&n->w, &n->e, 1);
}

static void a_header_passes_both_ends_and_names_the_visitor(void **state)
{
	(void)state;
	struct end n;
	uint8_t header[PROXY_HEADER_MAX];

	end_begin(&n);
	n.e.gateway4 = at("127.0.0.1", 0);
	n.e.header_in = n.e.header_out = true;
	set_secret(&n.e);
	struct forward_entry gateway = n.e;
	gateway.id[0] = ID + 1;
	gateway.side = FORWARD_GATEWAY;
	gateway.header_in = false;
	gateway.gateway4 = (struct addr) { 0 };
	gateway.target = n.e.listen;
	gateway.listen = free_at("127.0.0.3", SOCK_STREAM);
	struct forward_entry both[] = { n.e, gateway };
	apply(&n.w, both, 2);
	int visitor = visit_from("127.0.0.44", SOCK_STREAM, &gateway.listen);
	int served = world_accept(&n.w, n.service);
	struct proxy_header h = { .proto = FORWARD_TCP, .from = local_of(visitor), .to = gateway.listen };
	expect_bytes(&n.w, served, header, proxy_header_write(header, &h));
	expect_carried(&n, visitor, served);
	for (uint8_t id = ID; id <= ID + 1; id++) {
		struct forward_stats s = stats_of(&n.w, id);
		assert_true(addr_equal(&s.last_visitor, &h.from));
		assert_int_equal(s.bytes_in, 2);
		assert_int_equal(s.bytes_out, 3);
	}
	close(visitor);
	close(served);
	end_close(&n);
}

static void a_header_may_come_in_pieces(void **state)
{
	(void)state;
	struct end n;
	struct addr want = at("198.51.100.7", 50000);

	end_begin(&n);
	gateway_only(&n);
	int gateway = come(&n, "127.0.0.9");
	for (int i = 0; i < FOREIGN; i++) {
		int turns = 2;
		assert_int_equal(send(gateway, foreign + i, 1, 0), 1);
		world_await(&n.w, counted_out, &turns);
	}
	int served = world_accept(&n.w, n.service);
	expect_bytes(&n.w, served, handed_on, HANDED_ON);
	struct forward_stats s = stats_of(&n.w, ID);
	assert_true(addr_equal(&s.last_visitor, &want));
	close(gateway);
	close(served);
	end_close(&n);
}

static void the_list_sees_the_visitor_not_the_gateway(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	allow(&n, "198.51.100.8", 32);
	allow(&n, "127.0.0.0", 8);
	gateway_only(&n);
	int gateway = come(&n, "127.0.0.9");
	assert_int_equal(send(gateway, foreign, FOREIGN, 0), FOREIGN);
	expect_reset(&n.w, gateway);
	assert_int_equal(stats_of(&n.w, ID).rejected[FORWARD_NOT_ALLOWED], 1);
	assert_int_equal(stats_of(&n.w, ID).total, 0);
	close(gateway);
	end_close(&n);
}

static void nobody_but_the_gateway_enters(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	gateway_only(&n);
	int other = come(&n, "127.0.0.8");
	expect_reset(&n.w, other);
	assert_int_equal(stats_of(&n.w, ID).rejected[FORWARD_NOT_ALLOWED], 1);
	close(other);
	end_close(&n);
}

static const struct {
	const char *what;
	size_t at;
	uint8_t value;
} spoilt[] = {
	{ "no header at all", 0, 'G' },
	{ "version 3", 12, 0x31 },
	{ "datagrams announced on a stream", 13, 0x12 },
	{ "too short for its addresses", 15, 4 },
	{ "without the secret", 15, 12 },
	{ "with another secret", FOREIGN_HEADER - 1, 'g' },
	{ "with a secret of another type", 28, 0xe1 },
};

static void a_spoilt_header_is_reset_and_counted(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	gateway_only(&n);
	for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
		uint8_t data[FOREIGN];
		memcpy(data, foreign, FOREIGN);
		data[spoilt[i].at] = spoilt[i].value;
		int gateway = come(&n, "127.0.0.9");
		assert_int_equal(send(gateway, data, FOREIGN, 0), FOREIGN);
		expect_reset(&n.w, gateway);
		expect_rejects(&n.w, ID, FORWARD_BAD_HEADER, i + 1);
		close(gateway);
	}
	assert_int_equal(stats_of(&n.w, ID).connections, 0);
	end_close(&n);
}

/* A user of the gateway's machine who comes while the owner has no secret yet. */
static void without_a_secret_of_ours_no_header_is_believed(void **state)
{
	(void)state;
	struct end n;
	uint8_t data[FOREIGN];

	end_begin(&n);
	gateway_only(&n);
	memset(n.e.secret, 0, sizeof n.e.secret);
	apply(&n.w, &n.e, 1);
	memcpy(data, foreign, FOREIGN);
	memset(data + FOREIGN_HEADER - FORWARD_SECRET, 0, FORWARD_SECRET);
	int gateway = come(&n, "127.0.0.9");
	assert_int_equal(send(gateway, data, FOREIGN, 0), FOREIGN);
	expect_reset(&n.w, gateway);
	expect_rejects(&n.w, ID, FORWARD_BAD_HEADER, 1);
	close(gateway);
	end_close(&n);
}

static void another_secret_is_heeded_and_ends_nothing(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	gateway_only(&n);
	int before = come(&n, "127.0.0.9");
	assert_int_equal(send(before, foreign, FOREIGN, 0), FOREIGN);
	int served = world_accept(&n.w, n.service);
	expect_bytes(&n.w, served, handed_on, HANDED_ON);
	n.e.secret[0]++;
	apply(&n.w, &n.e, 1);
	expect_carried(&n, before, served);
	int after = come(&n, "127.0.0.9");
	assert_int_equal(send(after, foreign, FOREIGN, 0), FOREIGN);
	expect_reset(&n.w, after);
	close(before);
	close(after);
	close(served);
	end_close(&n);
}

static bool not_these(void *arg, const struct addr *visitor)
{
	struct addr inside = at("198.51.100.7", 0);

	assert_int_equal(*(int *)arg, ID);
	return !addr_same_ip(visitor, &inside);
}

static void a_gateway_cannot_name_whom_it_may_not(void **state)
{
	(void)state;
	int id = ID;
	struct end n;
	uint8_t data[FOREIGN];

	end_begin(&n);
	carry_visitors(n.w.carry, not_these, &id);
	gateway_only(&n);
	int gateway = come(&n, "127.0.0.9");
	assert_int_equal(send(gateway, foreign, FOREIGN, 0), FOREIGN);
	expect_reset(&n.w, gateway);
	expect_rejects(&n.w, ID, FORWARD_BAD_HEADER, 1);
	close(gateway);
	memcpy(data, foreign, FOREIGN);
	data[19]++;
	gateway = come(&n, "127.0.0.9");
	assert_int_equal(send(gateway, data, FOREIGN, 0), FOREIGN);
	close(world_accept(&n.w, n.service));
	close(gateway);
	end_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_passes_both_ends_and_names_the_visitor),
		cmocka_unit_test(a_header_may_come_in_pieces),
		cmocka_unit_test(the_list_sees_the_visitor_not_the_gateway),
		cmocka_unit_test(nobody_but_the_gateway_enters),
		cmocka_unit_test(a_spoilt_header_is_reset_and_counted),
		cmocka_unit_test(without_a_secret_of_ours_no_header_is_believed),
		cmocka_unit_test(another_secret_is_heeded_and_ends_nothing),
		cmocka_unit_test(a_gateway_cannot_name_whom_it_may_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
