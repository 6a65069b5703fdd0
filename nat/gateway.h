/* What the three protocols of port mapping have in common: what is asked of a gateway, what it says, and waiting for it
 * within a limit. Asking blocks: it is done on a thread of its own. */
#ifndef P2PD_NAT_GATEWAY_H
#define P2PD_NAT_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/lan.h"

/* In the order of preference. */
enum gateway_protocol { GATEWAY_PCP, GATEWAY_NATPMP, GATEWAY_UPNP, GATEWAY_PROTOCOLS };
enum { GATEWAY_NONCE = 12 };

/* To make or renew a UDP mapping from `suggested_port` outside to lan.local:internal_port, or to end it. */
struct gateway_job {
	enum gateway_protocol protocol;
	bool unmap;
	struct lan lan; /* of the family that the mapping is for: IPv6 means a pinhole in the firewall */
	uint16_t internal_port, suggested_port;
	uint32_t lifetime_s;
	uint8_t nonce[GATEWAY_NONCE]; /* PCP: the same for the whole life of a mapping */
};

/* What came of it. All of it is a claim of a device on the LAN. */
struct gateway_result {
	/* 0; -ENOENT: nobody here speaks that protocol; -EPERM: refused, see `code`; -ECANCELED; -EINVAL: the job asks for
	 * what the protocol cannot do (NAT-PMP and IPv6); or another negative errno. */
	int error;
	unsigned code; /* of -EPERM: in the protocol's own numbers */
	struct addr external;
	uint32_t lifetime_s; /* granted; 0: for ever, so it must be ended */
	bool has_epoch;
	uint32_t epoch_s;
};

/* When a job has to end, whatever the device does. */
struct gateway_limit {
	uint64_t deadline_ms; /* of loop_now_ms() */
	int cancel_fd;	      /* readable: end at once; -1: none */
};

/* "pcp", "natpmp", "upnp" */
const char *gateway_protocol_name(enum gateway_protocol protocol);
/* Waits for poll(2) events of `fd` until `until_ms` or the limit's end, whichever is first. 0, -ETIMEDOUT or
 * -ECANCELED. */
int gateway_wait(const struct gateway_limit *limit, int fd, short events, uint64_t until_ms);
/* Does the address belong to this LAN: private or link-local, and in the prefix of our own address? */
bool gateway_is_on_lan(const struct lan *lan, const struct addr *a);

#endif
