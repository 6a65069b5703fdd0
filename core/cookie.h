/* WireGuard's MACs and cookies (paper sections 5.4.4, 5.4.7): what keeps an unauthenticated sender from making us
 * compute. Both sides: `cookie_checker` guards our socket, `cookie_jar` holds what one peer gave us. Pure. */
#ifndef P2PD_CORE_COOKIE_H
#define P2PD_CORE_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/bucket.h"
#include "core/crypto.h"
#include "core/noise.h"

enum {
	COOKIE_SECRET_MS = 120000, /* paper section 5.4.7: R_m changes every two minutes */
	COOKIE_USE_MS = 115000,	   /* the sender stops 5 s earlier, as Linux does */
	COOKIE_RATE_PER_S = 20,	   /* handshakes of one source under load, Linux ratelimiter.c */
	COOKIE_BURST = 5,
	COOKIE_FULL_AFTER_MS = COOKIE_BURST * 1000 / COOKIE_RATE_PER_S,
	COOKIE_WAYS = 4,
	COOKIE_BUCKETS =
		512, /* sources that may spend at one time; unused for 250 ms, a bucket is free again */
};

/* The allowance of one source: an IPv4 address, an IPv6 /64. */
struct cookie_bucket {
	uint8_t prefix[8];
	struct bucket bucket;
};

/* Zeroed but for its keys by cookie_checker_init. */
struct cookie_checker {
	uint8_t mac1_key[32], cookie_key[32], secret[32];
	uint64_t secret_born_ms;
	bool has_secret;
	struct cookie_bucket buckets[COOKIE_BUCKETS];
};

struct cookie_jar {
	uint8_t mac1_key[32], cookie_key[32]; /* of the peer's public key */
	uint8_t cookie[16], last_mac1[16];
	uint64_t cookie_born_ms;
	bool has_cookie, mac1_sent;
};

enum cookie_verdict { COOKIE_ACCEPT, COOKIE_REPLY, COOKIE_DROP };

void cookie_checker_init(struct cookie_checker *c, const uint8_t our_pk[static 32]);
/* A message of type 1 or 2 of exactly its length; anything else is COOKIE_DROP. COOKIE_REPLY: `reply` has been filled,
 * send it back to `from`. */
enum cookie_verdict cookie_check(struct cookie_checker *c, const uint8_t *msg, size_t len,
				 const struct addr *from, bool under_load, uint64_t now_ms, struct rng *rng,
				 uint8_t reply[static WG_COOKIE_LEN]);

void cookie_jar_init(struct cookie_jar *j, const uint8_t peer_pk[static 32]);
/* Writes mac1 and, with a cookie younger than 115 s, mac2 into a message that is otherwise complete. */
void cookie_stamp(struct cookie_jar *j, uint8_t *msg, size_t len, uint64_t now_ms);
/* A cookie reply. 0 or -EBADMSG. One cookie per mac1 sent. */
int cookie_open(struct cookie_jar *j, const uint8_t msg[static WG_COOKIE_LEN], uint64_t now_ms);

#endif
