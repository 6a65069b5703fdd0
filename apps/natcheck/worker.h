/* Runs what blocks (name look-ups, tracing, port mapping) beside the check, on a thread of its own that nobody need
 * wait for. */
#ifndef P2PD_APPS_NATCHECK_WORKER_H
#define P2PD_APPS_NATCHECK_WORKER_H

#include <stdbool.h>
#include <stddef.h>

struct worker;

/* Runs `work` over a copy of the `len` bytes at `arg`. NULL without memory or thread. */
struct worker *worker_start(void (*work)(void *arg), const void *arg, size_t len);
/* True once it has ended; what it made of its copy is then in `arg`. False for NULL. */
bool worker_collect(struct worker *w, void *arg);
/* Lets go of it, whether it has ended or not. NULL is allowed. */
void worker_release(struct worker *w);

#endif
