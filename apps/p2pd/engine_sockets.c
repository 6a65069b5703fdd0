/* Extra UDP sockets: who uses which. The shell opens and closes them after this table (engine.h). */
#include "apps/p2pd/engine_internal.h"

enum { GENERATION = 1024 };

static unsigned in_use(const struct engine *e)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ENGINE_SOCKETS; i++)
		n += e->sockets[i] != 0;
	return n;
}

unsigned engine_sockets_free(const struct engine *e)
{
	unsigned limit = e->config.max_sockets < ENGINE_SOCKETS ? e->config.max_sockets : ENGINE_SOCKETS;
	unsigned used = in_use(e);

	return used < limit ? limit - used : 0;
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
	e->socket_owners[slot_of(id)] = NULL;
	e->sockets_changed = true;
}

static bool carries_path(const struct engine_peer *ep, uint32_t id)
{
	for (int i = 0; i < PEER_PATHS; i++) {
		const struct path *path = &ep->peer.paths[i];
		if (path->addr.family && path->socket == id &&
		    (path->state == PATH_UP || path->state == PATH_PROBING))
			return true;
	}
	return false;
}

void engine_sockets_sweep(struct engine *e, const struct engine_peer *ep, bool all)
{
	for (unsigned i = 0; i < ENGINE_SOCKETS; i++)
		if (e->sockets[i] && e->socket_owners[i] == ep && (all || !carries_path(ep, e->sockets[i])))
			engine_socket_close(e, e->sockets[i]);
}
