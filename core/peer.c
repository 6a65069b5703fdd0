#include "core/peer.h"

#include "core/log.h"

struct path *peer_path_find(struct peer *p, const struct addr *addr, uint32_t socket)
{
	for (int i = 0; i < PEER_PATHS; i++) {
		struct path *path = &p->paths[i];
		if (path->addr.family && path->socket == socket && addr_equal(&path->addr, addr))
			return path;
	}
	return NULL;
}

/* Free slots first, then dead and unproven paths, the one pinged longest ago first. */
static uint64_t usefulness(const struct path *p, uint64_t now_ms)
{
	if (!p->addr.family)
		return 0;
	return (path_usable(p, now_ms) ? UINT64_MAX / 2 : 1) + p->last_ping_ms;
}

struct path *peer_path_get(struct peer *p, const struct addr *addr, uint32_t socket, uint64_t now_ms)
{
	struct path *found = peer_path_find(p, addr, socket), *victim = NULL;

	if (found)
		return found;
	for (int i = 0; i < PEER_PATHS; i++) {
		struct path *c = &p->paths[i];
		if (c != p->best && c != p->watched &&
		    (!victim || usefulness(c, now_ms) < usefulness(victim, now_ms)))
			victim = c;
	}
	if (path_usable(victim, now_ms))
		return NULL;
	path_init(victim, addr, socket);
	victim->wants_size = now_ms < p->wants_size_ms;
	return victim;
}

void peer_on_dead(struct peer *p, const struct path *path, uint64_t now_ms)
{
	if (path->wants_size)
		p->wants_size_ms = now_ms + PEER_WANTS_SIZE_MS;
}

bool peer_choose_path(struct peer *p, uint64_t now_ms)
{
	struct path *best = NULL, *before = p->best;
	char text[ADDR_TEXT_MAX];

	for (int i = 0; i < PEER_PATHS; i++) {
		struct path *c = &p->paths[i];
		if (path_usable(c, now_ms) && (!best || path_better(c, best, before, now_ms)))
			best = c;
	}
	p->best = best;
	if (best)
		p->watched = best;
	if (best == before)
		return false;
	if (best)
		log_info("path", "%s: direct by %s, %u ms", p->name, addr_format(&best->addr, text),
			 best->rtt_ms);
	else
		log_info("path", "%s: no direct path", p->name);
	return true;
}

bool peer_on_pong(struct peer *p, const struct addr *from, uint32_t socket,
		  const uint8_t txid[static PROBE_TXID], uint64_t now_ms)
{
	struct path *path = peer_path_find(p, from, socket);

	if (!path || !path_on_pong(path, txid, p->name, now_ms))
		return false;
	if (path->pmtu.good)
		p->wants_size_ms = 0;
	return true;
}

void peer_forget_socket(struct peer *p, uint32_t socket)
{
	for (int i = 0; i < PEER_PATHS; i++) {
		struct path *path = &p->paths[i];
		if (!path->addr.family || path->socket != socket)
			continue;
		p->best = p->best == path ? NULL : p->best;
		p->watched = p->watched == path ? NULL : p->watched;
		*path = (struct path) { 0 };
	}
}

void peer_stage(struct peer *p, struct pkt *pkt, struct pkt_pool *pool)
{
	if (p->staged.count >= PEER_STAGED) {
		pkt_put(pool, pkt_list_pop(&p->staged));
		p->staged_dropped++;
	}
	pkt_list_push(&p->staged, pkt);
}

void peer_distrust_paths(struct peer *p)
{
	p->wants_size_ms = 0;
	for (int i = 0; i < PEER_PATHS; i++)
		if (p->paths[i].addr.family)
			path_distrust(&p->paths[i], p->name);
}

uint64_t peer_paths_deadline(const struct peer *p, uint64_t now_ms)
{
	uint64_t ping = p->watched ? path_deadline(p->watched, p->last_tx_ms, now_ms) : UINT64_MAX;
	uint64_t stale = p->best ? p->best->last_pong_ms + PATH_TRUST_MS : UINT64_MAX;

	return ping < stale ? ping : stale;
}
