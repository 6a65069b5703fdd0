/* What discover's files share. */
#ifndef P2PD_NAT_DISCOVER_INTERNAL_H
#define P2PD_NAT_DISCOVER_INTERNAL_H

#include "nat/discover.h"

/* ---- discover.c */
bool discover_answered(const struct discover *d, unsigned ask);
/* None of `count` asks waits. */
bool discover_settled(const struct discover *d, unsigned first, size_t count);
/* Starts a Binding that is to be answered from where it was sent to. */
void discover_ask_plain(struct discover *d, unsigned ask, unsigned socket, const struct addr *to,
			struct rng *rng, uint64_t at_ms);
/* Of MAIN's endpoints: the first that answered; the one at `a`; one that answered at another address than `than`, else
 * at another port. NULL when there is none. */
const struct ask *discover_first_answer(const struct discover *d);
const struct ask *discover_find_endpoint(const struct discover *d, const struct addr *a);
const struct ask *discover_other_answer(const struct discover *d, const struct ask *than);

/* ---- discover_strangers.c: what meets packets from where a socket has not sent to */
void discover_start_strangers(struct discover *d, struct rng *rng, uint64_t now_ms);
/* What follows from the answers so far. Does nothing outside its phase. */
void discover_run_strangers(struct discover *d, struct rng *rng, uint64_t now_ms);
const struct discover_stranger *discover_clash_stranger(const struct discover *d);

/* ---- discover_judge.c */
/* Writes the result anew from all answers. */
void discover_judge(struct discover *d);

#endif
