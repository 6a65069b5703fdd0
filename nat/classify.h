/* Tells what a NAT does from what STUN servers saw of one socket (RFC 4787 section 4.1, RFC 5780 section 4.3). Says
 * "unknown" where the servers cannot tell, and never guesses. Pure. */
#ifndef P2PD_NAT_CLASSIFY_H
#define P2PD_NAT_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/verdict.h"

/* One answer: from `local` our request reached `server`, which saw it come from `mapped`. */
struct classify_sample {
	struct addr local, server, mapped;
};

struct classify_result {
	enum nat_mapping mapping;
	bool across_addresses; /* two servers at different IP addresses were compared, not only two ports of one */
	bool keeps_port;       /* each mapped port is the local one */
};

/* All samples are of one socket, so of one family. None is allowed. */
struct classify_result classify(const struct classify_sample *samples, size_t count);

#endif
