/* Nodes' links: WebSocket connections whose messages coord gets and makes. */
#include "apps/p2phub/serve_internal.h"

#include <stdlib.h>

static uint64_t link_id(const struct link *k)
{
	return (uint64_t)(uintptr_t)k;
}

static void link_forget(struct link *k)
{
	*k->at = k->next;
	if (k->next)
		k->next->at = k->at;
	serve_relay_forget(k);
	coord_on_close(k->serve->coord, link_id(k), loop_now_ms());
	free(k);
}

static void link_close(struct link *k, enum websocket_code code)
{
	websocket_server_close(k->ws, code);
	link_forget(k);
}

/* Until coord is silent: closing a link can give it more to say. */
void serve_speak(struct serve *s)
{
	struct coord_out out;

	while (coord_next(s->coord, &out)) {
		struct link *k = (struct link *)(uintptr_t)out.conn;
		int rc = out.msg ? websocket_server_send(k->ws, out.msg, out.len) : 0;
		free(out.msg);
		if (websocket_server_queued(k->ws) > SERVE_BACKLOG)
			coord_pause(s->coord, link_id(k));
		if (out.close || rc)
			link_close(k, rc ? WEBSOCKET_GOING_AWAY : WEBSOCKET_POLICY);
	}
	loop_timer_set(s->timer, coord_deadline(s->coord));
	serve_store_soon(s);
}

static void on_link_message(void *arg, const uint8_t *msg, size_t len)
{
	struct link *k = arg;
	struct serve *s = k->serve;

	if (serve_relay_from_link(k, msg, len))
		return;
	coord_on_message(s->coord, link_id(k), msg, len, loop_now_ms(), serve_unix_s(s));
	serve_speak(s);
}

static void on_link_drained(void *arg)
{
	struct link *k = arg;
	struct serve *s = k->serve;

	serve_relay_drain(k);
	coord_resume(s->coord, link_id(k));
	serve_speak(s);
}

static void on_link_close(void *arg)
{
	struct link *k = arg;
	struct serve *s = k->serve;

	link_forget(k);
	serve_speak(s);
}

void serve_on_link(void *arg, struct http_exchange *x)
{
	static const struct websocket_server_handler handler = { on_link_message, on_link_close,
								 on_link_drained };
	struct serve *s = arg;
	struct link *k = calloc(1, sizeof *k);

	if (!k) {
		http_answer_error(x, 503, "no_memory", "out of memory");
		return;
	}
	if (!websocket_server_accept(&k->ws, x, s->loop, &s->rng, &handler, k)) {
		free(k);
		return;
	}
	if (coord_on_open(s->coord, link_id(k), websocket_server_exporter(k->ws), loop_now_ms()) != 0) {
		websocket_server_close(k->ws, WEBSOCKET_GOING_AWAY);
		free(k);
		return;
	}
	k->serve = s;
	k->next = s->links;
	k->at = &s->links;
	if (k->next)
		k->next->at = &k->next;
	s->links = k;
	serve_speak(s);
}

void serve_close_links(struct serve *s)
{
	while (s->links)
		link_close(s->links, WEBSOCKET_GOING_AWAY);
}
