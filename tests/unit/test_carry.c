/* Connections: what is carried, and how they end. */
#include "carry_world.h"

#include <sys/wait.h>

enum { LARGE = 8 << 20, ID = 7, OTHER_ID = 9 };

/* --- One end alone: a member comes to the owner's address. */

struct end {
	struct world w;
	int service, visitor, served;
	struct forward_entry e;
};

static void end_begin(struct end *n, const char *ip)
{
	struct addr target;

	world_begin(&n->w);
	n->service = service_at(ip, &target);
	n->e = entry(ID, FORWARD_TCP, free_at(ip, SOCK_STREAM), target);
	apply(&n->w, &n->e, 1);
}

static void end_connect(struct end *n, const char *from)
{
	n->visitor = visit_from(from, SOCK_STREAM, &n->e.listen);
	n->served = world_accept(&n->w, n->service);
}

static void end_close(struct end *n)
{
	close(n->visitor);
	close(n->served);
	close(n->service);
	world_end(&n->w);
}

static void bytes_go_both_ways(void **state)
{
	(void)state;
	static const char *const ips[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < 2; i++) {
		struct end n;
		end_begin(&n, ips[i]);
		end_connect(&n, ips[i]);
		send_text(n.visitor, "GET");
		expect_text(&n.w, n.served, "GET");
		send_text(n.served, "answer");
		expect_text(&n.w, n.visitor, "answer");

		struct forward_stats s = stats_of(&n.w, ID);
		struct addr visitor = local_of(n.visitor);
		assert_int_equal(s.bytes_in, 3);
		assert_int_equal(s.bytes_out, 6);
		assert_int_equal(s.connections, 1);
		assert_int_equal(s.total, 1);
		assert_true(addr_equal(&s.last_visitor, &visitor));
		end_close(&n);
	}
}

static void a_half_close_passes_and_the_answer_still_comes(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	send_text(n.visitor, "all I have to say");
	shutdown(n.visitor, SHUT_WR);
	expect_text(&n.w, n.served, "all I have to say");
	expect_end(&n.w, n.served);
	assert_int_equal(stats_of(&n.w, ID).connections, 1);
	send_text(n.served, "late answer");
	expect_text(&n.w, n.visitor, "late answer");
	shutdown(n.served, SHUT_WR);
	expect_end(&n.w, n.visitor);
	expect_connections(&n.w, ID, 0);
	end_close(&n);
}

static void reset(int fd)
{
	struct linger now = { .l_onoff = 1 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	close(fd);
}

static void a_reset_of_either_end_resets_the_other(void **state)
{
	(void)state;
	for (int who = 0; who < 2; who++) {
		struct end n;
		end_begin(&n, "127.0.0.1");
		end_connect(&n, "127.0.0.1");
		reset(who ? n.served : n.visitor);
		expect_reset(&n.w, who ? n.visitor : n.served);
		expect_connections(&n.w, ID, 0);
		*(who ? &n.served : &n.visitor) = -1;
		end_close(&n);
	}
}

static void what_was_said_before_a_reset_still_arrives(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	send_text(n.visitor, "more than is read");
	world_await(&n.w, is_ready, &n.served);
	send_text(n.served, "too much");
	close(n.served);
	expect_text(&n.w, n.visitor, "too much");
	expect_reset(&n.w, n.visitor);
	expect_connections(&n.w, ID, 0);
	n.served = -1;
	end_close(&n);
}

static void a_target_that_refuses_resets_the_visitor(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	close(n.service);
	n.visitor = visit_from("127.0.0.1", SOCK_STREAM, &n.e.listen);
	expect_reset(&n.w, n.visitor);
	assert_int_equal(stats_of(&n.w, ID).rejected[FORWARD_NO_SERVICE], 1);
	assert_int_equal(stats_of(&n.w, ID).connections, 0);
	n.service = n.served = -1;
	end_close(&n);
}

/* --- Much of it. */

struct stream {
	int from, to;
	uint32_t sent_sum, got_sum;
	size_t sent, got, most;
};

static uint32_t sum(uint32_t s, const uint8_t *p, size_t n)
{
	while (n--)
		s = s * 31 + *p++;
	return s;
}

static void stream_write(struct stream *s)
{
	uint8_t data[16384];

	while (s->sent < s->most) {
		for (size_t i = 0; i < sizeof data; i++)
			data[i] = (uint8_t)((s->sent + i) * 2654435761u >> 13);
		size_t left = s->most - s->sent;
		ssize_t n = send(s->from, data, left < sizeof data ? left : sizeof data, MSG_NOSIGNAL);
		if (n < 0)
			return;
		s->sent_sum = sum(s->sent_sum, data, (size_t)n);
		s->sent += (size_t)n;
	}
}

static void stream_read(struct stream *s)
{
	uint8_t data[16384];
	ssize_t n;

	while ((n = recv(s->to, data, sizeof data, 0)) > 0) {
		s->got_sum = sum(s->got_sum, data, (size_t)n);
		s->got += (size_t)n;
	}
}

static bool both_arrived(void *arg)
{
	struct stream *s = arg;

	for (int i = 0; i < 2; i++) {
		stream_write(&s[i]);
		stream_read(&s[i]);
	}
	return s[0].got == s[0].most && s[1].got == s[1].most;
}

static void much_arrives_unchanged_both_ways_at_once(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	struct stream s[] = { { .from = n.visitor, .to = n.served, .most = LARGE },
			      { .from = n.served, .to = n.visitor, .most = LARGE } };
	world_await(&n.w, both_arrived, s);
	assert_int_equal(s[0].got_sum, s[0].sent_sum);
	assert_int_equal(s[1].got_sum, s[1].sent_sum);
	assert_int_equal(stats_of(&n.w, ID).bytes_in, LARGE);
	assert_int_equal(stats_of(&n.w, ID).bytes_out, LARGE);
	end_close(&n);
}

struct stalled {
	struct stream *s;
	size_t before;
	int times;
};

/* Nothing more could be written for a while. */
static bool has_stalled(void *arg)
{
	struct stalled *t = arg;

	stream_write(t->s);
	t->times = t->s->sent == t->before ? t->times + 1 : 0;
	t->before = t->s->sent;
	return t->times == 50;
}

static void who_does_not_read_holds_the_sender_back(void **state)
{
	(void)state;
	struct end n;
	size_t much = (size_t)1 << 30;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	int before = descriptors();
	struct stream s = { .from = n.visitor, .to = n.served, .most = much };
	world_await(&n.w, has_stalled, &(struct stalled) { &s, 0, 0 });
	assert_in_range(s.sent, 1, much / 2);
	assert_true(descriptors() <= before + 2);

	s.most = s.sent;
	struct stream both[] = { s, { .from = n.served, .to = n.visitor, .most = 0 } };
	world_await(&n.w, both_arrived, both);
	assert_int_equal(both[0].got_sum, both[0].sent_sum);
	end_close(&n);
}

static void a_pause_in_the_middle_loses_nothing(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	struct stream s[] = { { .from = n.visitor, .to = n.served, .most = LARGE },
			      { .from = n.served, .to = n.visitor, .most = LARGE } };
	world_await(&n.w, has_stalled, &(struct stalled) { &s[0], 0, 0 });
	n.e.paused = true;
	apply(&n.w, &n.e, 1);
	stream_read(&s[0]);
	world_await(&n.w, has_stalled, &(struct stalled) { &s[0], 0, 0 });
	assert_true(s[0].got < LARGE);
	n.e.paused = false;
	apply(&n.w, &n.e, 1);
	world_await(&n.w, both_arrived, s);
	assert_int_equal(s[0].got_sum, s[0].sent_sum);
	assert_int_equal(s[1].got_sum, s[1].sent_sum);
	end_close(&n);
}

struct talk {
	struct stream flood;
	int visitor, served, rounds;
	bool asked;
};

/* Question and answer, while the flood goes on. */
static bool has_talked(void *arg)
{
	struct talk *t = arg;
	char byte;

	stream_write(&t->flood);
	stream_read(&t->flood);
	if (!t->asked)
		send_text(t->visitor, "?");
	t->asked = true;
	if (recv(t->served, &byte, 1, 0) == 1)
		send_text(t->served, "!");
	if (recv(t->visitor, &byte, 1, 0) == 1) {
		t->asked = false;
		t->rounds++;
	}
	return t->rounds == 20;
}

static void a_flood_does_not_silence_a_talk(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	struct talk t = { .flood = { .from = n.visitor, .to = n.served, .most = (size_t)1 << 40 } };
	t.visitor = visit_from("127.0.0.1", SOCK_STREAM, &n.e.listen);
	t.served = world_accept(&n.w, n.service);
	world_await(&n.w, has_talked, &t);
	assert_true(t.flood.got > 0);
	close(t.visitor);
	close(t.served);
	end_close(&n);
}

enum { CROWD = 50 };

static void an_idle_connection_has_two_descriptors(void **state)
{
	(void)state;
	struct end n;
	int visitors[CROWD], served[CROWD];

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	send_text(n.visitor, "the pool has a pipe now");
	expect_text(&n.w, n.served, "the pool has a pipe now");
	int before = descriptors();
	for (int i = 0; i < CROWD; i++) {
		visitors[i] = visit_from("127.0.0.1", SOCK_STREAM, &n.e.listen);
		served[i] = world_accept(&n.w, n.service);
		send_text(visitors[i], "hello");
		expect_text(&n.w, served[i], "hello");
	}
	assert_int_equal(descriptors(), before + CROWD * 4);
	for (int i = 0; i < CROWD; i++) {
		close(visitors[i]);
		close(served[i]);
	}
	expect_connections(&n.w, ID, 1);
	assert_int_equal(descriptors(), before);
	end_close(&n);
}

/* Sockets that some epoll of ours watches: the lines "tfd:" that proc(5) has of it. */
static int watched(void)
{
	char path[32], line[128];
	int count = 0;

	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
		FILE *f = fopen(path, "re");
		while (f && fgets(line, sizeof line, f))
			count += strncmp(line, "tfd:", 4) == 0;
		if (f)
			fclose(f);
	}
	return count;
}

/* As one that is about to run a program, while it still has copies of all descriptors. */
static pid_t child_with_copies(int *hold)
{
	int ends[2];
	char end;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[1]);
		_exit(read(ends[0], &end, 1) != 0);
	}
	close(ends[0]);
	*hold = ends[1];
	return pid;
}

static void what_is_over_is_watched_no_more_though_a_child_has_a_copy(void **state)
{
	(void)state;
	struct end n;
	int hold;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	send_text(n.visitor, "here");
	expect_text(&n.w, n.served, "here");
	int before = watched();
	pid_t pid = child_with_copies(&hold);
	apply(&n.w, NULL, 0);
	assert_int_equal(watched(), before - 3); /* both ends, and the listener */
	close(hold);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	end_close(&n);
}

/* --- Entries that change. */

static void what_is_removed_is_reset_at_both_ends(void **state)
{
	(void)state;
	struct end n;
	uint8_t id[FORWARD_ID] = { ID };
	struct forward_stats s;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	apply(&n.w, NULL, 0);
	expect_reset(&n.w, n.visitor);
	expect_reset(&n.w, n.served);
	assert_false(carry_stats(n.w.carry, id, &s));
	int late = visit_from("127.0.0.1", SOCK_STREAM, &n.e.listen);
	world_await(&n.w, is_ready, &late);
	int error = 0;
	socklen_t len = sizeof error;
	assert_int_equal(getsockopt(late, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, ECONNREFUSED);
	close(late);
	end_close(&n);
}

static void others_connections_live_on(void **state)
{
	(void)state;
	struct end n;
	struct addr target;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	int other = service_at("127.0.0.1", &target);
	struct forward_entry two[] = {
		entry(OTHER_ID, FORWARD_TCP, free_at("127.0.0.1", SOCK_STREAM), target), n.e
	};
	apply(&n.w, two, 2);
	two[1].max_conn = 3;
	two[1].rate = 1000000;
	apply(&n.w, two, 2);
	send_text(n.visitor, "still here");
	expect_text(&n.w, n.served, "still here");
	assert_int_equal(stats_of(&n.w, ID).total, 1);
	close(other);
	end_close(&n);
}

static void a_new_target_resets_and_is_reached(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	end_connect(&n, "127.0.0.1");
	int old = n.visitor, old_served = n.served, old_service = n.service;
	n.service = service_at("127.0.0.1", &n.e.target);
	apply(&n.w, &n.e, 1);
	expect_reset(&n.w, old);
	end_connect(&n, "127.0.0.1");
	send_text(n.visitor, "new");
	expect_text(&n.w, n.served, "new");
	close(old);
	close(old_served);
	close(old_service);
	end_close(&n);
}

static void a_port_that_is_taken_is_named_and_the_rest_is_made(void **state)
{
	(void)state;
	struct end n;
	struct addr taken;
	char why[CARRY_WHY];
	size_t failed = 99;

	end_begin(&n, "127.0.0.1");
	int other = service_at("127.0.0.1", &taken);
	struct forward_entry two[] = { entry(OTHER_ID, FORWARD_TCP, taken, n.e.target), n.e };
	assert_int_equal(carry_apply(n.w.carry, two, 2, &failed, why), -EADDRINUSE);
	assert_int_equal(failed, 0);
	assert_non_null(strstr(why, "another program has this port"));
	end_connect(&n, "127.0.0.1");
	close(other);
	apply(&n.w, two, 2);
	end_close(&n);
}

static const struct {
	const char *what, *listen_ip;
	int port_change, count, error;
} impossible[] = {
	{ "an address of another machine", "203.0.113.77", 0, 1, -EADDRNOTAVAIL },
	{ "no port", "127.0.0.1", 0, 0, -EINVAL },
	{ "ports above 65535", "127.0.0.1", 0, 65535, -EINVAL },
};

static void impossible_entries_say_so(void **state)
{
	(void)state;
	struct end n;

	end_begin(&n, "127.0.0.1");
	for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
		struct forward_entry e = entry(OTHER_ID, FORWARD_TCP, at(impossible[i].listen_ip, 20000),
					       n.e.target);
		char why[CARRY_WHY] = "";
		size_t failed;
		e.count = (uint16_t)impossible[i].count;
		int rc = carry_apply(n.w.carry, &e, 1, &failed, why);
		if (rc != impossible[i].error || !*why)
			fail_msg("%s: %d, \"%s\"", impossible[i].what, rc, why);
	}
	n.visitor = n.served = -1;
	end_close(&n);
}

enum { PORTS = 1000 };

/* Where so many ports in a row are free. */
static uint16_t free_range(void)
{
	for (unsigned first = 20000; first < 60000; first += PORTS) {
		unsigned n = 0;
		for (; n < PORTS; n++) {
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			struct addr a = at("127.0.0.1", (uint16_t)(first + n));
			struct sockaddr_storage ss;
			unsigned len = addr_to_sockaddr(&a, &ss);
			int rc = bind(fd, (struct sockaddr *)&ss, len);
			close(fd);
			if (rc != 0)
				break;
		}
		if (n == PORTS)
			return (uint16_t)first;
	}
	fail_msg("no free ports");
	return 0;
}

static void a_range_of_a_thousand_ports_goes_one_to_one(void **state)
{
	(void)state;
	struct world w;
	uint16_t first = free_range(), offset = PORTS - 1;
	struct addr target;

	world_begin(&w);
	int service = service_at("127.0.0.2", &target);
	struct forward_entry e = entry(ID, FORWARD_TCP, at("127.0.0.1", first), target);
	e.count = PORTS;
	e.target.port = (uint16_t)(target.port - offset);
	apply(&w, &e, 1);
	struct addr last = at("127.0.0.1", (uint16_t)(first + offset));
	int visitor = visit_from("127.0.0.1", SOCK_STREAM, &last);
	int served = world_accept(&w, service);
	send_text(visitor, "last");
	expect_text(&w, served, "last");
	close(visitor);
	close(served);
	close(service);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways),
		cmocka_unit_test(a_half_close_passes_and_the_answer_still_comes),
		cmocka_unit_test(a_reset_of_either_end_resets_the_other),
		cmocka_unit_test(what_was_said_before_a_reset_still_arrives),
		cmocka_unit_test(a_target_that_refuses_resets_the_visitor),
		cmocka_unit_test(much_arrives_unchanged_both_ways_at_once),
		cmocka_unit_test(who_does_not_read_holds_the_sender_back),
		cmocka_unit_test(a_pause_in_the_middle_loses_nothing),
		cmocka_unit_test(a_flood_does_not_silence_a_talk),
		cmocka_unit_test(an_idle_connection_has_two_descriptors),
		cmocka_unit_test(what_is_over_is_watched_no_more_though_a_child_has_a_copy),
		cmocka_unit_test(what_is_removed_is_reset_at_both_ends),
		cmocka_unit_test(others_connections_live_on),
		cmocka_unit_test(a_new_target_resets_and_is_reached),
		cmocka_unit_test(a_port_that_is_taken_is_named_and_the_rest_is_made),
		cmocka_unit_test(impossible_entries_say_so),
		cmocka_unit_test(a_range_of_a_thousand_ports_goes_one_to_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
