/* What the bodies of the forwarder share with each other and with nobody else.
 *
 * How it works: whatever happens (a person's change, a peer's request, a reply, time) is noted, then forwarder_step() runs:
 * forwarder_refresh.c computes anew all that is to be carried and hands it on, to our sockets at once and to the kernel by
 * a job on a work thread; forwarder_lease.c asks gateways for what they have not granted as it is now; whoever waits for
 * the outcome is told. One timer. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARDER_INTERNAL_H
#define P2PD_APPS_P2PD_FORWARD_FORWARDER_INTERNAL_H

#include "apps/p2pd/forward/carry.h"
#include "apps/p2pd/forward/door.h"
#include "apps/p2pd/forward/forward_plan.h"
#include "apps/p2pd/forward/forwarder.h"
#include "apps/p2pd/forward/kernel_try.h"
#include "apps/p2pd/forward/lease_link.h"
#include "apps/p2pd/forward/tunnel_ports.h"
#include "tun/host_nat.h"

enum {
	FORWARDER_CHECK_MS = 10000, /* the kernel, and what the host can, are looked at anew */
	FORWARDER_KEEP_MS = 30000,  /* counts are written so often at most */
	FORWARDER_NODE_WHY = RULE_WHY,
};

/* A rule's lease at its gateway. */
struct forwarder_lease {
	struct forward_node gateway; /* ik zero: not known */
	uint64_t boot;		     /* of the gateway, and whether it is online, as last seen */
	bool online;
	struct lease_request asked; /* the last that was sent, or is to be */
	struct lease_grant grant;
	struct lease_call *call, *stats; /* under way */
	bool outdated;			 /* what is to be had is not what was sent */
	bool held;
	bool sent;	/* the gateway may have it */
	bool no_kernel; /* the last grant was without, though it was asked for */
	int error;	/* of the last reply */
	char why[RULE_WHY];
	uint8_t conflict[FORWARD_ID]; /* of -EADDRINUSE: whose the port is there; zero: no rule's */
	unsigned failures;	      /* in a row, without an answer */
	uint64_t due_ms;	      /* the next request; UINT64_MAX: none */
};

/* Counts of the entries of one id; they begin anew when entries come anew, the sums do not. */
struct forwarder_counts {
	struct forward_stats sum;		    /* of all that was before */
	struct forward_stats kernel, user, gateway; /* as last seen */
	bool changed;				    /* since they were given to the book */
	uint64_t audited[FORWARD_REJECTS];
};

struct forwarder_item {
	struct forwarder_item *next;
	struct forwarder *f;
	struct rule rule; /* as of the last refresh */
	bool stale;	  /* the book has it no more */
	struct forwarder_lease lease;
	struct forwarder_counts counts;
	bool planned; /* its entries are computed; else `why` tells what for it waits */
	bool kernel;
	char why[RULE_WHY];	 /* what keeps it from being complete */
	char mode_why[RULE_WHY]; /* why not the kernel */
	uint64_t can_round;	 /* of f->can_round: what host_nat_can() said of it then */
	bool can;
	char can_why[RULE_WHY];
	char kernel_error[HOST_NAT_WHY]; /* why the kernel did not take it as it is; "": it was not so */
	int user_error;
	char user_why[RULE_WHY];   /* why our sockets could not */
	unsigned moved;		   /* how often its tunnel ports were changed since others had them */
	enum forwarder_state told; /* in the audit */
};

/* A lease that a gateway is to end, until it has heard of it. */
struct forwarder_release {
	struct forwarder_release *next;
	struct forwarder *f;
	uint8_t id[FORWARD_ID], gateway[32]; /* key, zero: not known yet */
	char name[CERT_NAME_MAX + 1];
	struct lease_call *call;
	unsigned failures;
	uint64_t due_ms, until_ms; /* when the gateway ends it by itself */
};

struct forwarder_kernel {
	struct host_nat *nat; /* NULL: not open. Left to the job while one runs */
	struct host_nat_config config;
	bool needed;  /* some rule wants it, or we are a gateway */
	bool tried;   /* to open it: `why` is true */
	bool running; /* a job is under way */
	bool look_wanted;
	char why[HOST_NAT_WHY]; /* why it cannot be used; "": it can */
	struct forward_list wanted, in_effect;
	struct forward_inlet *inlets; /* where sockets of ours are reached */
	size_t inlet_count;
	uint64_t wanted_number, applied_number; /* of the lists */
	uint64_t looks, looks_begun;		/* how often it was looked at */
	uint64_t retry_ms;			/* UINT64_MAX: never */
};

enum forwarder_ask_kind { ASK_LEASE, ASK_STATS, ASK_ADMIT, ASK_VISIT };

/* A peer's request, or a visitor's at the door, that is answered when what it asked for is in effect. */
struct forwarder_ask {
	struct forwarder_ask *next;
	struct forwarder *f;
	enum forwarder_ask_kind kind;
	struct lease_ask *ask;	  /* to be answered, or */
	struct door_visit *visit; /* of ASK_VISIT */
	uint8_t id[FORWARD_ID];
	uint64_t kernel_number; /* of the list that has it, UINT64_MAX: the next; of ASK_STATS: the look */
	struct lease_grant grant;
	struct admit_grant admit;
	/* Of ASK_VISIT: the owner is being asked; what came of it. */
	bool asking, look;
	int error;
	struct addr visitor;
};

/* A lease that our sockets could not carry when they were last told to. */
struct forwarder_grant_error {
	struct forwarder_grant_error *next;
	uint8_t id[FORWARD_ID];
	char why[RULE_WHY];
	bool still;
};

struct forwarder_gate {
	struct gateway_config config;
	struct gateway *gateway; /* NULL: this node is none */
	struct forwarder_grant_error *errors;
	struct door *door;
	char door_why[RULE_WHY]; /* why it did not open the last time */
};

struct forwarder {
	struct forwarder_config config;
	struct rng rng;
	struct book *book;
	struct tokens *tokens;
	struct audit *audit;
	struct tunnel_ports tunnels;
	struct carry *carry;
	struct lease_link *link;
	struct addr listen4, listen6; /* where the link is */
	struct loop_timer *timer;
	struct forwarder_item *items;
	struct forwarder_release *releases;
	struct forwarder_ask *asks;
	struct forwarder_kernel kernel;
	struct forwarder_gate gate;
	const struct policy *declared;	   /* by the settings; NULL: nobody said yet */
	char declared_why[AUDIT_TEXT_MAX]; /* why it is not so; "": it is */
	struct forward_list user, scratch;
	struct forwarder_wait *waits;
	struct forwarder_ping *pings;
	uint64_t can_round; /* another number whenever the host is to be looked at anew; from 1 */
	bool refresh_wanted, stepping, stopping;
	bool news;    /* who waits is to be looked at */
	bool keeping; /* counts are being written */
	/* When the host is looked at anew, counts are kept, all is computed anew. */
	uint64_t check_ms, keep_ms, retry_ms;
};

/* forwarder.c */
uint64_t forwarder_unix_s(void);
/* When to look again for something that is due at `unix_s`; UINT64_MAX: never. */
uint64_t forwarder_in_seconds(uint64_t unix_s, uint64_t now_ms);
struct forwarder_item *forwarder_item(const struct forwarder *f, const uint8_t id[static FORWARD_ID]);
/* Brings about what has been noted. Ends every callback. */
void forwarder_step(struct forwarder *f);
/* The member of that name or overlay IPv6 address. NULL, with `why` for a person: there is none (yet), or two. */
struct engine_peer *forwarder_peer(const struct forwarder *f, const char *name, char why[static RULE_WHY]);
struct engine_peer *forwarder_peer_at(const struct forwarder *f, const struct addr *overlay);
/* NULL for a key of zeros. */
struct engine_peer *forwarder_peer_by_key(const struct forwarder *f, const uint8_t ik[static 32]);
/* Whether the node has joined and has addresses. */
bool forwarder_ready(const struct forwarder *f);
bool forwarder_expired(const struct rule *r);

/* forwarder_declare.c */
void forwarder_declare_again(struct forwarder *f);

/* forwarder_refresh.c */
void forwarder_recompute(struct forwarder *f);

/* forwarder_lease.c */
/* What is to be had of the gateway; asks if that is not what it was. */
void forwarder_lease_want(struct forwarder_item *it, const struct engine_peer *gateway,
			  const struct lease_request *r);
/* The secret of the lease that it has or will have there: a new one where it has none. */
void forwarder_lease_secret(struct forwarder_item *it, const struct engine_peer *gateway,
			    uint8_t out[static FORWARD_SECRET]);
/* Nothing is to be had any more of the gateway of before. */
void forwarder_lease_drop(struct forwarder_item *it);
/* Who is in the network changed. */
void forwarder_lease_on_peers(struct forwarder_item *it);
void forwarder_lease_run(struct forwarder *f, uint64_t now_ms);
uint64_t forwarder_lease_deadline(const struct forwarder *f);
/* No calls any more. */
void forwarder_lease_stop(struct forwarder *f);
/* Tombstones that a gateway may not have heard of. */
void forwarder_lease_restore(struct forwarder *f);

/* forwarder_kernel.c */
/* After the sockets were told: what is to reach them. */
void forwarder_kernel_set_inlets(struct forwarder *f);
/* Starts a job if something is to be done. */
void forwarder_kernel_run(struct forwarder *f, uint64_t now_ms);
uint64_t forwarder_kernel_deadline(const struct forwarder *f);
bool forwarder_kernel_usable(const struct forwarder *f);
/* Whether list `number` is in effect, or never will be. */
bool forwarder_kernel_done(const struct forwarder *f, uint64_t number);
/* Has the counts read; which look will be the next that begins after now. */
uint64_t forwarder_kernel_look(struct forwarder *f);
/* When no job runs any more. */
void forwarder_kernel_last_look(struct forwarder *f);
void forwarder_kernel_stop(struct forwarder *f);

/* forwarder_gate.c: the gateway's side, and what gateways ask of us. */
/* A node that cannot be a gateway has rules nevertheless; the log says why. */
void forwarder_gate_start(struct forwarder *f);
void forwarder_gate_stop(struct forwarder *f);
/* Adds what our leases need. */
int forwarder_gate_plan(struct forwarder *f, struct forward_list *kernel, struct forward_list *user);
/* Where visitors with tokens come to; false: nowhere. */
bool forwarder_gate_door(const struct forwarder *f, struct addr *at4, struct addr *at6);
size_t forwarder_gate_passes(struct forwarder *f, struct pass_entry *out, size_t cap);
void forwarder_gate_run(struct forwarder *f);
uint64_t forwarder_gate_deadline(const struct forwarder *f, uint64_t now_ms);
struct lease_link_handler forwarder_gate_handler(void);
enum { FORWARDER_ACTOR = CERT_NAME_MAX + ADDR_TEXT_MAX };
const char *forwarder_actor(const struct forwarder *f, const struct addr *peer,
			    char out[static FORWARDER_ACTOR]);
void forwarder_audit_peer(struct forwarder *f, enum audit_event event, enum audit_outcome outcome,
			  const uint8_t *id, const char *name, const char *actor, const char *detail);
/* Who asked is answered when what follows is in effect. NULL without memory. */
struct forwarder_ask *forwarder_answer_later(struct forwarder *f, enum forwarder_ask_kind kind,
					     const uint8_t id[static FORWARD_ID]);

/* forwarder_grant.c: leases as a gateway gives them. */
void forwarder_grant_ask(void *arg, struct lease_ask *q, const struct addr *peer,
			 const struct lease_request *r);
void forwarder_grant_release(void *arg, struct lease_ask *q, const struct addr *peer,
			     const uint8_t id[static FORWARD_ID]);
void forwarder_grant_stats(void *arg, struct lease_ask *q, const struct addr *peer,
			   const uint8_t id[static FORWARD_ID]);
/* Before and after our sockets are told what to carry; in between, of each lease that they could not. */
void forwarder_grant_apply_begins(struct forwarder *f);
void forwarder_grant_apply_ended(struct forwarder *f);
void forwarder_grant_on_user_error(struct forwarder *f, const uint8_t id[static FORWARD_ID], int error,
				   const char *why);
/* The kernel did not take this lease, if it is one. */
void forwarder_grant_on_kernel_error(struct forwarder *f, const uint8_t id[static FORWARD_ID],
				     const char *why);
struct gateway_host forwarder_grant_host(struct forwarder *f);
void forwarder_grant_stop(struct forwarder *f);

/* forwarder_count.c */
/* Reads all counts that can be read now. */
void forwarder_count(struct forwarder *f);
/* The kernel was looked at, and no job runs. */
void forwarder_count_kernel(struct forwarder *f);
void forwarder_count_gateway(struct forwarder_item *it, const struct forward_stats *s);
struct forward_stats forwarder_counted(const struct forwarder_item *it);
/* What the book has, on the loop's clock. False for an unknown id. */
bool forwarder_counts_kept(const struct forwarder *f, const uint8_t id[static FORWARD_ID],
			   struct forward_stats *out);
void forwarder_counts_restore(struct forwarder_item *it);
/* To the book, with what was refused since to the audit. On disk later: a work thread sees to it. */
void forwarder_counts_keep(struct forwarder *f);
/* The same, on disk when it returns. */
void forwarder_counts_save(struct forwarder *f);
void forwarder_counts_drop(struct forwarder_item *it);
bool forwarder_stats_of(struct forwarder *f, const uint8_t id[static FORWARD_ID], struct forward_stats *out);

/* forwarder_look.c */
/* Whether it is known what becomes of it. */
bool forwarder_settled(const struct forwarder_item *it);

/* forwarder_wait.c */
void forwarder_wait_run(struct forwarder *f, uint64_t now_ms);
uint64_t forwarder_wait_deadline(const struct forwarder *f);

/* forwarder_ping.c */
void forwarder_ping_run(struct forwarder *f, uint64_t now_ms);
uint64_t forwarder_ping_deadline(const struct forwarder *f);

#endif
