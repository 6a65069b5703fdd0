/* What a node signs to log in to a hub, and so what its login is worth elsewhere: nothing.
 *
 * As a rule a login is bound to the TLS session (RFC 8446 section 7.5): "p2pd1/hub" || exporter || netid || nonce. Whoever
 * stands in the middle has two sessions, so the node's login does not fit the one that he has with the hub, whatever
 * certificate he got hold of. That is also why a reverse proxy that ends TLS cannot pass a login on.
 *
 * Where the operator wants one nevertheless (`p2phub serve --behind-proxy URL`), the hub says so in its challenge, with
 * the URL by which nodes are to reach it, the front. Then the login is bound to that URL as the node itself was given
 * it, pin included: "p2pd1/hub-front" || BLAKE2b-256(URL) || netid || nonce. What holds, and why:
 * - The hub alone decides: one without a front takes no such login, one with a front no other. So nobody can talk a node's
 *   login to a hub down from the first form to the second.
 * - The node signs only its own URL, after TLS has shown that the other end is who that URL means (the pin, which is the
 *   proxy's then, or certificate authorities and the name). Another hub, or who lured it to another URL or pin, gets a
 *   signature over that one, which this hub does not take. A nonce makes it new each time.
 * - What is lost: who can be that front in TLS, the proxy itself above all or, without a pin, who gets a certificate for
 *   its name, can use a node's login for that one connection: then the node's place at the hub is his, as long as it
 *   lasts. He gets no more than a hub has: he can delay, drop and count. Tunnels are between nodes, as always.
 * A proxy that passes TLS on (nginx's `stream`) needs none of this. Pure. */
#ifndef P2PD_RELAY_LOGIN_H
#define P2PD_RELAY_LOGIN_H

#include <stddef.h>
#include <stdint.h>

#include "relay/hub_url.h"

enum { LOGIN_EXPORTER = 32, LOGIN_NONCE = 32, LOGIN_TEXT = 16 + 3 * 32 };

/* A front as both ends write it: hub_url_format() with the host in lower case. Returns `out`. */
const char *login_front(const struct hub_url *url, char out[static HUB_URL_TEXT]);
/* The text to sign; `front` "": bound to the TLS session. Its length. */
size_t login_text(uint8_t out[static LOGIN_TEXT], const uint8_t exporter[static LOGIN_EXPORTER],
		  const char *front, const uint8_t netid[static 32], const uint8_t nonce[static LOGIN_NONCE]);

#endif
