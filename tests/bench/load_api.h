/* Asks the hub's HTTP API all the time, on a thread and loop of its own, and keeps how long each answer took: by one
 * connection that stays, and by a new connection each time (with its TCP and TLS handshakes). */
#ifndef P2PD_TESTS_LOAD_API_H
#define P2PD_TESTS_LOAD_API_H

#include <stdbool.h>

#include "relay/hub_url.h"
#include "tests/bench/load_samples.h"

enum { LOAD_API_KEPT_MS = 50, LOAD_API_FRESH_MS = 100, LOAD_API_PATIENCE_MS = 10000 };

/* Starts the thread; there is one. `path` is asked. */
void load_api_start(const struct hub_url *url, const char *path);
/* Asks no more, or again. */
void load_api_pause(bool pause);
/* What was measured since the last call: the caller's to free (->ms). */
void load_api_take(struct samples *kept, struct samples *fresh, unsigned *failed);

#endif
