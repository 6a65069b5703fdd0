/* Ends of UDP conversations on the loopback, for tests. */
#ifndef P2PD_TESTS_UDP_END_H
#define P2PD_TESTS_UDP_END_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/udp.h"

enum { GUARD_MS = 20000, END_TRAINS = 1024, END_BYTES = 8 << 20 };

struct end {
	struct udp_socket sock;
	struct loop *loop;
	struct udp_slab *slab;
	/* What came: the trains, whose data is the offset in `bytes`. */
	struct {
		size_t at, len, stride;
		struct addr addr, local;
	} got[END_TRAINS];
	size_t count, datagrams, total;
	unsigned batches, writable;
	size_t awaited; /* the loop stops once so many datagrams came */
	bool close_on_train, close_on_batch, stop_on_batch, stop_on_writable;
	/* Which end had the last train, and how many it had since the other had one, and at most. */
	struct end **turn;
	size_t run_trains, run_bytes, longest_trains, longest_bytes;
	uint8_t bytes[END_BYTES];
};

static void end_turn(struct end *e, size_t bytes)
{
	if (e->turn && *e->turn != e) {
		*e->turn = e;
		e->run_trains = e->run_bytes = 0;
	}
	e->run_trains++;
	e->run_bytes += bytes;
	if (e->run_trains > e->longest_trains)
		e->longest_trains = e->run_trains;
	if (e->run_bytes > e->longest_bytes)
		e->longest_bytes = e->run_bytes;
}

static void end_on_train(void *arg, const struct udp_train *t)
{
	struct end *e = arg;

	assert_true(e->count < END_TRAINS && e->total + t->len <= END_BYTES);
	memcpy(e->bytes + e->total, t->data, t->len);
	if (t->len)
		memset(t->data, 0xee, t->len); /* may be written to */
	e->got[e->count].at = e->total;
	e->got[e->count].len = t->len;
	e->got[e->count].stride = t->stride;
	e->got[e->count].addr = t->addr;
	e->got[e->count++].local = t->local;
	e->total += t->len;
	e->datagrams += t->len ? (t->len + t->stride - 1) / t->stride : 1;
	end_turn(e, t->len);
	if (e->close_on_train)
		udp_close(&e->sock);
	if (e->datagrams >= e->awaited)
		loop_stop(e->loop);
}

static void end_on_batch(void *arg)
{
	struct end *e = arg;

	e->batches++;
	if (e->close_on_batch)
		udp_close(&e->sock);
	if (e->stop_on_batch)
		loop_stop(e->loop);
}

static void end_on_writable(void *arg)
{
	struct end *e = arg;

	e->writable++;
	if (e->stop_on_writable)
		loop_stop(e->loop);
}

static const struct udp_handler end_handler = { end_on_train, end_on_batch, end_on_writable };

static void end_too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void end_run(struct loop *l)
{
	struct loop_timer *guard = loop_timer_create(l, end_too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(l);
	loop_timer_destroy(guard);
}

static struct addr end_loopback(int family)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, family == 6 ? "::1" : "127.0.0.1", 1), 0);
	a.port = 0;
	return a;
}

static void end_prepare(struct end *e, struct loop *l, struct udp_slab *slab)
{
	memset(e, 0, offsetof(struct end, bytes));
	e->loop = l;
	e->slab = slab;
	e->awaited = 1;
}

static void end_open(struct end *e, struct loop *l, struct udp_slab *slab, int family, enum udp_offload most)
{
	struct addr local = end_loopback(family);

	end_prepare(e, l, slab);
	assert_int_equal(udp_open(&e->sock, l, slab, most, &local, &end_handler, e), 0);
	assert_int_not_equal(e->sock.local.port, 0);
}

/* Runs until the end has so many datagrams in all. */
static inline void end_await(struct end *e, size_t datagrams)
{
	e->awaited = datagrams;
	if (e->datagrams < datagrams)
		end_run(e->loop);
	assert_int_equal(e->datagrams, datagrams);
}

/* Bytes that tell their place. */
static inline void end_fill(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static struct end a, b; /* large */
static uint8_t buf[UDP_SLOT];

/* A sender and a receiver on a loop of their own, for one round of a test. */
struct pair {
	struct loop *loop;
	struct udp_slab *slab;
};

static inline struct pair pair_begin(int family, enum udp_offload from, enum udp_offload to)
{
	struct pair p = { loop_create(), udp_slab_create() };

	end_open(&a, p.loop, p.slab, family, from);
	end_open(&b, p.loop, p.slab, family, to);
	return p;
}

static inline void pair_end(struct pair *p)
{
	udp_close(&a.sock);
	udp_close(&b.sock);
	udp_slab_destroy(p->slab);
	loop_destroy(p->loop);
}

static inline struct udp_train train(size_t len, size_t stride)
{
	return (struct udp_train) { .data = buf, .len = len, .stride = stride, .addr = b.sock.local };
}

#endif
