/* What the parts of coord share: coord.c (all that happens), coord_welcome.c, coord_list.c (what there is, to be read). */
#ifndef P2PD_RELAY_COORD_INTERNAL_H
#define P2PD_RELAY_COORD_INTERNAL_H

#include "core/bucket.h"
#include "core/map.h"
#include "relay/coord.h"
#include "relay/due.h"
#include "relay/pairs.h"
#include "relay/proto/link.pb-c.h"
#include "relay/roster.h"

enum { RTT_SAMPLES = 4 };

struct conn {
	uint64_t id;
	uint8_t exporter[COORD_EXPORTER], nonce[LOGIN_NONCE];
	struct member *member; /* NULL: not logged in, or replaced */
	bool closing;
	struct bucket messages;
	struct due login_due, ping_due, silent_due, news_due;
	uint64_t told;	/* of the changes of its network up to this one; the rest follows in order */
	uint64_t knows; /* all of that it was once told completely, records included */
	bool paused;
	uint64_t ping_t, ping_sent_ms; /* sent 0: none under way */
	uint32_t rtt_ms[RTT_SAMPLES];
	size_t rtt_count;
};

struct coord {
	struct coord_config config;
	struct map conns; /* id -> struct conn * */
	struct roster roster;
	struct coord_queue queue;
	struct due_list logins, pings, silent;
	struct due_list news; /* who has some to hear and is not paused: a queue */
	struct pairs pairs;   /* of members: introduced lately */
	uint64_t log_last_ms;
	struct coord_stats stats;
};

void coord_send(struct coord *c, struct conn *k, const Link__ToNode *msg);
void coord_send_welcome(struct coord *c, struct conn *k, uint64_t unix_s);

static inline ProtobufCBinaryData coord_bytes(const uint8_t *data, size_t len)
{
	return (ProtobufCBinaryData) { .data = (uint8_t *)(uintptr_t)data, .len = len };
}

#endif
