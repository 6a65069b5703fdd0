/* A node's link to its hub: TLS, then GET path/link upgraded to WebSocket, then messages (relay/proto/link.proto) both
 * ways. A lost link comes back by itself.
 *
 * Timers: connecting as in core/stream.h; 10 s for the upgrade; a link over which nothing came for 50 s is lost (the hub
 * pings every 24 s), after a kick for 1.5 s. Waiting to connect again: 100-500 ms after a link that lasted 30 s was lost,
 * else at random up to 1 s, 2 s, 4 s ... 30 s; longer when the hub asked for it (hub_link_spread()). */
#ifndef P2PD_RELAY_HUB_LINK_H
#define P2PD_RELAY_HUB_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/crypto.h"
#include "core/loop.h"
#include "core/proxy.h"
#include "relay/hub_url.h"

enum {
	HUB_LINK_UPGRADE_MS = 10000,
	HUB_LINK_SILENT_MS = 50000,
	HUB_LINK_KICKED_MS = 1500,
	HUB_LINK_DATA_MAX = 262144,  /* queued; then more data is refused, */
	HUB_LINK_QUEUE_MAX = 524288, /* while control still has room */
	HUB_LINK_TEXT = 256,
	HUB_LINK_SPREAD_MAX_MS = 60000,
};
enum hub_link_state { HUB_LINK_WAITING, HUB_LINK_CONNECTING, HUB_LINK_UP };

struct hub_link_handler {
	/* `exporter` are the 32 bytes of tls_exporter(); `remote` is where the hub is: where the link goes to, but with a
	 * proxy ADDR_NONE unless the URL names an address. */
	void (*on_up)(void *arg, const uint8_t *exporter, const struct addr *remote);
	void (*on_message)(void *arg, const uint8_t *msg, size_t len);
	/* The link was lost, or an attempt failed. `error`: a negative errno as in core/stream.h, 0 when the hub closed
	 * it, -EBADMSG when what answers is no hub, -EACCES when the proxy wants (other) credentials, -ECONNABORTED when it
	 * does not connect us. `text`: one line for a person. */
	void (*on_down)(void *arg, int error, const char *text);
};

struct hub_link; /* opaque */

/* Starts connecting. The callbacks come from the loop only and may call any function here. 0, -ENOMEM, or -ENOENT: no
 * pin, and no certificate authorities on this machine. */
int hub_link_create(struct hub_link **out, struct loop *l, const struct hub_url *url, struct rng *rng,
		    const struct hub_link_handler *handler, void *arg);
/* From the next connection on through this proxy, NULL: without; copied. TLS stays between us and the hub. 0 or -ENOMEM. */
int hub_link_use_proxy(struct hub_link *k, const struct proxy *proxy);
/* No callback comes any more. NULL is allowed. */
void hub_link_destroy(struct hub_link *k);
/* 0, -ENOTCONN (not up), -EMSGSIZE, -ENOBUFS; after an error on_down may follow. */
int hub_link_send(struct hub_link *k, const void *msg, size_t len);
/* The same for what may be lost. -ENOBUFS: too much is queued, and the link goes on. */
int hub_link_send_data(struct hub_link *k, const void *msg, size_t len);
/* The network changed: connects at once; a link that is up has to prove that it still works. */
void hub_link_kick(struct hub_link *k);
/* The link cannot work any more: says so by on_down and connects anew at once. */
void hub_link_renew(struct hub_link *k);
/* Our end of the connection; ADDR_NONE while there is none. */
struct addr hub_link_local(const struct hub_link *k);
enum hub_link_state hub_link_state(const struct hub_link *k);
/* What on_down told last; 0 and "" before, and since the link is up. */
int hub_link_error(const struct hub_link *k, const char **text);
/* The hub's wish (Ping.spread_ms), until the next one: a link that it ends, or that it cannot take, is made anew at a time
 * at random within this, so that a hub with many nodes is not stormed when it was started anew. At most
 * HUB_LINK_SPREAD_MAX_MS. A kick does not wait. */
void hub_link_spread(struct hub_link *k, uint32_t spread_ms);
/* Milliseconds to wait before the next attempt, when links have been down for `outage_ms`. Pure. */
uint32_t hub_link_backoff(uint64_t outage_ms, uint32_t spread_ms, struct rng *rng);

#endif
