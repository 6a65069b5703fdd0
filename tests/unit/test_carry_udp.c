/* Datagrams. */
#include "carry_world.h"

enum { ID = 7, GATEWAY_ID = 8 };

struct end {
	struct world w;
	int service;
	struct forward_entry e;
};

static void end_begin(struct end *n, const char *ip)
{
	world_begin(&n->w);
	n->service = socket_at(ip, SOCK_DGRAM);
	n->e = entry(ID, FORWARD_UDP, free_at(ip, SOCK_DGRAM), local_of(n->service));
	apply(&n->w, &n->e, 1);
}

static void end_close(struct end *n)
{
	if (n->service >= 0)
		close(n->service);
	world_end(&n->w);
}

static int come(struct end *n, const char *from)
{
	return visit_from(from, SOCK_DGRAM, &n->e.listen);
}

/* One datagram, exactly that; where it came from. */
static struct addr expect_datagram(struct world *w, int fd, const void *want, size_t len)
{
	static uint8_t got[65536];
	struct sockaddr_storage ss;
	socklen_t ss_len = sizeof ss;

	world_await(w, is_ready, &fd);
	assert_int_equal(recvfrom(fd, got, sizeof got, 0, (struct sockaddr *)&ss, &ss_len), len);
	assert_memory_equal(got, want, len);
	return addr_from_sockaddr((struct sockaddr *)&ss);
}

static void answer(int service, const struct addr *to, const char *text)
{
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(to, &ss);

	assert_int_equal(sendto(service, text, strlen(text), 0, (struct sockaddr *)&ss, len), strlen(text));
}

static void each_visitor_has_a_flow_and_its_answers(void **state)
{
	(void)state;
	static const char *const ips[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < 2; i++) {
		struct end n;
		end_begin(&n, ips[i]);
		int a = come(&n, ips[i]), b = come(&n, ips[i]);
		send_text(a, "from a");
		struct addr flow_a = expect_datagram(&n.w, n.service, "from a", 6);
		send_text(b, "from b!");
		struct addr flow_b = expect_datagram(&n.w, n.service, "from b!", 7);
		assert_false(addr_equal(&flow_a, &flow_b));
		send_text(a, "again");
		struct addr again = expect_datagram(&n.w, n.service, "again", 5);
		assert_true(addr_equal(&flow_a, &again));
		answer(n.service, &flow_b, "to b");
		answer(n.service, &flow_a, "to a...");
		struct addr from = expect_datagram(&n.w, a, "to a...", 7);
		assert_true(addr_equal(&from, &n.e.listen));
		expect_datagram(&n.w, b, "to b", 4);

		struct forward_stats s = stats_of(&n.w, ID);
		assert_int_equal(s.bytes_in, 18);
		assert_int_equal(s.bytes_out, 11);
		assert_int_equal(s.connections, 2);
		assert_int_equal(s.total, 2);
		close(a);
		close(b);
		end_close(&n);
	}
}

static void an_empty_datagram_and_a_large_one_pass(void **state)
{
	(void)state;
	static const uint8_t large[60000] = { 1, 2, 3 };
	struct end n;

	end_begin(&n, "127.0.0.1");
	int a = come(&n, "127.0.0.1");
	assert_int_equal(send(a, "", 0, 0), 0);
	expect_datagram(&n.w, n.service, "", 0);
	assert_int_equal(send(a, large, sizeof large, 0), sizeof large);
	expect_datagram(&n.w, n.service, large, sizeof large);
	close(a);
	end_close(&n);
}

static void who_may_not_come_is_dropped_and_counted(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	n.e.restricted = true;
	n.e.allow[n.e.allow_count++] = (struct forward_prefix) { at("127.0.0.10", 0), 32 };
	n.e.max_conn = 1;
	apply(&n.w, &n.e, 1);
	int out = come(&n, "127.0.0.11"), in = come(&n, "127.0.0.10"), more = come(&n, "127.0.0.10");
	send_text(out, "x");
	expect_rejects(&n.w, ID, FORWARD_NOT_ALLOWED, 1);
	send_text(in, "in");
	expect_datagram(&n.w, n.service, "in", 2);
	send_text(more, "x");
	expect_rejects(&n.w, ID, FORWARD_FULL, 1);
	assert_int_equal(stats_of(&n.w, ID).total, 1);
	close(out);
	close(in);
	close(more);
	end_close(&n);
}

static void while_paused_datagrams_are_dropped_and_the_flow_is_kept(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	int a = come(&n, "127.0.0.1");
	send_text(a, "one");
	struct addr flow = expect_datagram(&n.w, n.service, "one", 3);
	n.e.paused = true;
	apply(&n.w, &n.e, 1);
	send_text(a, "lost");
	answer(n.service, &flow, "lost");
	expect_rejects(&n.w, ID, FORWARD_PAUSED, 2);
	n.e.paused = false;
	apply(&n.w, &n.e, 1);
	send_text(a, "two");
	struct addr again = expect_datagram(&n.w, n.service, "two", 3);
	assert_true(addr_equal(&flow, &again));
	close(a);
	end_close(&n);
}

static void what_is_over_the_rate_is_dropped_and_counted(void **state)
{
	(void)state;
	static const uint8_t data[3000];
	struct end n;

	end_begin(&n, "127.0.0.1");
	n.e.rate = 1;
	apply(&n.w, &n.e, 1);
	int a = come(&n, "127.0.0.1");
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(a, data, sizeof data, 0), sizeof data);
	expect_rejects(&n.w, ID, FORWARD_RATE, 2);
	assert_int_equal(stats_of(&n.w, ID).bytes_in, sizeof data);
	close(a);
	end_close(&n);
}

static void a_flow_that_is_idle_ends(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	n.e.idle_s = 1;
	apply(&n.w, &n.e, 1);
	int a = come(&n, "127.0.0.1");
	int before = descriptors();
	send_text(a, "once");
	expect_datagram(&n.w, n.service, "once", 4);
	assert_int_equal(descriptors(), before + 1);
	expect_connections(&n.w, ID, 0);
	assert_int_equal(descriptors(), before);
	close(a);
	end_close(&n);
}

static void a_service_that_refuses_is_counted_and_may_come_back(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	close(n.service);
	int a = come(&n, "127.0.0.1");
	send_text(a, "nobody there");
	expect_rejects(&n.w, ID, FORWARD_NO_SERVICE, 1);
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&n.e.target, &ss);
	n.service = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(n.service, (struct sockaddr *)&ss, len), 0);
	send_text(a, "back");
	expect_datagram(&n.w, n.service, "back", 4);
	close(a);
	end_close(&n);
}

static void removed_flows_are_gone(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	int a = come(&n, "127.0.0.1");
	int before = descriptors();
	send_text(a, "one");
	expect_datagram(&n.w, n.service, "one", 3);
	apply(&n.w, NULL, 0);
	assert_int_equal(descriptors(), before - 1);
	close(a);
	end_close(&n);
}

/* --- Through a gateway. */

static struct forward_entry through_gateway(struct end *n)
{
	struct forward_entry g;

	n->e.gateway4 = at("127.0.0.1", 0);
	n->e.header_in = n->e.header_out = true;
	memset(n->e.secret, 0x5e, sizeof n->e.secret);
	g = n->e;
	g.id[0] = GATEWAY_ID;
	g.side = FORWARD_GATEWAY;
	g.header_in = false;
	g.gateway4 = (struct addr) { 0 };
	g.target = n->e.listen;
	g.listen = free_at("127.0.0.3", SOCK_DGRAM);
	return g;
}

/* What the service gets: a header that names the visitor, and what he said. */
static struct addr expect_headed(struct end *n, int visitor, const struct addr *came_to, const char *text)
{
	uint8_t want[PROXY_HEADER_MAX + 100];
	struct proxy_header h = { .proto = FORWARD_UDP, .from = local_of(visitor), .to = *came_to };
	size_t len = proxy_header_write(want, &h);

	memcpy(want + len, text, strlen(text));
	return expect_datagram(&n->w, n->service, want, len + strlen(text));
}

static void a_header_goes_before_each_datagram_and_none_before_answers(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	struct forward_entry g = through_gateway(&n);
	apply(&n.w, (struct forward_entry[]) { n.e, g }, 2);
	int a = visit_from("127.0.0.44", SOCK_DGRAM, &g.listen);
	send_text(a, "first");
	expect_headed(&n, a, &g.listen, "first");
	send_text(a, "second");
	struct addr flow = expect_headed(&n, a, &g.listen, "second");
	answer(n.service, &flow, "answer");
	struct addr from = expect_datagram(&n.w, a, "answer", 6);
	assert_true(addr_equal(&from, &g.listen));
	struct addr visitor = local_of(a);
	for (uint8_t id = ID; id <= GATEWAY_ID; id++) {
		struct forward_stats s = stats_of(&n.w, id);
		assert_true(addr_equal(&s.last_visitor, &visitor));
		assert_int_equal(s.bytes_in, 11);
		assert_int_equal(s.bytes_out, 6);
	}
	close(a);
	end_close(&n);
}

static void a_gateway_that_began_anew_goes_on_with_the_flow(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	struct forward_entry g = through_gateway(&n);
	apply(&n.w, (struct forward_entry[]) { n.e, g }, 2);
	int a = visit_from("127.0.0.44", SOCK_DGRAM, &g.listen);
	send_text(a, "before");
	struct addr flow = expect_headed(&n, a, &g.listen, "before");
	apply(&n.w, &n.e, 1);
	apply(&n.w, (struct forward_entry[]) { n.e, g }, 2);
	send_text(a, "after");
	struct addr again = expect_headed(&n, a, &g.listen, "after");
	assert_true(addr_equal(&flow, &again));
	answer(n.service, &flow, "answer");
	expect_datagram(&n.w, a, "answer", 6);
	assert_int_equal(stats_of(&n.w, ID).total, 1);
	close(a);
	end_close(&n);
}

static void a_flow_goes_on_with_another_secret(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	struct forward_entry g = through_gateway(&n);
	apply(&n.w, (struct forward_entry[]) { n.e, g }, 2);
	int a = visit_from("127.0.0.44", SOCK_DGRAM, &g.listen);
	send_text(a, "before");
	struct addr flow = expect_headed(&n, a, &g.listen, "before");
	n.e.secret[0]++;
	apply(&n.w, (struct forward_entry[]) { n.e, g }, 2);
	send_text(a, "between");
	expect_rejects(&n.w, ID, FORWARD_BAD_HEADER, 1);
	g.secret[0]++;
	apply(&n.w, (struct forward_entry[]) { n.e, g }, 2);
	send_text(a, "after");
	struct addr again = expect_headed(&n, a, &g.listen, "after");
	assert_true(addr_equal(&flow, &again));
	assert_int_equal(stats_of(&n.w, GATEWAY_ID).total, 1);
	close(a);
	end_close(&n);
}

static void datagrams_without_a_header_or_from_elsewhere_are_dropped(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	through_gateway(&n);
	apply(&n.w, &n.e, 1);
	int gateway = come(&n, "127.0.0.1"), other = come(&n, "127.0.0.2");
	send_text(gateway, "no header");
	expect_rejects(&n.w, ID, FORWARD_BAD_HEADER, 1);
	assert_int_equal(send(gateway, "", 0, 0), 0);
	expect_rejects(&n.w, ID, FORWARD_BAD_HEADER, 2);
	send_text(other, "x");
	expect_rejects(&n.w, ID, FORWARD_NOT_ALLOWED, 1);
	assert_int_equal(stats_of(&n.w, ID).total, 0);
	close(gateway);
	close(other);
	end_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_visitor_has_a_flow_and_its_answers),
		cmocka_unit_test(an_empty_datagram_and_a_large_one_pass),
		cmocka_unit_test(who_may_not_come_is_dropped_and_counted),
		cmocka_unit_test(while_paused_datagrams_are_dropped_and_the_flow_is_kept),
		cmocka_unit_test(what_is_over_the_rate_is_dropped_and_counted),
		cmocka_unit_test(a_flow_that_is_idle_ends),
		cmocka_unit_test(a_service_that_refuses_is_counted_and_may_come_back),
		cmocka_unit_test(removed_flows_are_gone),
		cmocka_unit_test(a_header_goes_before_each_datagram_and_none_before_answers),
		cmocka_unit_test(a_gateway_that_began_anew_goes_on_with_the_flow),
		cmocka_unit_test(a_flow_goes_on_with_another_secret),
		cmocka_unit_test(datagrams_without_a_header_or_from_elsewhere_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
