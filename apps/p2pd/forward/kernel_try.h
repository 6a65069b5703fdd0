/* The kernel takes all entries or none: one that it refuses must not take the others down. From the entries that are in
 * effect to those that are wanted, leaving out the ids whose change it does not take. Pure but for `apply`. */
#ifndef P2PD_APPS_P2PD_FORWARD_KERNEL_TRY_H
#define P2PD_APPS_P2PD_FORWARD_KERNEL_TRY_H

#include "apps/p2pd/forward/forward_plan.h"

enum {
	KERNEL_TRY_WHY = 160,
	KERNEL_TRIES_MAX = 64, /* 10 to 50 ms each; who is left then is refused untried */
};

struct kernel_refused {
	uint8_t id[FORWARD_ID];
	char why[KERNEL_TRY_WHY];
};

struct kernel_try {
	/* Makes these entries so, all or none: 0; -EINVAL with `why`: it is something with them; or another negative errno. */
	int (*apply)(void *arg, const struct forward_entry *entries, size_t count,
		     char why[static KERNEL_TRY_WHY]);
	void *arg;
	/* What came of it: */
	struct forward_list in_effect; /* the caller's to free, as is `refused` */
	struct kernel_refused *refused;
	size_t refused_count;
	char why[KERNEL_TRY_WHY]; /* of an error */
};

/* `t` with apply and arg set, the rest zero. `now`: what is in effect; `wanted` may be empty afterwards. Entries of an id that
 * is refused are not in effect any more. 0; or a negative errno with t->why: then nobody is to blame, and t->in_effect is
 * what was taken so far, if anything was (else `now` still is). */
int kernel_try(struct kernel_try *t, const struct forward_list *now, struct forward_list *wanted);

#endif
