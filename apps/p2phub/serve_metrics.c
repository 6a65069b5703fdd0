/* GET /metrics, and who may read it. */
#include "apps/p2phub/serve_internal.h"

#include "apps/p2phub/hub_metrics.h"
#include "relay/metrics_http.h"
#include "relay/rest.h"

/* The request comes from this machine, and for nobody else. A reverse proxy on this machine asks for others, and says for
 * whom, if it is set up as the README tells. */
static bool is_local(const struct serve *s, const struct http_exchange *x)
{
	const struct addr from = http_remote(x);
	const struct http_message *m = http_request(x);

	if (http_header(m, "X-Forwarded-For") || http_header(m, "Forwarded") || http_header(m, "X-Real-IP"))
		return false;
	return from.family == ADDR_NONE || (!s->behind_proxy && addr_is_loopback(&from));
}

static void write_relay_only(void *arg, struct metrics *m)
{
	const struct serve *s = arg;
	const struct relay_stats relay = relay_server_stats(s->relay);

	hub_metrics_write_relay(m, &relay, &s->stun);
}

static void write(void *arg, struct metrics *m)
{
	const struct serve *s = arg;

	hub_metrics_write(m, &(struct hub_metrics) { .coord = coord_stats(s->coord),
						     .relay = relay_server_stats(s->relay),
						     .frames = s->frames,
						     .tls = stream_listener_stats(s->listener),
						     .http = http_server_stats(s->http),
						     .stun = &s->stun,
						     .store = s->store });
}

void serve_on_metrics(void *arg, struct http_exchange *x)
{
	static const struct rest_route route = { .method = "GET", .path = "/metrics", .scope = REST_READ };
	struct serve *s = arg;

	if (s->metrics_public || is_local(s, x))
		metrics_http_answer(x, write, s);
	else if (!s->api || !http_header(http_request(x), "Authorization"))
		http_answer_error(
			x, 403, "denied",
			"only this machine may read /metrics, and who shows a token of `p2phub apikey "
			"create --scope read`; p2phub serve --metrics-public lets all do so");
	else if (serve_api_admits(s, x, &route))
		metrics_http_answer(x, write, s);
}

int serve_open_metrics(struct serve *s, const struct serve_config *config, struct addr *at)
{
	if (config->metrics.family == ADDR_NONE)
		return 0;
	*at = config->metrics;
	return metrics_door_open(&s->metrics, s->loop, at, s->coord ? write : write_relay_only, s);
}
