/* STUN codec (RFC 8489), with the attributes of RFC 5780 that behaviour tests need, and as much of RFC 3489 as answers
 * its clients. Pure. */
#ifndef P2PD_NAT_STUN_H
#define P2PD_NAT_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

enum {
	STUN_HEADER = 20,
	STUN_TXID = 12,
	STUN_MAX = 548, /* RFC 8489 section 6.1, unknown path MTU, IPv4 */
	/* With PADDING, which tests what larger datagrams meet (RFC 5780 section 7.6). */
	STUN_PADDED_MAX = 1500,
	STUN_MAX_UNKNOWN = 8,
};
enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };
enum { STUN_BINDING = 0x001 };
/* Flags of CHANGE-REQUEST: answer from your other port, from your other address (RFC 5780 section 7.2). */
enum { STUN_CHANGE_PORT = 2, STUN_CHANGE_IP = 4 };

struct stun_msg {
	enum stun_class cls;
	uint16_t method;
	uint8_t txid[STUN_TXID];
	struct addr mapped;	     /* XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS; ADDR_NONE if absent */
	struct addr other_address;   /* RFC 5780 */
	struct addr response_origin; /* RFC 5780 */
	uint32_t change_request;     /* RFC 5780 flags; 0 if absent */
	uint16_t response_port;	     /* RFC 5780; 0 if absent */
	uint16_t padding;	     /* bytes of RFC 5780's PADDING; 0 if absent */
	uint16_t error_code;	     /* 0 if absent */
	/* Decoded: comprehension-required attributes that we do not know, the first of them. Encoded: as
	 * UNKNOWN-ATTRIBUTES, so that a 420 takes them over from its request. */
	uint16_t unknown[STUN_MAX_UNKNOWN];
	uint8_t unknown_count;
	/* RFC 3489 has no cookie but a longer transaction id, of which this is the beginning. Encoded: mapped,
	 * other_address and response_origin become its MAPPED-, CHANGED- and SOURCE-ADDRESS. */
	bool classic;
	uint32_t classic_id;
	bool has_fingerprint;	  /* present and right; a wrong one is -EBADMSG */
	const uint8_t *integrity; /* MESSAGE-INTEGRITY's 20 bytes in the message, or NULL; not encoded */
	const char *software;	  /* not terminated */
	size_t software_len;
	const char *username;
	size_t username_len;
};

/* True for what has STUN's form (two zero bits, magic cookie, length): to tell protocols on one port apart. */
bool stun_is_message(const uint8_t *msg, size_t len);
/* 0 or -EBADMSG. Pointers in `out` point into `msg`. */
int stun_decode(struct stun_msg *out, const uint8_t *msg, size_t len);
/* The same for a message of RFC 3489, which nothing but its length tells from other bytes. */
int stun_decode_classic(struct stun_msg *out, const uint8_t *msg, size_t len);
/* Encodes the attributes that are set, then FINGERPRINT if asked for. The length, at most `cap` and STUN_MAX (with
 * PADDING: STUN_PADDED_MAX), or -EINVAL. */
int stun_encode(const struct stun_msg *m, bool fingerprint, uint8_t *out, size_t cap);
/* RFC 8489 section 14.5 with a short-term key. `m` was decoded from `msg`. False for what would cover more than
 * STUN_MAX bytes. */
bool stun_check_integrity(const struct stun_msg *m, const uint8_t *msg, const void *key, size_t key_len);

#endif
