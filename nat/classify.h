/* Tells what a NAT does from what STUN servers saw of one socket (RFC 4787 section 4.1, RFC 5780 section 4.3). Says
 * "unknown" where the servers cannot tell, and never guesses. Pure. */
#ifndef P2PD_NAT_CLASSIFY_H
#define P2PD_NAT_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/addr.h"

enum classify_mapping {
	MAPPING_UNKNOWN,
	MAPPING_NONE, /* no NAT: the local address is what the servers saw */
	MAPPING_ENDPOINT_INDEPENDENT,
	MAPPING_ADDRESS_DEPENDENT,
	MAPPING_ADDRESS_AND_PORT_DEPENDENT,
	MAPPING_ENDPOINT_DEPENDENT, /* one of the two above; the servers do not tell which */
};

/* One answer: from `local` our request reached `server`, which saw it come from `mapped`. */
struct classify_sample {
	struct addr local, server, mapped;
};

struct classify_result {
	enum classify_mapping mapping;
	bool across_addresses; /* two servers at different IP addresses were compared, not only two ports of one */
	bool keeps_port;       /* each mapped port is the local one */
};

/* All samples are of one socket, so of one family. None is allowed. */
struct classify_result classify(const struct classify_sample *samples, size_t count);
/* A peer can be told beforehand where to find us: no NAT, or the same mapping for everyone. */
bool classify_is_easy(enum classify_mapping mapping);
bool classify_is_hard(enum classify_mapping mapping);
/* "endpoint-independent" and so on. */
const char *classify_mapping_name(enum classify_mapping mapping);

#endif
