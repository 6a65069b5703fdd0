#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "apps/p2pd/shell_sockets.h"

enum { GUARD_MS = 20000, FIRST = 1, SECOND = 2, FIRST_AGAIN = 1024 + 1, LAST = ENGINE_SOCKETS };

/* A node's extra sockets, and a peer that sees where they send from. */
struct world {
	struct loop *loop;
	struct pkt_pool pool;
	struct udp_slab *slab;
	struct shell_sockets sockets;
	struct udp_socket peer;
	struct got {
		unsigned count;
		uint32_t id;
		size_t len;
		struct addr from, local;
	} got, peer_got; /* how many trains, and the last */
	unsigned batches;
	bool close_in_batch, replace_in_train;
};

static void note(struct got *g, uint32_t id, const struct udp_train *t)
{
	*g = (struct got) {
		.count = g->count + 1, .id = id, .len = t->len, .from = t->addr, .local = t->local
	};
}

static int send_by(struct world *w, uint32_t id)
{
	struct pkt *p = pkt_get(&w->pool);

	p->addr = w->peer.local;
	p->socket = id;
	p->len = 1;
	pkt_data(p)[0] = 'x';
	int rc = shell_sockets_send(&w->sockets, p);
	pkt_put(&w->pool, p);
	return rc;
}

static void on_train(void *arg, uint32_t id, const struct udp_train *t)
{
	struct world *w = arg;

	note(&w->got, id, t);
	if (w->replace_in_train)
		assert_int_equal(send_by(w, FIRST_AGAIN), 0);
}

static void on_batch(void *arg)
{
	static const uint32_t none[ENGINE_SOCKETS];
	struct world *w = arg;

	w->batches++;
	if (w->close_in_batch)
		shell_sockets_keep(&w->sockets, none);
	loop_stop(w->loop);
}

static void on_peer_train(void *arg, const struct udp_train *t)
{
	struct world *w = arg;

	note(&w->peer_got, 0, t);
	loop_stop(w->loop);
}

static void begin(struct world *w)
{
	static const struct shell_sockets_handler handler = { on_train, on_batch };
	static const struct udp_handler peer = { .on_train = on_peer_train };
	struct addr local;

	memset(w, 0, sizeof *w);
	w->loop = loop_create();
	assert_int_equal(pkt_pool_init(&w->pool, 64), 0);
	w->slab = udp_slab_create();
	assert_int_equal(addr_parse(&local, "127.0.0.1", 1), 0);
	local.port = 0;
	assert_int_equal(udp_open(&w->peer, w->loop, w->slab, UDP_OFFLOAD_GRO, &local, &peer, w), 0);
	shell_sockets_init(&w->sockets, w->loop, w->slab, UDP_OFFLOAD_GRO, &handler, w);
}

static void end(struct world *w)
{
	shell_sockets_close(&w->sockets);
	udp_close(&w->peer);
	udp_slab_destroy(w->slab);
	assert_int_equal(w->pool.in_use, 0);
	loop_destroy(w->loop);
	pkt_pool_free(&w->pool);
}

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct world *w)
{
	struct loop_timer *guard = loop_timer_create(w->loop, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(w->loop);
	loop_timer_destroy(guard);
}

/* Sends by an extra socket; where it arrived from. */
static struct addr source_of(struct world *w, uint32_t id)
{
	unsigned before = w->peer_got.count;

	assert_int_equal(send_by(w, id), 0);
	run(w);
	assert_int_equal(w->peer_got.count, before + 1);
	return w->peer_got.from;
}

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void each_id_has_a_port_of_its_own_and_keeps_it(void **state)
{
	(void)state;
	struct world w;

	begin(&w);
	struct addr first = source_of(&w, FIRST), second = source_of(&w, SECOND), last = source_of(&w, LAST);
	assert_int_not_equal(first.port, second.port);
	assert_int_not_equal(first.port, last.port);
	assert_int_not_equal(first.port, w.peer.local.port);
	struct addr again = source_of(&w, FIRST);
	assert_true(addr_equal(&first, &again));
	end(&w);
}

static void what_arrives_says_by_which_socket_it_came(void **state)
{
	(void)state;
	static const uint32_t ids[] = { SECOND, FIRST_AGAIN, LAST };
	struct world w;

	begin(&w);
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		struct addr there = source_of(&w, ids[i]);
		assert_int_equal(udp_send_bytes(&w.peer, "answer", 6, &there), 0);
		run(&w);
		assert_int_equal(w.got.id, ids[i]);
		assert_int_equal(w.got.len, 6);
		assert_int_equal(w.got.local.port, there.port);
		assert_true(addr_equal(&w.got.from, &w.peer.local));
	}
	end(&w);
}

static void a_new_generation_takes_the_slot_over(void **state)
{
	(void)state;
	struct world w;

	begin(&w);
	unsigned before = open_files();
	source_of(&w, FIRST);
	assert_non_null(w.sockets.slots[0]);
	unsigned with_one = open_files();
	source_of(&w, FIRST_AGAIN);
	assert_int_equal(with_one, before + 1);
	assert_int_equal(open_files(), with_one);
	end(&w);
}

static void ids_out_of_use_are_closed_and_others_stay(void **state)
{
	(void)state;
	static uint32_t used[ENGINE_SOCKETS];
	struct world w;

	begin(&w);
	unsigned before = open_files();
	source_of(&w, FIRST);
	source_of(&w, LAST);
	struct addr second = source_of(&w, SECOND);
	used[0] = FIRST_AGAIN; /* not sent by yet */
	used[1] = SECOND;
	shell_sockets_keep(&w.sockets, used);
	assert_int_equal(open_files(), before + 1);
	struct addr again = source_of(&w, SECOND);
	assert_true(addr_equal(&second, &again));
	end(&w);
}

static void a_socket_may_be_closed_while_it_delivers(void **state)
{
	(void)state;
	struct world w;

	begin(&w);
	struct addr there = source_of(&w, FIRST);
	w.close_in_batch = true;
	assert_int_equal(udp_send_bytes(&w.peer, "answer", 6, &there), 0);
	run(&w);
	assert_int_equal(w.got.count, 1);
	assert_null(w.sockets.slots[0]);
	end(&w);
}

/* The lane holds what it found authentic in the memory of the trains until then. */
static void a_batch_is_ended_also_when_its_socket_is_replaced_within(void **state)
{
	(void)state;
	struct world w;

	begin(&w);
	struct addr there = source_of(&w, FIRST);
	unsigned with_one = open_files();
	w.replace_in_train = true;
	assert_int_equal(udp_send_bytes(&w.peer, "one", 3, &there), 0);
	assert_int_equal(udp_send_bytes(&w.peer, "three", 5, &there), 0);
	while (!w.batches)
		run(&w);
	assert_int_equal(w.got.count, 2);
	assert_int_equal(w.got.id, FIRST);
	assert_int_equal(open_files(), with_one);
	assert_null(shell_sockets_find(&w.sockets, FIRST));
	assert_non_null(shell_sockets_find(&w.sockets, FIRST_AGAIN));
	end(&w);
}

static void what_no_socket_can_be_opened_for_is_lost_and_counted(void **state)
{
	(void)state;
	struct rlimit files, few;
	struct world w;

	begin(&w);
	assert_int_equal(send_by(&w, ENGINE_SOCKETS + 1), -EINVAL);
	assert_int_equal(send_by(&w, 1024), -EINVAL);
	assert_int_equal(w.sockets.lost, 2);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	few = files;
	few.rlim_cur = 3; /* fewer than are open */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int rc = send_by(&w, FIRST);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_int_equal(rc, -EMFILE);
	assert_int_equal(w.sockets.lost, 3);
	source_of(&w, FIRST);
	end(&w);
}

static void as_many_are_afforded_as_the_limit_of_open_files_allows(void **state)
{
	(void)state;
	static const struct {
		rlim_t soft, hard, soft_after;
		unsigned affordable;
	} cases[] = {
		/* The hard limit only goes down. */
		{ 1024, 4096, 2048, 256 }, { 3000, 4096, 3000, 256 }, { 100, 1200, 1200, 256 },
		{ 512, 800, 800, 200 },	   { 40, 40, 40, 10 },
	};
	struct rlimit files;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		files = (struct rlimit) { cases[i].soft, cases[i].hard };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
		assert_int_equal(shell_sockets_affordable(), cases[i].affordable);
		assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
		assert_int_equal(files.rlim_cur, cases[i].soft_after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_id_has_a_port_of_its_own_and_keeps_it),
		cmocka_unit_test(what_arrives_says_by_which_socket_it_came),
		cmocka_unit_test(a_new_generation_takes_the_slot_over),
		cmocka_unit_test(ids_out_of_use_are_closed_and_others_stay),
		cmocka_unit_test(a_socket_may_be_closed_while_it_delivers),
		cmocka_unit_test(a_batch_is_ended_also_when_its_socket_is_replaced_within),
		cmocka_unit_test(what_no_socket_can_be_opened_for_is_lost_and_counted),
		cmocka_unit_test(as_many_are_afforded_as_the_limit_of_open_files_allows), /* last: it stays */
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
