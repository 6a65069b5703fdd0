/* Extra UDP sockets: who uses which. The shell opens and closes them after this table (engine.h). */
#include "apps/p2pd/engine_internal.h"

enum {
	GENERATION = 1024,
	LINGER_MS = 2000,      /* of a path that is being probed */
	FORGOTTEN_MS = 190000, /* no router remembers a mapping that was idle for so long */
};

unsigned engine_sockets_free(const struct engine *e)
{
	unsigned limit = e->config.max_sockets < ENGINE_SOCKETS ? e->config.max_sockets : ENGINE_SOCKETS;

	return e->sockets_used < limit ? limit - e->sockets_used : 0;
}

uint32_t engine_socket_open(struct engine *e, const void *owner)
{
	if (!engine_sockets_free(e))
		return 0;
	for (unsigned i = 0; i < ENGINE_SOCKETS; i++) {
		if (e->sockets[i])
			continue;
		e->sockets[i] = ++e->socket_generation * GENERATION + i + 1;
		e->socket_owners[i] = owner;
		e->sockets_used++;
		return e->sockets[i];
	}
	return 0;
}

static unsigned slot_of(uint32_t id)
{
	return (id - 1) % GENERATION;
}

void engine_socket_close(struct engine *e, uint32_t id)
{
	if (!id || slot_of(id) >= ENGINE_SOCKETS || e->sockets[slot_of(id)] != id)
		return;
	e->sockets[slot_of(id)] = 0;
	e->sockets_used--;
	e->socket_owners[slot_of(id)] = NULL;
	e->sockets_changed = true;
}

/* ---- those of peers */

/* What was just probed may still answer, and what was just proven may be of use yet. */
static bool lingers(const struct path *path, uint64_t now_ms)
{
	return path_usable(path, now_ms) ||
	       (path->state == PATH_PROBING && now_ms - path->last_ping_ms < LINGER_MS);
}

static bool may_close(struct engine_peer *ep, uint32_t id, uint64_t now_ms)
{
	for (int i = 0; i < PEER_PATHS; i++) {
		const struct path *path = &ep->peer.paths[i];
		if (!path->addr.family || path->socket != id)
			continue;
		if (path == ep->peer.watched)
			return false;
		if (lingers(path, now_ms)) {
			ep->sweep_ms = now_ms + LINGER_MS;
			return false;
		}
	}
	return true;
}

/* Nothing may be sent by its id any more: that would open it again. */
static void close_of_peer(struct engine *e, struct engine_peer *ep, uint32_t id)
{
	peer_forget_socket(&ep->peer, id);
	if (ep->punch_socket == id) {
		punch_stop(&ep->punch);
		ep->punch_socket = 0;
	}
	engine_socket_close(e, id);
}

void engine_sockets_drop(struct engine *e, struct engine_peer *ep)
{
	for (unsigned i = 0; i < ENGINE_SOCKETS; i++)
		if (e->sockets[i] && e->socket_owners[i] == ep)
			close_of_peer(e, ep, e->sockets[i]);
}

void engine_sockets_sweep(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	if (engine_round_of(e, ep))
		return;
	ep->sweep_ms = 0;
	for (unsigned i = 0; i < ENGINE_SOCKETS; i++)
		if (e->sockets[i] && e->socket_owners[i] == ep && may_close(ep, e->sockets[i], now_ms))
			close_of_peer(e, ep, e->sockets[i]);
}

/* When the mapping of the path that was in use last is certainly gone. */
static uint64_t forgotten_ms(const struct engine_peer *ep)
{
	const struct path *path = ep->peer.watched;

	if (!path || !path->socket)
		return UINT64_MAX;
	return (ep->peer.last_tx_ms > path->heard_ms ? ep->peer.last_tx_ms : path->heard_ms) + FORGOTTEN_MS;
}

uint64_t engine_sockets_deadline(const struct engine *e, const struct engine_peer *ep)
{
	uint64_t due = ep->sweep_ms ? ep->sweep_ms : UINT64_MAX;

	return engine_round_of(e, ep) ? UINT64_MAX : engine_min(due, forgotten_ms(ep));
}

void engine_sockets_run(struct engine *e, struct engine_peer *ep, uint64_t now_ms)
{
	if (now_ms < engine_sockets_deadline(e, ep))
		return;
	if (now_ms >= forgotten_ms(ep)) {
		ep->peer.watched = NULL;
		peer_choose_path(&ep->peer, now_ms);
	}
	engine_sockets_sweep(e, ep, now_ms);
}
