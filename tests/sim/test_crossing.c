/* How long until two sessions carry data both ways, when both start at once (as they do when they punch) or one does.
 * Only sessions and a link between them, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/wg_pair.h"

enum { RUNS = 1000, FLIGHTS = 64, TICK_MS = 100, END_MS = 60000 };

struct flight {
	uint64_t at_ms; /* SESSION_NEVER: free */
	struct node *to;
	struct letter letter;
};

struct scenario {
	const char *name;
	bool own_kind, both, apart; /* apart: the second starts within a round trip of the first */
	unsigned loss_percent;
	uint64_t beyond_2rtt_ms; /* the bound for 99 % of the runs */
	uint64_t max_ms;	 /* and for all; 0: the same */
};

struct world {
	struct pair pair;
	struct rng dice;
	struct flight flights[FLIGHTS];
	uint64_t one_way_ms, starts_ms[2];
	unsigned loss_percent;
	bool got[2];
};

static struct node *node_of(struct world *w, int side)
{
	return side ? &w->pair.hi : &w->pair.lo;
}

static void launch(struct world *w, const struct node *from, const struct letter *letter)
{
	struct flight *f = w->flights;

	if (rng_below(&w->dice, 100) < w->loss_percent)
		return;
	while (f->at_ms != SESSION_NEVER)
		assert_true(++f < w->flights + FLIGHTS);
	*f = (struct flight) { .at_ms = w->pair.now + w->one_way_ms + rng_below(&w->dice, 3),
			       .letter = *letter };
	f->to = from == &w->pair.lo ? &w->pair.hi : &w->pair.lo;
}

static void drain(struct world *w, struct node *n)
{
	struct letter out;

	while (node_next(n, w->pair.now, &out) == SESSION_MESSAGE)
		launch(w, n, &out);
}

/* What an application has to say, or a wish for a session. */
static void talk(struct world *w, struct node *n)
{
	struct letter out;

	if (node_send(n, w->pair.now, "data", &out))
		launch(w, n, &out);
	else
		session_want(&n->session, w->pair.now);
	drain(w, n);
}

static void land(struct world *w, struct flight *f)
{
	struct session_opened opened;
	struct letter in = f->letter, reply;
	struct node *n = f->to;
	bool was_ready = session_ready(&n->session, w->pair.now);

	f->at_ms = SESSION_NEVER;
	if (node_receive(n, w->pair.now, false, &in, &reply, &opened) != 0)
		return;
	if (reply.len)
		launch(w, n, &reply);
	if (opened.len)
		w->got[n == &w->pair.hi] = true;
	/* What was queued goes out; data is answered until both have got some. */
	if (session_ready(&n->session, w->pair.now) &&
	    (!was_ready || (opened.len && !w->got[n == &w->pair.lo])))
		talk(w, n);
	drain(w, n);
}

static uint64_t next_moment(struct world *w)
{
	uint64_t at = session_deadline(&w->pair.lo.session), other = session_deadline(&w->pair.hi.session);

	at = other < at ? other : at;
	for (int i = 0; i < FLIGHTS; i++)
		at = w->flights[i].at_ms < at ? w->flights[i].at_ms : at;
	for (int side = 0; side < 2; side++)
		at = w->starts_ms[side] < at ? w->starts_ms[side] : at;
	assert_true(at >= w->pair.now);
	return at;
}

static void step(struct world *w)
{
	w->pair.now = next_moment(w);
	for (int i = 0; i < FLIGHTS; i++)
		if (w->flights[i].at_ms == w->pair.now)
			land(w, &w->flights[i]);
	for (int side = 0; side < 2; side++) {
		if (w->starts_ms[side] == w->pair.now) {
			w->starts_ms[side] += TICK_MS;
			talk(w, node_of(w, side));
		}
		drain(w, node_of(w, side));
	}
}

/* How long it took, and the round trip. */
static int64_t run(const struct scenario *s, uint64_t seed, int64_t *rtt)
{
	static struct world w;
	struct pair_options o = { .own_kind = s->own_kind, .seed = seed };

	memset(&w, 0, sizeof w);
	pair_open(&w.pair, &o);
	rng_init_seed(&w.dice, seed);
	w.one_way_ms = 1 + rng_below(&w.dice, 150);
	w.loss_percent = s->loss_percent;
	for (int i = 0; i < FLIGHTS; i++)
		w.flights[i].at_ms = SESSION_NEVER;
	const uint64_t began = w.pair.now;
	int second = (int)rng_below(&w.dice, 2);
	w.starts_ms[!second] = began;
	w.starts_ms[second] = s->both ? began : SESSION_NEVER;
	if (s->apart)
		w.starts_ms[second] += rng_below(&w.dice, (uint32_t)(2 * w.one_way_ms));
	while (!(w.got[0] && w.got[1]) && w.pair.now < began + END_MS)
		step(&w);
	int64_t took = (int64_t)(w.pair.now - began);
	*rtt = (int64_t)(2 * w.one_way_ms);
	pair_close(&w.pair);
	return took;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void expect_bounds(const struct scenario *s)
{
	static int64_t net[RUNS];
	int64_t longest = 0;

	for (uint64_t seed = 0; seed < RUNS; seed++) {
		int64_t rtt, took = run(s, seed, &rtt);
		net[seed] = took - 2 * rtt;
		longest = took > longest ? took : longest;
	}
	qsort(net, RUNS, sizeof *net, by_value);
	print_message("%-50s median %+lld ms, 99 %% %+lld ms (less 2 RTT), longest %lld ms\n", s->name,
		      (long long)net[RUNS / 2], (long long)net[RUNS * 99 / 100], (long long)longest);
	if (s->beyond_2rtt_ms)
		assert_true(net[RUNS * 99 / 100] <= (int64_t)s->beyond_2rtt_ms);
	if (s->max_ms)
		assert_true(longest <= (int64_t)s->max_ms);
}

static void sessions_come_up_in_two_round_trips(void **state)
{
	static const struct scenario scenarios[] = {
		{ "both at the same moment", true, true, false, 0, 50, 0 },
		{ "both within a round trip", true, true, true, 0, 50, 0 },
		{ "one side", true, false, false, 0, 50, 0 },
		{ "both at the same moment, not of our own kind", false, true, false, 0, 50, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		expect_bounds(&scenarios[i]);
}

static void loss_delays_them_by_the_early_retries_only(void **state)
{
	static const struct scenario scenarios[] = {
		{ "both at the same moment, 5 % loss", true, true, false, 5, 0, 6000 },
		{ "both within a round trip, 5 % loss", true, true, true, 5, 0, 6000 },
		{ "one side, 5 % loss", true, false, false, 5, 0, 6000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		expect_bounds(&scenarios[i]);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_come_up_in_two_round_trips),
		cmocka_unit_test(loss_delays_them_by_the_early_retries_only),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
