/* For the tests of carry: an owner's end of a TCP rule. */
#ifndef P2PD_TESTS_UNIT_CARRY_END_H
#define P2PD_TESTS_UNIT_CARRY_END_H

#include "carry_world.h"

enum { ID = 7 };

/* An owner's end, at which `from` are the visitors' own addresses or, with a header, the gateway's. */
struct end {
	struct world w;
	int service;
	struct forward_entry e;
};

static inline void end_begin(struct end *n)
{
	struct addr target;

	world_begin(&n->w);
	n->service = service_at("127.0.0.1", &target);
	n->e = entry(ID, FORWARD_TCP, free_at("127.0.0.1", SOCK_STREAM), target);
	apply(&n->w, &n->e, 1);
}

static inline void end_close(struct end *n)
{
	close(n->service);
	world_end(&n->w);
}

static inline int come(struct end *n, const char *from)
{
	return visit_from(from, SOCK_STREAM, &n->e.listen);
}

static inline void expect_carried(struct end *n, int visitor, int served)
{
	send_text(visitor, "in");
	expect_text(&n->w, served, "in");
	send_text(served, "out");
	expect_text(&n->w, visitor, "out");
}

static inline void allow(struct end *n, const char *prefix, uint8_t bits)
{
	n->e.restricted = true;
	n->e.allow[n->e.allow_count++] = (struct forward_prefix) { at(prefix, 0), bits };
}

static inline bool counted_out(void *arg)
{
	int *turns = arg;

	return --*turns == 0;
}

#endif
