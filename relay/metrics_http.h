/* The answer to GET /metrics. */
#ifndef P2PD_RELAY_METRICS_HTTP_H
#define P2PD_RELAY_METRICS_HTTP_H

#include "relay/http.h"
#include "relay/metrics.h"

/* Answers with what `write` writes; 500 when that is over METRICS_TEXT_MAX. */
void metrics_http_answer(struct http_exchange *x, void (*write)(void *arg, struct metrics *m), void *arg);

#endif
