/* Who may come, how many, how fast, and as whom. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "carry_world.h"

enum { ID = 7 };

/* An owner's end, at which `from` are the visitors' own addresses or, with a header, the gateway's. */
struct end {
	struct world w;
	int service;
	struct forward_entry e;
};

static void end_begin(struct end *n)
{
	struct addr target;

	world_begin(&n->w);
	n->service = service_at("127.0.0.1", &target);
	n->e = entry(ID, FORWARD_TCP, free_at("127.0.0.1", SOCK_STREAM), target);
	apply(&n->w, &n->e, 1);
}

static void end_close(struct end *n)
{
	close(n->service);
	world_end(&n->w);
}

static int come(struct end *n, const char *from)
{
	return visit_from(from, SOCK_STREAM, &n->e.listen);
}

static void expect_carried(struct end *n, int visitor, int served)
{
	send_text(visitor, "in");
	expect_text(&n->w, served, "in");
	send_text(served, "out");
	expect_text(&n->w, visitor, "out");
}

static void allow(struct end *n, const char *prefix, uint8_t bits)
{
	n->e.restricted = true;
	n->e.allow[n->e.allow_count++] = (struct forward_prefix) { at(prefix, 0), bits };
}

/* --- The allow-list. */

static void who_is_not_allowed_is_reset_and_counted(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	allow(&n, "127.0.0.64", 26);
	allow(&n, "2001:db8::", 32);
	apply(&n.w, &n.e, 1);
	int out = come(&n, "127.0.0.63"), in = come(&n, "127.0.0.127");
	expect_reset(&n.w, out);
	int served = world_accept(&n.w, n.service);
	expect_carried(&n, in, served);
	struct forward_stats s = stats_of(&n.w, ID);
	assert_int_equal(s.rejected[FORWARD_NOT_ALLOWED], 1);
	assert_int_equal(s.total, 1);
	close(out);
	close(in);
	close(served);
	end_close(&n);
}

static void an_empty_list_that_restricts_allows_nobody(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	n.e.restricted = true;
	apply(&n.w, &n.e, 1);
	int out = come(&n, "127.0.0.1");
	expect_reset(&n.w, out);
	close(out);
	end_close(&n);
}

static void who_is_allowed_no_more_is_reset_the_others_live(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	int first = come(&n, "127.0.0.10"), first_served = world_accept(&n.w, n.service);
	int second = come(&n, "127.0.0.20"), second_served = world_accept(&n.w, n.service);
	allow(&n, "127.0.0.20", 32);
	apply(&n.w, &n.e, 1);
	expect_reset(&n.w, first);
	expect_reset(&n.w, first_served);
	expect_carried(&n, second, second_served);
	close(first);
	close(first_served);
	close(second);
	close(second_served);
	end_close(&n);
}

/* --- How many. */

enum { CAP = 3 };

static void one_more_than_the_cap_is_reset_and_the_old_ones_live(void **state)
{
	(void)state;
	struct end n;
	int visitors[CAP], served[CAP];

	end_begin(&n);
	n.e.max_conn = CAP;
	apply(&n.w, &n.e, 1);
	for (int i = 0; i < CAP; i++) {
		visitors[i] = come(&n, "127.0.0.1");
		served[i] = world_accept(&n.w, n.service);
	}
	int more = come(&n, "127.0.0.1");
	expect_reset(&n.w, more);
	assert_int_equal(stats_of(&n.w, ID).rejected[FORWARD_FULL], 1);
	for (int i = 0; i < CAP; i++)
		expect_carried(&n, visitors[i], served[i]);
	close(visitors[0]);
	close(served[0]);
	expect_connections(&n.w, ID, CAP - 1);
	close(more);
	visitors[0] = come(&n, "127.0.0.1");
	served[0] = world_accept(&n.w, n.service);
	for (int i = 0; i < CAP; i++) {
		expect_carried(&n, visitors[i], served[i]);
		close(visitors[i]);
		close(served[i]);
	}
	end_close(&n);
}

static void the_cap_is_for_all_entries_of_an_id(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	struct forward_entry two[2] = { n.e, n.e };
	two[1].listen = free_at("127.0.0.2", SOCK_STREAM);
	two[0].max_conn = two[1].max_conn = 1;
	apply(&n.w, two, 2);
	int first = come(&n, "127.0.0.1"), served = world_accept(&n.w, n.service);
	int second = visit_from("127.0.0.1", SOCK_STREAM, &two[1].listen);
	expect_reset(&n.w, second);
	close(first);
	close(second);
	close(served);
	end_close(&n);
}

/* --- How long. */

static void who_says_nothing_for_too_long_is_reset(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	n.e.idle_s = 1;
	apply(&n.w, &n.e, 1);
	int idle = come(&n, "127.0.0.1"), served = world_accept(&n.w, n.service);
	uint64_t before = loop_now_ms();
	expect_carried(&n, idle, served);
	expect_reset(&n.w, idle);
	expect_reset(&n.w, served);
	assert_true(loop_now_ms() - before >= 1000);
	close(idle);
	close(served);
	end_close(&n);
}

/* --- Paused. */

static bool counted_out(void *arg)
{
	int *turns = arg;

	return --*turns == 0;
}

static void expect_silence(struct end *n, int fd)
{
	int turns = 50;
	char byte;

	world_await(&n->w, counted_out, &turns);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void while_paused_the_old_stand_still_and_the_new_are_reset(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n);
	int visitor = come(&n, "127.0.0.1"), served = world_accept(&n.w, n.service);
	expect_carried(&n, visitor, served);
	n.e.paused = true;
	n.e.idle_s = 1;
	apply(&n.w, &n.e, 1);
	send_text(visitor, "waits");
	send_text(served, "as well");
	expect_silence(&n, served);
	expect_silence(&n, visitor);
	int more = come(&n, "127.0.0.1");
	expect_reset(&n.w, more);
	assert_int_equal(stats_of(&n.w, ID).rejected[FORWARD_PAUSED], 1);
	n.e.paused = false;
	apply(&n.w, &n.e, 1);
	expect_text(&n.w, served, "waits");
	expect_text(&n.w, visitor, "as well");
	close(visitor);
	close(served);
	close(more);
	end_close(&n);
}

/* --- How fast. */

enum { RATE = 1000000, MUCH = 400000, BURST = RATE / 10 };

struct flood {
	int from, to;
	size_t sent, got;
};

static bool flood_goes_on(struct flood *f)
{
	static char data[16384];
	ssize_t n;

	while (f->sent < MUCH && (n = send(f->from, data, sizeof data, MSG_NOSIGNAL)) > 0)
		f->sent += (size_t)n;
	while ((n = recv(f->to, data, sizeof data, 0)) > 0)
		f->got += (size_t)n;
	return f->sent >= MUCH && f->got == f->sent;
}

static bool flood_is_through(void *arg)
{
	return flood_goes_on(arg);
}

static bool floods_are_through(void *arg)
{
	struct flood *f = arg;
	bool first = flood_goes_on(&f[0]), second = flood_goes_on(&f[1]);

	return first && second;
}

static void the_rate_holds_all_of_an_id_back_together(void **state)
{
	(void)state;
	struct end n;
	struct flood f[2] = { 0 };

	end_begin(&n);
	n.e.rate = RATE;
	apply(&n.w, &n.e, 1);
	for (int i = 0; i < 2; i++) {
		f[i].from = come(&n, "127.0.0.1");
		f[i].to = world_accept(&n.w, n.service);
	}
	uint64_t before = loop_now_ms();
	world_await(&n.w, floods_are_through, f);
	assert_true(loop_now_ms() - before >= (2 * MUCH - BURST) * 1000ULL / RATE - 50);
	for (int i = 0; i < 2; i++) {
		close(f[i].from);
		close(f[i].to);
	}
	end_close(&n);
}

static void who_waits_for_the_rate_goes_on_when_there_is_none_any_more(void **state)
{
	(void)state;
	struct end n;
	struct flood f = { 0 };

	end_begin(&n);
	n.e.rate = 1;
	apply(&n.w, &n.e, 1);
	f.from = come(&n, "127.0.0.1");
	f.to = world_accept(&n.w, n.service);
	int turns = 20;
	flood_goes_on(&f);
	world_await(&n.w, counted_out, &turns);
	assert_false(flood_goes_on(&f));
	n.e.rate = 0;
	apply(&n.w, &n.e, 1);
	world_await(&n.w, flood_is_through, &f);
	close(f.from);
	close(f.to);
	end_close(&n);
}

/* --- The header. */

static const uint8_t foreign[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
				 "\xc6\x33\x64\x07\xcb\x00\x71\x05\xc3\x50\x01\xbb"
				 "hello";
enum { FOREIGN = sizeof foreign - 1, FOREIGN_HEADER = 28 };

static void gateway_only(struct end *n)
{
	n->e.gateway4 = at("127.0.0.9", 0);
	n->e.header_in = n->e.header_out = true;
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
	struct proxy_header h = { FORWARD_TCP, local_of(visitor), gateway.listen };
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
	expect_bytes(&n.w, served, foreign, FOREIGN);
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

static void who_comes_not_by_the_tunnel_is_not_heard(void **state)
{
	(void)state;
	struct end n;
	char why[CARRY_WHY];
	size_t failed;

	end_begin(&n);
	carry_destroy(n.w.carry);
	n.w.carry = carry_create(n.w.loop, "p2pd-none");
	assert_int_equal(carry_apply(n.w.carry, &n.e, 1, &failed, why), -ENODEV);
	assert_non_null(strstr(why, "device"));
	end_close(&n);
}

/* --- Descriptors that do not suffice: of so many half are left to others. In a process of its own, for the limit cannot be
 * raised again. */

enum { FEW = 100, FEW_VISITORS = (FEW / 2 - 2) / 2 }; /* beside the epoll and the listener */

static void with_few_descriptors(void (*test)(struct end *n))
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child) {
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		return;
	}
	struct end n;
	struct rlimit few = { FEW, FEW };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	end_begin(&n);
	test(&n);
	end_close(&n);
	_exit(0);
}

static void ask_too_many_ports(struct end *n)
{
	char why[CARRY_WHY];
	size_t failed;

	n->e.listen.port = n->e.target.port = 20000;
	n->e.count = 1000;
	assert_int_equal(carry_apply(n->w.carry, &n->e, 1, &failed, why), -EMFILE);
	assert_non_null(strstr(why, "LimitNOFILE"));
}

static void too_many_ports_say_what_to_do(void **state)
{
	(void)state;
	with_few_descriptors(ask_too_many_ports);
}

/* There is none left for a pipe, either. */
static void come_in_too_great_number(struct end *n)
{
	int visitors[FEW_VISITORS + 1];

	for (int i = 0; i <= FEW_VISITORS; i++)
		visitors[i] = come(n, "127.0.0.1");
	expect_rejects(&n->w, ID, FORWARD_FULL, 1);
	expect_reset(&n->w, visitors[FEW_VISITORS]);
	expect_connections(&n->w, ID, FEW_VISITORS);
	int served = world_accept(&n->w, n->service), fds = descriptors();
	struct flood f = { .from = visitors[0], .to = served };
	world_await(&n->w, flood_is_through, &f);
	expect_carried(n, visitors[0], served);
	assert_int_equal(descriptors(), fds);
}

static void without_descriptors_new_ones_are_reset_and_the_old_are_carried_by_copying(void **state)
{
	(void)state;
	with_few_descriptors(come_in_too_great_number);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_not_allowed_is_reset_and_counted),
		cmocka_unit_test(an_empty_list_that_restricts_allows_nobody),
		cmocka_unit_test(who_is_allowed_no_more_is_reset_the_others_live),
		cmocka_unit_test(one_more_than_the_cap_is_reset_and_the_old_ones_live),
		cmocka_unit_test(the_cap_is_for_all_entries_of_an_id),
		cmocka_unit_test(who_says_nothing_for_too_long_is_reset),
		cmocka_unit_test(while_paused_the_old_stand_still_and_the_new_are_reset),
		cmocka_unit_test(the_rate_holds_all_of_an_id_back_together),
		cmocka_unit_test(who_waits_for_the_rate_goes_on_when_there_is_none_any_more),
		cmocka_unit_test(a_header_passes_both_ends_and_names_the_visitor),
		cmocka_unit_test(a_header_may_come_in_pieces),
		cmocka_unit_test(the_list_sees_the_visitor_not_the_gateway),
		cmocka_unit_test(nobody_but_the_gateway_enters),
		cmocka_unit_test(a_spoilt_header_is_reset_and_counted),
		cmocka_unit_test(who_comes_not_by_the_tunnel_is_not_heard),
		cmocka_unit_test(too_many_ports_say_what_to_do),
		cmocka_unit_test(without_descriptors_new_ones_are_reset_and_the_old_are_carried_by_copying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
