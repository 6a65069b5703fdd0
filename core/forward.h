/* Port forwarding as the two ways of carrying it see it: tun/host_nat (the kernel's NAT) and apps/p2pd/forward/carry (our
 * own sockets). Both are told the entries that are to be, and make it so. Plain data. */
#ifndef P2PD_CORE_FORWARD_H
#define P2PD_CORE_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"

enum {
	FORWARD_ID = 16, /* bytes of a UUIDv7 (RFC 9562 section 5.7) */
	FORWARD_SECRET = 16,
	FORWARD_PREFIXES_MAX = 64, /* in an allow-list, admitted visitors among them */
	FORWARD_CONN_DEFAULT = 200,
	FORWARD_IDLE_DEFAULT_S = 90,
};

enum forward_proto { FORWARD_TCP = 6, FORWARD_UDP = 17 }; /* IANA's numbers */

/* Where packets from outside may come from. Host bits of `prefix` are zero, the port is 0. */
struct forward_prefix {
	struct addr prefix;
	uint8_t bits;
};

/* At whose end of the tunnel an entry is. */
enum forward_side {
	FORWARD_GATEWAY, /* visitors come to `listen` on the internet, `target` is the owner's overlay address */
	FORWARD_OWNER, /* they come out of the tunnel to `listen`, our overlay address, `target` is the service */
};

/* Ports listen.port to listen.port + count - 1 are those of the target from target.port on, one to one. Entries of one
 * id share its limits and its counts. */
struct forward_entry {
	uint8_t id[FORWARD_ID];
	enum forward_side side;
	enum forward_proto proto;
	struct addr listen, target;
	uint16_t count;
	bool paused; /* what lives stands still, what is new is refused */
	/* At the owner: visitors from outside the overlay come, through the gateway whose overlay addresses these are
	 * (ADDR_NONE: it has none of that family). ADDR_NONE both: members come, by their overlay addresses. */
	struct addr gateway4, gateway6;
	bool restricted; /* only who is in `allow`; else whoever gets here */
	struct forward_prefix allow[FORWARD_PREFIXES_MAX];
	unsigned allow_count;
	uint32_t max_conn; /* TCP connections and UDP flows of this id together; 0: no limit */
	uint32_t idle_s;   /* without a byte for so long they are ended; 0: never */
	uint64_t rate;	   /* bytes a second, each way; 0: no limit */
	/* Carried by our own sockets: a PROXY protocol v2 header comes first from the gateway (owner's side), or is to be
	 * sent first to the target. At a gateway header_out is always set. For UDP each datagram has one. */
	bool header_in, header_out;
	/* What only gateway and owner know: it is in the headers between them, for any user of the gateway's machine can
	 * connect from its address. Without one (zeros) no header that comes is taken. */
	uint8_t secret[FORWARD_SECRET];
	uint64_t owner; /* at a gateway: whose it is, the same of all that is his; 0: ours */
};

/* Ports `at`.port to + count - 1 where sockets of ours wait, for visitors or for other nodes. */
struct forward_inlet {
	enum forward_proto proto;
	struct addr at;
	uint16_t count;
};

enum forward_reject {
	FORWARD_NOT_ALLOWED, /* by the allow-list */
	FORWARD_FULL,	     /* max_conn */
	FORWARD_RATE,	     /* packets over the rate, where they are dropped and not held back */
	FORWARD_PAUSED,
	FORWARD_NO_SERVICE, /* the target refused, or did not answer */
	FORWARD_BAD_HEADER,
	FORWARD_REJECTS,
};

/* Of an id, since its entries came. In: from the visitor to the service. */
struct forward_stats {
	uint64_t bytes_in, bytes_out;
	uint32_t connections; /* now */
	uint64_t total;	      /* ever accepted */
	uint64_t rejected[FORWARD_REJECTS];
	struct addr last_visitor; /* ADDR_NONE: none yet */
	uint64_t last_ms;	  /* when it came, of loop_now_ms() */
};

static inline const char *forward_reject_name(enum forward_reject r)
{
	static const char *const names[] = { "not_allowed", "full",	  "rate",
					     "paused",	    "no_service", "bad_header" };
	return names[r];
}

#endif
