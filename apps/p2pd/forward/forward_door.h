/* `--api ADDR:PORT`: the local API of port forwarding on loopback, to read only, for who has the token (read_token.h). Against
 * web pages that make a browser ask (DNS rebinding): the Host must be a literal address or localhost, and there is no
 * Origin. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARD_DOOR_H
#define P2PD_APPS_P2PD_FORWARD_FORWARD_DOOR_H

#include "apps/p2pd/forward/forward_api.h"

struct forward_door; /* opaque */

/* All must stay. 0, or a negative errno as of stream_listen(); -EINVAL: not a loopback address. */
int forward_door_open(struct forward_door **out, struct loop *l, const struct addr *at, struct forwarder *f,
		      struct forward_api *api);
void forward_door_close(struct forward_door *d); /* NULL is allowed */

#endif
