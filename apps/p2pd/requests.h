/* What a person may ask of the running node, as JSON in and out; `api` carries it over the socket. No I/O of its own:
 * what reaches beyond the engine is handed back through the target's functions. */
#ifndef P2PD_APPS_P2PD_REQUESTS_H
#define P2PD_APPS_P2PD_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/p2pd/engine.h"
#include "apps/p2pd/forward/forward_api.h"
#include "apps/p2pd/node_metrics.h"
#include "apps/p2pd/wg_peers.h"
#include "core/fail.h"

enum { REQUESTS_PING_MAX = 1000000, REQUESTS_WAIT_MAX_MS = 60000 };

/* The node that is asked. */
struct requests_target {
	struct engine *engine;
	struct wg_peers *wg;
	struct forwarder *forwarder;	 /* NULL: not started yet, or off */
	struct forward_api *forward_api; /* the same */
	const char *forward_off;	 /* why it is off; NULL: it is not */
	const char *hub_url, *hub_proxy, *tun;
	unsigned workers;
	const char *(*offload)(void *arg); /* the rung in use: rung.h */
	/* A stock peer came (or goes): keep the list, set its routes. 0 or a negative errno. */
	int (*wg_changed)(void *arg, const struct engine_wg_peer *peer, bool added);
	/* End, after the answer; `forget`: and leave the network. */
	void (*down)(void *arg, bool forget);
	void *arg;
};

/* An HTTP status and a JSON body to be freed (NULL without memory). An error is {"error": {"code": WORD, "message":
 * TEXT}}: the exit code for it (fail_word), and what to tell the person. */
struct requests_answer {
	int status;
	char *body;
};

struct requests_answer requests_status(const struct requests_target *t, uint64_t now_ms, uint64_t unix_ns);
void requests_metrics(const struct requests_target *t, struct metrics *m);
/* {"peer": NAME or ADDRESS}; see why.h. */
struct requests_answer requests_why(const struct requests_target *t, const char *body, size_t len,
				    uint64_t now_ms, uint64_t unix_ns);
/* {"forget": bool}, which may be left out; answers {"pid": N}: the daemon has ended when that process has. */
struct requests_answer requests_down(const struct requests_target *t, const char *body, size_t len);
struct requests_answer requests_wg_list(const struct requests_target *t);
/* See wg_peers.h. */
struct requests_answer requests_wg_add(const struct requests_target *t, const char *body, size_t len,
				       uint64_t now_ms);
/* {"name": TEXT} */
struct requests_answer requests_wg_remove(const struct requests_target *t, const char *body, size_t len);
struct requests_answer requests_wg_key(const struct requests_target *t);

/* {"peer": NAME or ADDRESS, "count": N, "wait_ms": N}; count 0 or none: without end. */
struct requests_ping {
	char peer[PEER_NAME]; /* the name that it goes by */
	uint32_t count, wait_ms;
};
/* True and *out, or false and *error. */
bool requests_ping(const struct requests_target *t, const char *body, size_t len, struct requests_ping *out,
		   struct requests_answer *error);
/* The lines of a ping's answer, each ended by a line feed; to be freed. */
char *requests_pong_line(const struct engine_peer *ep, const struct engine_event *pong);
char *requests_timeout_line(const struct engine_peer *ep); /* NULL: the peer is gone */

/* What to answer without a forward_api. */
struct requests_answer requests_no_forward(const struct requests_target *t);
struct requests_answer requests_error(int status, enum exit_code code, const char *text);

#endif
