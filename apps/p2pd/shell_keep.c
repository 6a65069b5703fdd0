/* What outlives the daemon: the network, the clock's bound, the peers' timestamps, stock peers. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <string.h>

#include "core/fail.h"
#include "core/log.h"

enum { TIMESTAMPS_EVERY_MS = 5000 };

static int cannot_read(const char *what, int error)
{
	return fail_with(EXIT_FAILED, "cannot read %s in the state folder: %s", what,
			 error == -EBADMSG ? "it is damaged" : strerror(-error));
}

/* Everything but what the engine needs to be made. */
int shell_restore(struct shell *s)
{
	int dir = s->config.state->dir, ret = timestamps_load(&s->timestamps, dir);

	if (ret)
		return cannot_read("timestamps", ret);
	for (size_t i = 0; i < s->timestamps.count; i++)
		engine_restore_timestamp(s->engine, s->timestamps.items[i].wk, s->timestamps.items[i].ts);
	ret = wg_peers_load(&s->wg, dir);
	if (ret)
		return cannot_read("wg.json", ret);
	for (size_t i = 0; i < s->wg.count; i++) {
		ret = engine_add_wg(s->engine, &s->wg.items[i], shell_now(s));
		if (ret)
			log_warn("wg", "stock peer %s: %s", s->wg.items[i].name, strerror(-ret));
	}
	return 0;
}

void shell_keep_network(struct shell *s)
{
	struct state_network *n = &s->config.network;

	n->ip4_wish = s->engine->ip4;
	n->cert_not_before = s->engine->config.cert_not_before;
	n->port = s->port;
	int ret = state_save_network(s->config.state, n);
	if (ret)
		log_error("state",
			  "the network cannot be kept, the next start has to be told of it again: %s",
			  strerror(-ret));
}

/* Before a timestamp leaves the node. Without it a restart within a minute would send old ones, and peers that keep
 * track would not answer until the clock has passed the newest. */
void shell_keep_clock(struct shell *s)
{
	struct session_clock *clock = &s->engine->clock;
	int ret = state_reserve_clock(s->config.state, clock->last_ns);

	if (ret)
		log_error("state", "the clock cannot be kept: %s", strerror(-ret));
	/* Without a disk that can be written to it goes on all the same. */
	clock->kept_ns = ret ? clock->last_ns : s->config.state->reserved_ns;
}

void shell_expect_timestamp(struct shell *s, uint64_t now_ms)
{
	if (s->timestamps_due_ms == UINT64_MAX)
		s->timestamps_due_ms = now_ms + TIMESTAMPS_EVERY_MS;
}

void shell_keep_timestamps(struct shell *s)
{
	uint8_t ts[NOISE_TIMESTAMP_LEN];

	s->timestamps_due_ms = UINT64_MAX;
	s->engine->timestamps_changed = false;
	for (const struct engine_peer *ep = s->engine->peers; ep; ep = ep->next) {
		session_peer_timestamp(&ep->peer.session, ts);
		timestamps_note(&s->timestamps, ep->peer.wk, ts);
	}
	int ret = timestamps_save(&s->timestamps, s->config.state->dir);
	if (ret)
		log_error("state", "the peers' timestamps cannot be kept: %s", strerror(-ret));
}

int shell_keep_wg(void *arg, const struct engine_wg_peer *peer, bool added)
{
	struct shell *s = arg;
	int ret = added ? shell_route_wg(s, peer, true) : 0;

	if (!ret)
		ret = wg_peers_save(&s->wg, s->config.state->dir);
	if (ret || !added)
		shell_route_wg(s, peer, false);
	return ret;
}

void shell_close_keep(struct shell *s)
{
	if (s->engine)
		shell_keep_timestamps(s);
	if (s->forgets && state_forget_network(s->config.state))
		log_error("state", "the network's keys could not be removed from the state folder");
	timestamps_free(&s->timestamps);
	wg_peers_free(&s->wg);
}
