#include "apps/p2pd/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/pinger.h"
#include "core/stream.h"
#include "relay/http.h"
#include "relay/metrics_http.h"

enum { PING_RUNS = 16 };

static const char json_type[] = "application/json";

/* One `p2pd ping` under way. */
struct ping_run {
	struct http_exchange *x; /* NULL: free */
	bool broken;		 /* the client reads no more; the server will tell that it is gone */
	char peer[PEER_NAME];
	struct pinger pinger;
};

struct api {
	struct http_server *http;
	struct stream_listener *listener;
	const struct requests_target *target;
	void (*settle)(void *arg);
	void *arg;
	struct ping_run runs[PING_RUNS];
	uint64_t last_id;
};

/* --- Requests with one answer */

static void send_answer(struct api *a, struct http_exchange *x, struct requests_answer answer)
{
	http_answer(x, answer.status, json_type, answer.body ? answer.body : "",
		    answer.body ? strlen(answer.body) : 0);
	free(answer.body);
	a->settle(a->arg);
}

static uint64_t unix_ns(const struct api *a, uint64_t now_ms)
{
	return now_ms * 1000000 + (uint64_t)a->target->engine->clock.wall_offset_ns;
}

static void on_status(void *arg, struct http_exchange *x)
{
	struct api *a = arg;
	uint64_t now = loop_now_ms();

	send_answer(a, x, requests_status(a->target, now, unix_ns(a, now)));
}

static void write_metrics(void *arg, struct metrics *m)
{
	requests_metrics(arg, m);
}

static void on_metrics(void *arg, struct http_exchange *x)
{
	struct api *a = arg;

	metrics_http_answer(x, write_metrics, (void *)a->target);
}

static void on_why(void *arg, struct http_exchange *x)
{
	struct api *a = arg;
	const struct http_message *m = http_request(x);
	uint64_t now = loop_now_ms();

	send_answer(a, x, requests_why(a->target, m->body, m->body_len, now, unix_ns(a, now)));
}

static void on_down(void *arg, struct http_exchange *x)
{
	struct api *a = arg;
	const struct http_message *m = http_request(x);

	send_answer(a, x, requests_down(a->target, m->body, m->body_len));
}

static void on_wg_list(void *arg, struct http_exchange *x)
{
	struct api *a = arg;

	send_answer(a, x, requests_wg_list(a->target));
}

static void on_wg_add(void *arg, struct http_exchange *x)
{
	struct api *a = arg;
	const struct http_message *m = http_request(x);

	send_answer(a, x, requests_wg_add(a->target, m->body, m->body_len, loop_now_ms()));
}

static void on_wg_remove(void *arg, struct http_exchange *x)
{
	struct api *a = arg;
	const struct http_message *m = http_request(x);

	send_answer(a, x, requests_wg_remove(a->target, m->body, m->body_len));
}

static void on_wg_key(void *arg, struct http_exchange *x)
{
	struct api *a = arg;

	send_answer(a, x, requests_wg_key(a->target));
}

static void on_portmap(void *arg, struct http_exchange *x)
{
	struct api *a = arg;

	if (!a->target->forward_api) {
		send_answer(a, x, requests_no_forward(a->target));
		return;
	}
	forward_api_handle(a->target->forward_api, x, false);
	a->settle(a->arg);
}

/* --- Pings */

static void on_gone(void *arg)
{
	struct ping_run *run = arg;

	*run = (struct ping_run) { 0 };
}

static struct ping_run *free_run(struct api *a)
{
	for (size_t i = 0; i < PING_RUNS; i++)
		if (!a->runs[i].x)
			return &a->runs[i];
	return NULL;
}

static void on_ping(void *arg, struct http_exchange *x)
{
	struct api *a = arg;
	const struct http_message *m = http_request(x);
	struct ping_run *run = free_run(a);
	struct requests_answer error;
	struct requests_ping ping;
	uint64_t now = loop_now_ms();

	if (!run) {
		send_answer(a, x, requests_error(503, EXIT_FAILED, "too many pings run already"));
		return;
	}
	if (!requests_ping(a->target, m->body, m->body_len, &ping, &error)) {
		send_answer(a, x, error);
		return;
	}
	*run = (struct ping_run) { .x = x };
	memcpy(run->peer, ping.peer, sizeof run->peer);
	pinger_start(&run->pinger, ping.count, ping.wait_ms, now);
	http_on_gone(x, on_gone, run);
	if (http_stream_begin(x, json_type))
		run->broken = true;
	api_tick(a, now);
	a->settle(a->arg);
}

/* Takes the line over. */
static void say(struct ping_run *run, char *line)
{
	if (!line || (run->x && http_stream_write(run->x, line, strlen(line))))
		run->broken = true;
	free(line);
}

static void tick_run(struct api *a, struct ping_run *run, uint64_t now_ms)
{
	struct engine *e = a->target->engine;

	while (run->x && !run->broken) {
		struct engine_peer *ep = engine_find_peer(e, run->peer);
		switch (pinger_next(&run->pinger, a->last_id + 1, now_ms)) {
		case PINGER_NOTHING: return;
		case PINGER_SEND:
			a->last_id++;
			if (ep)
				engine_ping(e, ep, run->pinger.id, now_ms);
			break;
		case PINGER_TIMEOUT: say(run, requests_timeout_line(ep)); break;
		case PINGER_OVER: http_stream_end(run->x); *run = (struct ping_run) { 0 };
		}
	}
}

void api_tick(struct api *a, uint64_t now_ms)
{
	for (size_t i = 0; i < PING_RUNS; i++)
		tick_run(a, &a->runs[i], now_ms);
}

uint64_t api_deadline(const struct api *a)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < PING_RUNS; i++) {
		const struct ping_run *run = &a->runs[i];
		uint64_t due = run->x && !run->broken ? pinger_deadline(&run->pinger) : UINT64_MAX;
		least = due < least ? due : least;
	}
	return least;
}

static const struct engine_peer *peer_of(const struct api *a, const struct engine_event *pong)
{
	const struct engine_peer *ep = a->target->engine->peers;

	while (ep && memcmp(ep->ik, pong->ik, sizeof ep->ik))
		ep = ep->next;
	return ep;
}

void api_on_pong(struct api *a, const struct engine_event *pong, uint64_t now_ms)
{
	const struct engine_peer *ep = peer_of(a, pong);

	for (size_t i = 0; i < PING_RUNS && ep; i++) {
		struct ping_run *run = &a->runs[i];
		if (run->x && pinger_on_pong(&run->pinger, pong->id, pong->way == ENGINE_WAY_DIRECT, now_ms))
			say(run, requests_pong_line(ep, pong));
	}
	api_tick(a, now_ms); /* the last pong ends the run */
}

/* --- Life */

static const struct http_route routes[] = {
	{ "GET", "/v1/status", on_status }, { "POST", "/v1/ping", on_ping },
	{ "POST", "/v1/down", on_down },    { "GET", "/v1/wg", on_wg_list },
	{ "POST", "/v1/wg", on_wg_add },    { "DELETE", "/v1/wg", on_wg_remove },
	{ "GET", "/v1/wg/key", on_wg_key }, { "POST", "/v1/why", on_why },
	{ "GET", "/metrics", on_metrics },  { "*", FORWARD_API_PATH, on_portmap },
};

int api_start(struct api **out, struct loop *l, const char *path, const struct requests_target *target,
	      void (*settle)(void *arg), void *arg)
{
	struct api *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	*a = (struct api) { .target = target, .settle = settle, .arg = arg };
	a->http = http_server_create(l, routes, sizeof routes / sizeof *routes, a);
	if (a->http)
		http_server_set_body_max(a->http, FORWARD_API_BODY_MAX);
	int ret = a->http ? stream_listen_unix(&a->listener, l, path, http_server_accept, a->http) : -ENOMEM;
	if (!ret) {
		*out = a;
		return 0;
	}
	http_server_destroy(a->http);
	free(a);
	return ret;
}

void api_stop(struct api *a)
{
	if (!a)
		return;
	stream_listener_close(a->listener);
	http_server_destroy(a->http);
	free(a);
}
