/* A hub's address as people hand it around: https://HOST[:PORT][/path][#sha256:PIN]. Pure. */
#ifndef P2PD_RELAY_HUB_URL_H
#define P2PD_RELAY_HUB_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/tls_key.h"

enum {
	HUB_URL_HOST_MAX = 253, /* RFC 1035 section 2.3.4 */
	HUB_URL_PATH_MAX = 127,
	HUB_URL_TEXT = 8 + 2 + HUB_URL_HOST_MAX + 6 + HUB_URL_PATH_MAX + 1 + TLS_PIN_TEXT,
};

struct hub_url {
	char host[HUB_URL_HOST_MAX + 1]; /* a name or a literal address, IPv6 without its brackets */
	uint16_t port;
	char path[HUB_URL_PATH_MAX + 1]; /* "" or "/..." without a slash at its end */
	bool pinned;
	uint8_t pin[TLS_PIN];
};

/* 0 or -EINVAL. */
int hub_url_parse(struct hub_url *out, const char *text);
/* The port is left out when it is 443. Returns `out`. */
const char *hub_url_format(const struct hub_url *u, char out[static HUB_URL_TEXT]);

#endif
