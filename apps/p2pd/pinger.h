/* One run of pings to a peer, as `p2pd ping` asks for it: one at a time, the next after an answer or a timeout. Every
 * 200 ms until one came directly, then once a second. Pure: embed by value; zeroed memory is over. */
#ifndef P2PD_APPS_P2PD_PINGER_H
#define P2PD_APPS_P2PD_PINGER_H

#include <stdbool.h>
#include <stdint.h>

enum { PINGER_SEARCH_MS = 200, PINGER_STEADY_MS = 1000 };
enum pinger_due { PINGER_NOTHING, PINGER_SEND, PINGER_TIMEOUT, PINGER_OVER };

struct pinger {
	uint64_t id;	      /* of the ping under way; each ping has its own */
	uint32_t sent, count; /* count 0: without end */
	uint32_t wait_ms;
	bool waiting, direct;
	uint64_t sent_ms, next_ms;
};

void pinger_start(struct pinger *p, uint32_t count, uint32_t wait_ms, uint64_t now_ms);
/* What is to be done now. After PINGER_SEND the caller sends a ping with p->id; `fresh_id` becomes it. */
enum pinger_due pinger_next(struct pinger *p, uint64_t fresh_id, uint64_t now_ms);
/* True if the pong is the one waited for. */
bool pinger_on_pong(struct pinger *p, uint64_t id, bool direct, uint64_t now_ms);
uint64_t pinger_deadline(const struct pinger *p);

#endif
