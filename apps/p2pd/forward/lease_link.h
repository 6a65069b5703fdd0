/* Carries what lease.h says between owner and gateway: an HTTP server at our overlay addresses, and requests to a peer's.
 * On the loop, in its thread.
 *
 * Both ends listen at LEASE_PORT bound to the TUN device, and connect from their overlay address by it. So the tunnel says
 * which node asks; but any user of that node's machine could ask, too. So each request is also signed by the node's
 * identity key, for that receiver only. */
#ifndef P2PD_APPS_P2PD_FORWARD_LEASE_LINK_H
#define P2PD_APPS_P2PD_FORWARD_LEASE_LINK_H

#include "apps/p2pd/forward/lease.h"
#include "core/stream.h"

enum {
	LEASE_ASK_MS = 10000,	/* for a request to be answered, connecting included */
	LEASE_ASKS_MAX = 1024,	/* of ours that are under way, and of others' that we have not answered */
	LEASE_ASKS_PER_S = 20,	/* that a peer may make, */
	LEASE_ASKS_BURST = 400, /* a rule each after a restart */
	LEASE_OTHERS_PER_S = 1, /* that come from its address, but without its signature */
	LEASE_OTHERS_BURST = 20,
	LEASE_TELL_MS = 60000,	  /* on_refused() of a peer that asks too often, at most so often */
	LEASE_PORTS_AN_ASK = 256, /* as many ports count as one more */
	LEASE_REPLY_MAX = 16384,  /* bytes of an answer */
};

struct lease_link; /* opaque */
struct lease_ask;  /* opaque: a peer's request that waits for our answer */
struct lease_call; /* opaque: a request of ours that waits for the peer's */

/* What peers ask; `peer` is the overlay address of who does (port 0) and has signed it. Each ask is answered exactly once,
 * now or later, by a lease_answer_*(); also when the peer has gone meanwhile, or the link was stopped. A function that is
 * NULL: that is not done here (the peer gets -ENOTSUP). */
struct lease_link_handler {
	/* Asked of a gateway. */
	void (*on_lease)(void *arg, struct lease_ask *q, const struct addr *peer,
			 const struct lease_request *r);
	void (*on_release)(void *arg, struct lease_ask *q, const struct addr *peer,
			   const uint8_t id[static FORWARD_ID]);
	void (*on_stats)(void *arg, struct lease_ask *q, const struct addr *peer,
			 const uint8_t id[static FORWARD_ID]);
	/* Asked of an owner. With r->look nothing is to be burnt: what would happen? */
	void (*on_admit)(void *arg, struct lease_ask *q, const struct addr *peer,
			 const struct admit_request *r);
	/* The identity key of the member with this overlay address; NULL: there is none. Must not be NULL itself. */
	const uint8_t *(*key_of)(void *arg, const struct addr *peer);
	/* For the audit: a peer's request was refused before anybody was asked (not signed by it, nonsense, too many). */
	void (*on_refused)(void *arg, const struct addr *peer, const char *why);
};

struct lease_link_config {
	struct loop *loop;
	char device[STREAM_DEVICE_MAX + 1]; /* the TUN's name; "": bound to none (tests) */
	const uint8_t *ik_sk; /* 64 bytes, our identity key (engine.ik_sk); stays the caller's */
	struct lease_link_handler handler;
	void *arg;
};

/* Listens nowhere yet. 0 or -ENOMEM. */
int lease_link_start(struct lease_link **out, const struct lease_link_config *config);
/* All calls end without their callback. NULL is allowed. */
void lease_link_stop(struct lease_link *k);
/* At these addresses from now on, ADDR_NONE: not by that family; those as before go on. To be called once the device has
 * them, and when they change. 0, or the first error: -EADDRINUSE (another program has the port), -EADDRNOTAVAIL (not
 * there yet: call again later) ... */
int lease_link_listen(struct lease_link *k, const struct addr *ip4, const struct addr *ip6);

/* --- Answers. */
void lease_answer_grant(struct lease_ask *q, const struct lease_grant *g);
void lease_answer_released(struct lease_ask *q);
void lease_answer_stats(struct lease_ask *q, const struct forward_stats *s);
void lease_answer_admit(struct lease_ask *q, const struct admit_grant *g);
/* `error` arrives at the peer as it is if it is one of -EINVAL, -EACCES, -ENOENT, -EADDRINUSE, -EEXIST, -EAGAIN (too many,
 * try later), -ENOSPC, -ENOTSUP, -ETIMEDOUT, else as -EIO. `why` is for the person there; `conflict` may be NULL. */
void lease_answer_error(struct lease_ask *q, int error, const char *why, const uint8_t *conflict);

/* --- Requests. */
struct lease_reply {
	/* 0: the one below that was asked for is set. Else what the peer answered (see lease_answer_error()), or:
	 * -ECONNREFUSED: it runs no p2pd that forwards ports; -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH, -ECONNRESET ...: not
	 * reached; -EBADMSG: nonsense. */
	int error;
	char why[RULE_WHY];	      /* in words for a person; "" without an error */
	uint8_t conflict[FORWARD_ID]; /* of -EADDRINUSE; zero: none */
	union {
		struct lease_grant grant;
		struct forward_stats stats; /* last_ms as of our loop_now_ms() */
		struct admit_grant admit;
	};
};

/* To the member with that overlay address (port ignored). 0, -ENOENT (key_of() knows none), -EADDRNOTAVAIL (we have no
 * address of that family: lease_link_listen()), -EAGAIN (too many under way), -ENOMEM; then `done` is not called. `out`
 * may be NULL. `done` is called once, from the loop, never from within the call that asked; the lease_call is dead then.
 * Nothing is tried again: that is the caller's. */
int lease_link_put(struct lease_link *k, const struct addr *peer, const struct lease_request *r,
		   void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		   struct lease_call **out);
int lease_link_delete(struct lease_link *k, const struct addr *peer, const uint8_t id[static FORWARD_ID],
		      void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		      struct lease_call **out);
int lease_link_stats(struct lease_link *k, const struct addr *peer, const uint8_t id[static FORWARD_ID],
		     void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		     struct lease_call **out);
int lease_link_admit(struct lease_link *k, const struct addr *peer, const struct admit_request *r,
		     void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		     struct lease_call **out);
/* `done` is not called. NULL is allowed. */
void lease_call_cancel(struct lease_call *call);

#endif
