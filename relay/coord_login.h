/* Whether a node may log in to a hub. Pure. */
#ifndef P2PD_RELAY_COORD_LOGIN_H
#define P2PD_RELAY_COORD_LOGIN_H

#include <stdint.h>

struct Link__Login;

enum { COORD_LINK_VERSION = 1, COORD_NONCE = 32, COORD_EXPORTER = 32 };

/* `exporter` and `nonce` of the connection that it came by. 0 (REFUSED_UNSPECIFIED): let in; else the
 * Link__RefusedReason. Only who holds the identity key learns that the pass has expired. */
int coord_login_check(const struct Link__Login *l, const uint8_t exporter[static COORD_EXPORTER],
		      const uint8_t nonce[static COORD_NONCE], uint64_t unix_s);

#endif
