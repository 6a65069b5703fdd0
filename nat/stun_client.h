/* One Binding transaction over UDP with RFC 8489's retransmission (section 6.2.1: RTO 500 ms doubling, Rc = 7, Rm = 16;
 * the RTO may be lower once the RTT is known). Pure: embed by value; zeroed memory is idle. */
#ifndef P2PD_NAT_STUN_CLIENT_H
#define P2PD_NAT_STUN_CLIENT_H

#include "core/crypto.h"
#include "nat/stun.h"

enum stun_client_state { STUN_IDLE, STUN_WAITING, STUN_DONE, STUN_FAILED };

struct stun_client {
	enum stun_client_state state;
	struct addr server;
	uint8_t txid[STUN_TXID];
	uint64_t next_ms, sent_ms; /* the next request, or giving up, is due; the last request went out */
	uint32_t rto_ms;
	uint8_t sent;
	/* once STUN_DONE */
	struct addr mapped, other_address;
	uint32_t rtt_ms; /* 0 if unknown: after a retransmission the answer may be to an earlier request */
	/* once STUN_FAILED */
	uint16_t error_code; /* what the server answered; 0 for no answer, or one without sense */
};

/* `rto_ms` 0 for the default of 500. */
void stun_client_start(struct stun_client *c, const struct addr *server, uint32_t rto_ms, struct rng *rng,
		       uint64_t now_ms);
/* The next due request into `out`; its length, or 0 when none is due. Ends the transaction (STUN_FAILED) in time. */
size_t stun_client_next(struct stun_client *c, uint64_t now_ms, uint8_t out[static STUN_MAX]);
uint64_t stun_client_deadline(const struct stun_client *c); /* UINT64_MAX when not waiting */
/* True if the message is the awaited answer (transaction id and source); the state is then STUN_DONE or
 * STUN_FAILED. */
bool stun_client_on_message(struct stun_client *c, const uint8_t *msg, size_t len, const struct addr *from,
			    uint64_t now_ms);

#endif
