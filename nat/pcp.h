/* Port Control Protocol (RFC 6887): MAP, and the ANNOUNCE by which a gateway tells that it has forgotten. IPv4 (a port
 * mapping) and IPv6 (a pinhole in the firewall, the same on the wire). Pure: embed by value; zeroed memory is idle.
 * The address to ask is the default gateway's, port PCP_PORT, and nobody else may answer. */
#ifndef P2PD_NAT_PCP_H
#define P2PD_NAT_PCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

enum {
	PCP_PORT = 5351,	  /* section 19.1 */
	PCP_ANNOUNCE_PORT = 5350, /* where clients hear unasked answers, section 14.1.1 */
	PCP_MAX = 1100,		  /* section 7 */
	PCP_NONCE = 12,		  /* section 11.1 */
	PCP_MAP_LEN = 60,	  /* header 24 and MAP 36, without options */
};
enum pcp_opcode { PCP_ANNOUNCE = 0, PCP_MAP = 1 };

/* Section 7.4. Those that the caller branches on. */
enum pcp_result {
	PCP_SUCCESS = 0,
	PCP_UNSUPP_VERSION = 1,
	PCP_NOT_AUTHORIZED = 2,
};

/* To map `client`, or with lifetime 0 to end that. */
struct pcp_map {
	struct addr client;    /* our address, and the port to be mapped (UDP) */
	struct addr suggested; /* ADDR_NONE: any address; its port 0: any port */
	uint32_t lifetime_s;
	uint8_t nonce[PCP_NONCE]; /* the same for the whole life of a mapping, else nobody may change it */
};

struct pcp_response {
	uint8_t opcode;	     /* enum pcp_opcode */
	uint8_t result;	     /* enum pcp_result */
	uint32_t lifetime_s; /* of an error: how long it is expected to last */
	uint32_t epoch_s;
	/* MAP only */
	uint8_t nonce[PCP_NONCE];
	uint16_t internal_port;
	struct addr external; /* ADDR_NONE without one */
};

void pcp_encode_map(const struct pcp_map *m, uint8_t out[static PCP_MAP_LEN]);
/* 0, or -EBADMSG for what is no response of version 2 or carries another opcode or protocol than ours. A response that
 * refuses the version itself has whatever length and opcode. */
int pcp_decode(struct pcp_response *out, const uint8_t *msg, size_t len);
/* "not authorized" and so on, for a person. */

/* Tells by the epochs of its answers whether the gateway lost its mappings (section 8.5). Zeroed: none seen yet. */
struct pcp_epoch {
	bool known;
	uint32_t server_s;
	uint64_t client_ms;
};
/* False if the mappings made before are gone. */
bool pcp_epoch_note(struct pcp_epoch *e, uint32_t epoch_s, uint64_t now_ms);

/* One MAP request and its retransmission, with 250 ms doubling (RFC 6886's; the 3 s of section 8.1.1 are for a client
 * that has all the time in the world). It never gives up: the caller does. */
enum pcp_client_state { PCP_IDLE, PCP_WAITING, PCP_DONE, PCP_FAILED };
struct pcp_client {
	enum pcp_client_state state;
	struct pcp_map map;
	uint64_t next_ms;
	uint32_t wait_ms;
	struct pcp_response response; /* once PCP_DONE or PCP_FAILED (the gateway refused) */
};

void pcp_client_start(struct pcp_client *c, const struct pcp_map *map, uint64_t now_ms);
/* The next due request into `out`; its length, or 0 when none is due. */
size_t pcp_client_next(struct pcp_client *c, uint64_t now_ms, uint8_t out[static PCP_MAP_LEN]);
uint64_t pcp_client_deadline(const struct pcp_client *c); /* UINT64_MAX when not waiting */
/* A datagram from the gateway, port PCP_PORT. True if it is the awaited answer (nonce and port); the state is then
 * PCP_DONE or PCP_FAILED. */
bool pcp_client_on_message(struct pcp_client *c, const uint8_t *msg, size_t len);

#endif
