/* The token for reading the local API over loopback TCP (`p2pd portmap api-token`): one at a time, and only its hash is
 * kept, in the file api.token of the state folder. On the control socket:
 *   POST /api/v1/portmap/api-token -> 201 {"token": TEXT}, the old one is worth nothing from then on; DELETE takes it back.
 * A request has it as `Authorization: Bearer TOKEN` (relay/api_token.h). */
#ifndef P2PD_APPS_P2PD_FORWARD_READ_TOKEN_H
#define P2PD_APPS_P2PD_FORWARD_READ_TOKEN_H

#include "relay/api_token.h"

/* 0 once it is on disk; wipe the text when it was shown. Or a negative errno. */
int read_token_make(int dir, char text[static API_TOKEN_LEN + 1], struct rng *rng);
/* 0, also when there was none, or a negative errno. */
int read_token_remove(int dir);
/* Whether the value of an Authorization header (NULL: it has none) has the token; in constant time. */
bool read_token_fits(int dir, const char *authorization);

#endif
