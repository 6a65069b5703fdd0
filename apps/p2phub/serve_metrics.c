/* GET /metrics, and who may read it. */
#include "apps/p2phub/serve_internal.h"

#include "apps/p2phub/hub_metrics.h"
#include "relay/metrics_http.h"

/* A reverse proxy on this machine asks for others, and says for whom, if it is set up as the README tells. */
bool serve_is_local(const struct serve *s, const struct http_exchange *x)
{
	const struct addr from = http_remote(x);
	const struct http_message *m = http_request(x);

	if (http_header(m, "X-Forwarded-For") || http_header(m, "Forwarded") || http_header(m, "X-Real-IP"))
		return false;
	return from.family == ADDR_NONE || (!s->behind_proxy && addr_is_loopback(&from));
}

static void write(void *arg, struct metrics *m)
{
	const struct serve *s = arg;

	hub_metrics_write(m, &(struct hub_metrics) { .coord = coord_stats(s->coord),
						     .relay = relay_server_stats(s->relay),
						     .frames = s->frames,
						     .http = http_server_stats(s->http) });
}

void serve_on_metrics(void *arg, struct http_exchange *x)
{
	struct serve *s = arg;

	if (s->metrics_public || s->may_read_metrics(s, x))
		metrics_http_answer(x, write, s);
	else
		http_answer_error(
			x, 403, "denied",
			"only this machine may read /metrics; p2phub serve --metrics-public lets all do so");
}
