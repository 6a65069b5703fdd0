/* Timers that all have the same delay: a list in which the next one due is always the first, so that arming, ending
 * and asking cost the same for ten of them and for ten thousand. Embed `struct due` in what it is for. */
#ifndef P2PD_RELAY_DUE_H
#define P2PD_RELAY_DUE_H

#include <stddef.h>
#include <stdint.h>

struct due {
	struct due *prev, *next;
	uint64_t at_ms; /* 0: not armed */
};

struct due_list {
	struct due *first, *last;
	uint32_t delay_ms; /* > 0 */
};

/* Due at now + delay, whether it was armed or not. */
void due_arm(struct due_list *l, struct due *d, uint64_t now_ms);
void due_end(struct due_list *l, struct due *d);
/* Ends and returns the first one whose time has come, or NULL. */
struct due *due_take(struct due_list *l, uint64_t now_ms);
/* UINT64_MAX when none is armed. */
uint64_t due_next(const struct due_list *l);

/* The struct around a `struct due`. */
#define DUE_OWNER(d, type, member) ((type *)(void *)((char *)(d)-offsetof(type, member)))

#endif
