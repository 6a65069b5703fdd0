/* What the NAT in front of a node does, in RFC 4787's terms, as the node measured it: told to peers in its record, to
 * people by status and natcheck. "Unknown" where it could not be measured, never a guess. Pure values.
 * Wire form (VERDICT_WIRE bytes): mapping(1) filtering(1) pattern(1) scope(1) step(LE16) noise_per_10s(LE16)
 * block_lo(LE16) block_hi(LE16) confidence(1) depth(1) flags(1) public_ip(19). */
#ifndef P2PD_CORE_VERDICT_H
#define P2PD_CORE_VERDICT_H

#include <stdbool.h>

#include "core/addr.h"

enum { VERDICT_WIRE = 15 + ADDR_WIRE_LEN };

enum nat_mapping {
	MAPPING_UNKNOWN,
	MAPPING_NONE, /* no NAT: the local address is what the servers saw */
	MAPPING_ENDPOINT_INDEPENDENT,
	MAPPING_ADDRESS_DEPENDENT,
	MAPPING_ADDRESS_AND_PORT_DEPENDENT,
	MAPPING_ENDPOINT_DEPENDENT, /* one of the two above; the servers do not tell which */
};

/* RFC 4787 section 5; a host without NAT may filter, too. */
enum nat_filtering {
	FILTERING_UNKNOWN,
	FILTERING_ENDPOINT_INDEPENDENT,
	FILTERING_ADDRESS_DEPENDENT,
	FILTERING_ADDRESS_AND_PORT_DEPENDENT,
};

/* How the ports of new mappings are chosen. */
enum nat_allocation {
	ALLOCATION_UNKNOWN,
	ALLOCATION_PRESERVING, /* the local port, when it is free */
	ALLOCATION_SEQUENTIAL, /* the last one's + step */
	ALLOCATION_RANDOM,
};

/* What a sequential allocation counts for itself. */
enum nat_scope { SCOPE_UNKNOWN, SCOPE_GLOBAL, SCOPE_DESTINATION, SCOPE_SOCKET };

enum nat_type {
	NAT_TYPE_UNKNOWN,
	NAT_TYPE_OPEN,
	NAT_TYPE_FIREWALL,
	NAT_TYPE_1,
	NAT_TYPE_2,
	NAT_TYPE_3,
	NAT_TYPE_4,
	NAT_TYPE_BLOCKED
};

struct verdict {
	uint8_t mapping;	     /* enum nat_mapping */
	uint8_t filtering;	     /* enum nat_filtering */
	uint8_t allocation;	     /* enum nat_allocation, of new mappings */
	uint8_t scope;		     /* enum nat_scope */
	int16_t step;		     /* of a sequential allocation; 0: none */
	uint16_t noise_per_10s;	     /* foreign allocations */
	uint16_t block_lo, block_hi; /* ports that new mappings come from; 0, 0: not limited, or unknown */
	uint8_t confidence;	     /* in allocation and block, per cent */
	uint8_t depth;		     /* routers up to and with the outermost NAT; 0: unknown */
	bool udp_blocked, pooling /* more than one public address */, cgnat;
	struct addr public_ip; /* IPv4, port 0; ADDR_NONE while unknown */
};

struct reader;
struct writer;
void verdict_write(struct writer *w, const struct verdict *v);
/* Sets r->bad on values that there are not, on block_lo > block_hi and on ports below 1024. */
struct verdict verdict_read(struct reader *r);

/* Whether they say the same of what peers choose a technique by; how sure it is, and how busy the NAT, may differ. */
bool verdict_alike(const struct verdict *a, const struct verdict *b);
/* A peer can be told beforehand where to find us: no NAT, or the same mapping for everyone. */
bool verdict_is_easy(const struct verdict *v);
/* Each destination gets another mapping. Neither easy nor hard: unknown. */
bool verdict_is_hard(const struct verdict *v);
/* NAT1 full cone, NAT2 and NAT3 by filtering, NAT4 symmetric; open and firewall without NAT. */
enum nat_type verdict_type(const struct verdict *v);

/* "endpoint-independent" and so on; "unknown". */
const char *nat_mapping_name(enum nat_mapping mapping);
const char *nat_filtering_name(enum nat_filtering filtering);
const char *nat_allocation_name(enum nat_allocation allocation); /* "preserving", "sequential", "random" */
const char *nat_scope_name(enum nat_scope scope);		 /* "global", "destination", "socket" */
const char *nat_type_name(enum nat_type type); /* "open", "firewall", "nat1".."nat4", "blocked" */

#endif
