/* Which mappings a node asks its gateway for, when they are renewed, and what came of it. At boot PCP, NAT-PMP and UPnP
 * are tried at once; a lease of 7200 s is asked for and renewed at half of what was granted (RFC 6886 section 3.3, RFC
 * 6887 section 11.2.1); a gateway that forgot (its epoch) or has another address is asked anew at once; a failure is
 * tried again after 1, 5, 15 and then every 60 min, and when the network changes. Hands out jobs (nat/gateway.h), one a
 * protocol at a time, and takes their results.
 * Pure: no sockets, clock or heap. Embed by value. */
#ifndef P2PD_NAT_PORTMAP_H
#define P2PD_NAT_PORTMAP_H

#include "nat/gateway.h"
#include "nat/pcp.h"

enum {
	PORTMAP_LEASE_S = 7200,
	/* A lease is renewed as if it were for no less than this, nor for more than the one above. */
	PORTMAP_SHORTEST_S = 30,
	PORTMAP_LOST_MS = 10000, /* whoever claims that all is lost is believed this often */
	PORTMAP_VIEW = 4,
};
enum portmap_state { PORTMAP_UNKNOWN, PORTMAP_ABSENT, PORTMAP_REFUSED, PORTMAP_WORKING };

/* One protocol for one family. */
struct portmap_entry {
	enum portmap_state state;
	unsigned code;	      /* of PORTMAP_REFUSED, in the protocol's own numbers */
	struct addr external; /* of PORTMAP_WORKING */
	uint64_t made_ms;     /* of PORTMAP_WORKING: when the gateway last granted it */
	uint64_t expires_ms;  /* of PORTMAP_WORKING: when the gateway ends the mapping */
	bool busy;	      /* a job is under way */
	bool held;	      /* the gateway may have a mapping of ours */
	bool again;	      /* whatever the job under way brings is out of date */
	unsigned failures;    /* in a row */
	uint64_t due_ms;      /* the next job; UINT64_MAX: none */
};

struct portmap {
	uint16_t port;
	uint8_t nonce[GATEWAY_NONCE];
	struct lan lan[2]; /* IPv4, IPv6 */
	struct portmap_entry entries[GATEWAY_PROTOCOLS][2];
	struct pcp_epoch epochs[GATEWAY_PROTOCOLS][2];
	uint64_t lost_ms;  /* when a claim that all is lost may be believed again */
	uint64_t retry_ms; /* when a change of the network is a reason again to retry what failed */
	bool releasing;
};

/* What there is to tell others. */
struct portmap_view {
	bool enabled;
	size_t count;
	struct portmap_mapping {
		struct addr external;
		enum gateway_protocol protocol;
		bool double_nat;
	} items[PORTMAP_VIEW];			     /* the preferred protocol's first, no double */
	enum portmap_state state[GATEWAY_PROTOCOLS]; /* the better one of both families */
	unsigned code[GATEWAY_PROTOCOLS];
};

/* `port` is our UDP port. `nonce` proves to PCP that a mapping is ours: keep it over restarts. */
void portmap_init(struct portmap *p, uint16_t port, const uint8_t nonce[static GATEWAY_NONCE]);
/* The ways out of this host: at start and whenever something about the host's network changed, however often: where the
 * ways are the same, what failed is retried at most once a minute. */
void portmap_on_network(struct portmap *p, const struct lan *lan4, const struct lan *lan6, uint64_t now_ms);
/* The next due job; false when none is due before portmap_deadline(). Its result is owed. */
bool portmap_next(struct portmap *p, uint64_t now_ms, struct gateway_job *out);
uint64_t portmap_deadline(const struct portmap *p);
void portmap_on_result(struct portmap *p, const struct gateway_job *job, const struct gateway_result *result,
		       uint64_t now_ms);
/* The IPv4 gateway told its epoch unasked: PCP's ANNOUNCE, or NAT-PMP's public address, `external` (else NULL). */
void portmap_on_announcement(struct portmap *p, enum gateway_protocol protocol, uint32_t epoch_s,
			     const struct addr *external, uint64_t now_ms);
/* There is reason to believe that the gateway has forgotten: STUN sees another address. */
void portmap_on_lost(struct portmap *p, uint64_t now_ms);
/* From now on portmap_next hands out what gives all mappings back, and then nothing. */
void portmap_release(struct portmap *p);

/* Is the external address of a mapping none that the internet knows, or not the one that STUN saw (ADDR_NONE: not
 * known): is there another NAT behind the gateway's? */
bool portmap_double_nat(const struct addr *external, const struct addr *stun);
void portmap_view(const struct portmap *p, const struct addr *stun, struct portmap_view *out);
/* "unknown", "absent", "refused", "working" */
const char *portmap_state_name(enum portmap_state state);

#endif
