/* Who may come, how many, how fast, and as whom. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "carry_end.h"

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

/* --- The device. */

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

/* At a gateway; of two members, the first wants all. */
static void come_to_one_members_in_too_great_number(struct end *n)
{
	enum { SHARE = FEW / 2 - FEW / 8, HIS_VISITORS = (SHARE - 1) / 2 };
	struct forward_entry both[2];
	int visitors[HIS_VISITORS + 1];
	char why[CARRY_WHY];
	size_t failed;

	n->e.side = FORWARD_GATEWAY;
	n->e.header_out = true;
	apply(&n->w, NULL, 0);
	both[0] = both[1] = n->e;
	both[0].owner = 1;
	both[1].owner = 2;
	both[1].id[0]++;
	both[1].listen = free_at("127.0.0.2", SOCK_STREAM);
	apply(&n->w, both, 2);
	for (int i = 0; i <= HIS_VISITORS; i++)
		visitors[i] = come(n, "127.0.0.1");
	expect_rejects(&n->w, ID, FORWARD_FULL, 1);
	expect_reset(&n->w, visitors[HIS_VISITORS]);
	expect_connections(&n->w, ID, HIS_VISITORS);
	int other = visit_from("127.0.0.1", SOCK_STREAM, &both[1].listen);
	expect_connections(&n->w, ID + 1, 1);
	assert_int_equal(stats_of(&n->w, ID + 1).rejected[FORWARD_FULL], 0);
	/* What ends is given back. */
	setsockopt(visitors[0], SOL_SOCKET, SO_LINGER, &(struct linger) { .l_onoff = 1 },
		   sizeof(struct linger));
	close(visitors[0]);
	expect_connections(&n->w, ID, HIS_VISITORS - 1);
	visitors[0] = come(n, "127.0.0.1");
	expect_connections(&n->w, ID, HIS_VISITORS);
	/* Ports count, too. */
	both[1].listen.port = both[1].target.port = 20000;
	both[1].count = SHARE + 1;
	assert_int_equal(carry_apply(n->w.carry, both, 2, &failed, why), -EMFILE);
	assert_int_equal(failed, 1);
	close(other);
}

static void one_members_leases_leave_descriptors_to_the_others(void **state)
{
	(void)state;
	with_few_descriptors(come_to_one_members_in_too_great_number);
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
		cmocka_unit_test(who_comes_not_by_the_tunnel_is_not_heard),
		cmocka_unit_test(one_members_leases_leave_descriptors_to_the_others),
		cmocka_unit_test(too_many_ports_say_what_to_do),
		cmocka_unit_test(without_descriptors_new_ones_are_reset_and_the_old_are_carried_by_copying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
