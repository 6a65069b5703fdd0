/* Stock WireGuard peers (a phone, a router) set by hand: the list that the daemon keeps in wg.json of its state folder,
 * and its JSON, in the file as in the API:
 *   {"name": "phone", "key": BASE64, "psk": BASE64, "endpoint": "192.0.2.1:51820", "allowed_ips": ["10.77.200.2/32"],
 *    "keepalive": 25}        psk, endpoint and keepalive may be left out */
#ifndef P2PD_APPS_P2PD_WG_PEERS_H
#define P2PD_APPS_P2PD_WG_PEERS_H

#include <stdbool.h>
#include <stddef.h>

#include "apps/p2pd/engine.h"

enum { WG_PEERS_MAX = 256, WG_PEERS_WHY = 128 };

/* Zeroed memory is empty. */
struct wg_peers {
	struct engine_wg_peer *items;
	size_t count;
};

/* One peer from JSON of any origin. -EINVAL, and `why` says what is wrong in it. */
int wg_peers_parse(struct engine_wg_peer *out, const char *json, size_t len, char why[static WG_PEERS_WHY]);
/* All as {"schema": "p2pd.wg/1", "peers": [...]}, in memory to be freed; NULL without memory. `secrets` false: a PSK is
 * only told to be there ("psk": true). */
char *wg_peers_format(const struct wg_peers *l, bool secrets);

/* -ENOSPC beyond WG_PEERS_MAX, -ENOMEM. */
int wg_peers_add(struct wg_peers *l, const struct engine_wg_peer *peer);
int wg_peers_remove(struct wg_peers *l, const char *name); /* -ENOENT */
void wg_peers_free(struct wg_peers *l);

/* No file is an empty list; a damaged one is -EBADMSG. */
int wg_peers_load(struct wg_peers *l, int dir);
int wg_peers_save(const struct wg_peers *l, int dir);

#endif
