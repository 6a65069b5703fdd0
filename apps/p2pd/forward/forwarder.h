/* All of port forwarding of a node, joined: the book of rules, leases asked of gateways and given as one, the kernel's NAT
 * and our own sockets, what the tunnel lets through, tokens, counts and audit. On the loop, in its thread; what blocks is
 * done on work threads. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARDER_H
#define P2PD_APPS_P2PD_FORWARD_FORWARDER_H

#include "apps/p2pd/engine.h"
#include "apps/p2pd/forward/audit.h"
#include "apps/p2pd/forward/book.h"
#include "apps/p2pd/forward/gateway.h"
#include "apps/p2pd/forward/policy.h"
#include "apps/p2pd/forward/tokens.h"
#include "core/file.h"
#include "core/loop.h"
#include "tun/device.h"

struct forwarder; /* opaque */

struct forwarder_config {
	struct loop *loop;
	struct engine *engine;
	const struct tun_device *tun;
	int state_dir;			      /* stays the caller's */
	const struct gateway_config *gateway; /* NULL: this node is none; copied */
	uint64_t audit_keep_s;		      /* 0: for ever */
	/* The engine has something to say. */
	void (*settle)(void *arg);
	void *arg;
};

/* 0; or a negative errno, with `why` for a person. Rules of before come into effect as soon as the node has joined. */
int forwarder_start(struct forwarder **out, const struct forwarder_config *config, char why[static FILE_WHY]);
/* Nothing is begun any more: what runs on work threads comes to its end. */
void forwarder_cancel(struct forwarder *f);
/* After that, and when nobody waits any more. NULL is allowed. */
void forwarder_stop(struct forwarder *f);
/* Who is in the network, our addresses or our joining changed. */
void forwarder_on_change(struct forwarder *f);
/* The administrator changed what this node does as a gateway; NULL: it is none any more. */
void forwarder_set_gateway(struct forwarder *f, const struct gateway_config *gateway);
/* How long the audit's lines stay. */
void forwarder_set_audit_keep(struct forwarder *f, uint64_t keep_s);
/* Rules that the settings declare: they are to be as they say, beside the others; those that they declared before and do no
 * more, are removed. All or none of it: what cannot be is logged and audited, and tried again now and then, for the host's
 * addresses and the other rules may change. `p` stays the caller's, until the next call. */
void forwarder_declare(struct forwarder *f, const struct policy *p);
/* A pong came in. */
void forwarder_on_pong(struct forwarder *f, const struct engine_event *pong);

/* --- Asked by a person: the book's changes, brought into effect. Errors as there. */
struct book *forwarder_book(struct forwarder *f);
struct tokens *forwarder_tokens(struct forwarder *f);
const struct forwarder_config *forwarder_config(const struct forwarder *f);
/* After any change of the book or the tokens: brings it into effect. */
void forwarder_refresh(struct forwarder *f);
/* Writes the audit's line; `r` NULL: of no rule. */
void forwarder_audit(struct forwarder *f, enum audit_event event, enum audit_outcome outcome,
		     const struct rule *r, const char *actor, const char *detail);
/* A line for each of the changes that policy_apply() made. */
void forwarder_audit_changes(struct forwarder *f, struct json_t *changes, const char *actor,
			     const char *detail);
struct audit *forwarder_audit_log(struct forwarder *f);
struct rng *forwarder_rng(struct forwarder *f);
/* For rule_check_place(). */
void forwarder_place(const struct forwarder *f, struct rule_place *out);
/* The same for all of a file; false and *e, for the first that cannot be. */
bool forwarder_places_fit(const struct forwarder *f, const struct policy *p, struct policy_error *e);
/* After policy_apply() said -EEXIST: which rules clash, and where. */
void forwarder_clash_text(const struct forwarder *f, const struct policy *p, enum policy_file file,
			  struct policy_error *e);

/* What has become of a rule. */
enum forwarder_state {
	FORWARDER_ACTIVE,
	FORWARDER_PENDING,
	FORWARDER_PAUSED,
	FORWARDER_EXPIRED,
	FORWARDER_FAILED,
	FORWARDER_REMOVED
};
enum { FORWARDER_ADDRESSES = RULE_RANGES_MAX * 4, FORWARDER_ADDRESS = 80 };
struct forwarder_view {
	enum forwarder_state state;
	char why[RULE_WHY];
	uint8_t conflict
		[FORWARD_ID]; /* the rule, another member's perhaps, that has its port at the gateway; zero: none */
	bool kernel;
	char mode_why[RULE_WHY];
	char addresses[FORWARDER_ADDRESSES][FORWARDER_ADDRESS];
	unsigned address_count;
	char door[RULE_DOMAIN +
		  16]; /* "https://ADDR:PORT": where the gateway takes tokens; "": nowhere (yet) */
	struct forward_stats stats; /* with those of before */
};
/* Reads the counts that can be read at once; those of the kernel are of a moment ago, and read anew soon after. */
void forwarder_count_now(struct forwarder *f);
/* False for an id that the book has not. */
bool forwarder_look(const struct forwarder *f, const uint8_t id[static FORWARD_ID],
		    struct forwarder_view *out);
const char *forwarder_state_name(enum forwarder_state s);

/* --- Somebody waits. Embed by value, it is the forwarder's until `done` or forwarder_wait_cancel(). `done` is never called
 * from within the call that begins. */
struct forwarder_wait {
	void (*done)(void *arg);
	void *arg;
	/* The forwarder's own. */
	struct forwarder_wait *next;
	uint8_t id[FORWARD_ID];
	bool counts, gateway_told;
	uint64_t look, until_ms;
	struct lease_call *call;
	struct forwarder *f;
};
/* Until it is known what becomes of the rule, FORWARDER_WAIT_MS at most. */
void forwarder_wait_settled(struct forwarder *f, const uint8_t id[static FORWARD_ID],
			    struct forwarder_wait *w);
/* Until its counts are those of now, the gateway's among them. */
void forwarder_wait_counts(struct forwarder *f, const uint8_t id[static FORWARD_ID],
			   struct forwarder_wait *w);
void forwarder_wait_cancel(struct forwarder_wait *w);
enum { FORWARDER_WAIT_MS = 3000, FORWARDER_COUNT_MS = 1500 };

/* What stands between a visitor and the service, looked at one after the other. */
enum { FORWARDER_CHECKS = 4, FORWARDER_PING_MS = 5000 };
struct forwarder_check {
	const char *what; /* "gateway", "tunnel", "node", "service" */
	bool ok;
	char detail[RULE_WHY];
};
struct forwarder_ping {
	void (*done)(void *arg); /* with checks */
	void *arg;
	struct forwarder_check checks[FORWARDER_CHECKS];
	unsigned count;
	/* The forwarder's own. */
	struct forwarder_ping *next;
	struct forwarder *f;
	struct rule rule;
	unsigned step;
	bool running; /* the step's outcome is awaited */
	uint64_t pong_id, began_ms, until_ms;
	struct lease_call *call;
	int fd;
	struct loop_fd *watch;
};
void forwarder_ping(struct forwarder *f, const struct rule *r, struct forwarder_ping *p);
void forwarder_ping_cancel(struct forwarder_ping *p);

#endif
