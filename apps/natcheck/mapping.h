/* One protocol of port mapping, tried for real (report 7 of the traversal notes): the gateway is asked to map the port of
 * a socket that has sent nothing, the server to answer to the mapped port (RESPONSE-PORT), and the gateway to end it. */
#ifndef P2PD_APPS_NATCHECK_MAPPING_H
#define P2PD_APPS_NATCHECK_MAPPING_H

#include "apps/natcheck/check.h"
#include "apps/natcheck/query.h"
#include "core/crypto.h"

enum {
	MAPPING_LEASE_S = 120, /* if all else fails it ends by itself */
	MAPPING_ASK_MS = 2000,
	MAPPING_END_MS = 1000,
};

enum mapping_state {
	MAPPING_IDLE,
	MAPPING_ASKING,
	MAPPING_MADE,
	MAPPING_TESTING,
	MAPPING_ENDING,
	MAPPING_OVER
};

struct mapping_config {
	enum gateway_protocol protocol;
	struct lan lan;
	uint16_t port; /* of the socket */
	unsigned socket,
		asking; /* the caller's numbers: of that socket, and of the one to send the request from */
	uint32_t rto_ms;
};

struct worker;
struct mapping {
	enum mapping_state state;
	struct mapping_config config;
	struct worker *worker;
	struct query inbound;
	struct addr external;
};

void mapping_start(struct mapping *m, const struct mapping_config *config, struct rng *rng, uint64_t now_ms);
/* After each turn. `server` ADDR_NONE: none has answered yet; `asker` is how it saw the asking socket. */
void mapping_go_on(struct mapping *m, struct check_map *out, const struct addr *server,
		   const struct addr *asker, struct rng *rng, uint64_t now_ms);
/* No more tests: what was mapped is ended. */
void mapping_cut(struct mapping *m, uint64_t now_ms);
bool mapping_is_over(const struct mapping *m);
void mapping_free(struct mapping *m);

#endif
