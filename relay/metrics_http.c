#include "relay/metrics_http.h"

#include <stdlib.h>

void metrics_http_answer(struct http_exchange *x, void (*write)(void *arg, struct metrics *m), void *arg)
{
	char *text = malloc(METRICS_TEXT_MAX);
	struct metrics m;

	if (!text) {
		http_answer_error(x, 503, "no_memory", "out of memory");
		return;
	}
	metrics_init(&m, text, METRICS_TEXT_MAX);
	write(arg, &m);
	if (m.full)
		http_answer_error(x, 500, "too_much", "the numbers do not fit into %d bytes",
				  METRICS_TEXT_MAX);
	else
		http_answer(x, 200, METRICS_TYPE, text, m.len);
	free(text);
}
