/* How often the door may be come to and knocked at: by one source (core/sources.h: an IPv4 address, or a /64), by a network of
 * them (a /48, of which one who has it has 65,536 sources), and by all of IPv4 and all of IPv6. Bounded memory: of more than
 * it can hold, the rest count as one. Pure. */
#ifndef P2PD_APPS_P2PD_FORWARD_DOOR_LIMIT_H
#define P2PD_APPS_P2PD_FORWARD_DOOR_LIMIT_H

#include "core/addr.h"
#include "core/bucket.h"
#include "core/map.h"

enum {
	DOOR_KNOCKS_PER_S = 1, /* of a source: a person who reloads the page */
	DOOR_KNOCKS_BURST = 30,
	DOOR_WRONG_EVERY_S = 10, /* wrong tokens of a source: one in so long, */
	DOOR_WRONG_BURST = 20,	 /* after so many: several people may be behind one address */
	DOOR_NET_PER_S = 5,	 /* of a /48, which may be a mobile network's */
	DOOR_NET_BURST = 60,
	DOOR_ALL_PER_S = 50, /* of IPv4, and of IPv6 */
	DOOR_ALL_BURST = 200,
	DOOR_COMES_PER_S =
		5, /* TLS handshakes of a source, of a /48 and of all: a browser makes some for each page */
	DOOR_COMES_BURST = 100,
	DOOR_NET_COMES_PER_S = 20,
	DOOR_NET_COMES_BURST = 200,
	DOOR_ALL_COMES_PER_S = 100,
	DOOR_ALL_COMES_BURST = 400,
	DOOR_SOURCES_MAX = 8192,
	DOOR_TELL_MS = 60000, /* an audit line of a source that is turned away, at most so often */
};

struct door_limit {
	struct map sources;
	struct bucket all[2], all_comes[2]; /* IPv4, IPv6 */
	uint64_t swept_ms;
};

void door_limit_init(struct door_limit *l, struct rng *rng);
void door_limit_free(struct door_limit *l);
/* A connection, before anything is done for it. False: end it; *tell as below. */
bool door_limit_come(struct door_limit *l, const struct addr *who, uint64_t now_ms, bool *tell);
/* Somebody knocks. False: turn him away; *tell: it is time to say so in the audit. */
bool door_limit_knock(struct door_limit *l, const struct addr *who, uint64_t now_ms, bool *tell);
/* What he had was not good. */
void door_limit_wrong(struct door_limit *l, const struct addr *who, uint64_t now_ms);

#endif
