/* Who did what to port forwarding, and when: one JSON object a line, audit.jsonl in the state folder, the newest last. It
 * survives kill -9; what a power loss takes are the last seconds.
 *   {"time": "2026-01-31T09:05:00Z", "unix": N, "event", "outcome", "actor", and where there are any: "forward_id", "name",
 *    "detail", "left_out": how many events like this one were not written before it}
 * Texts may come from strangers: they are cut and made plain. No clock of its own. */
#ifndef P2PD_APPS_P2PD_FORWARD_AUDIT_H
#define P2PD_APPS_P2PD_FORWARD_AUDIT_H

#include "core/forward.h"

struct json_t;

#define AUDIT_FILE "audit.jsonl"

enum {
	AUDIT_KEEP_S = 30 * 86400, /* the default retention */
	AUDIT_HOURLY_MAX = 100,	   /* lines an hour of one event that any stranger can cause */
	AUDIT_HOURLY_SOME =
		1000, /* of one that members, and holders of a token, can cause as often as they like */
	AUDIT_FILE_MAX = 32 << 20,	/* bytes; beyond it the oldest go, whatever their age */
	AUDIT_LIST_MAX = 10000,		/* lines of an answer */
	AUDIT_TEXT_MAX = 240,		/* bytes of an actor, name or detail */
	AUDIT_PRUNE_EVERY_S = 6 * 3600, /* so much longer may a line stay */
};

/* What happened. The table of names is in audit.c. */
enum audit_event {
	AUDIT_RULE_ADD,
	AUDIT_RULE_SET,
	AUDIT_RULE_PAUSE,
	AUDIT_RULE_RESUME,
	AUDIT_RULE_REMOVE, /* by a person, --force or a policy */
	AUDIT_RULE_RESTORE,
	AUDIT_RULE_EXPIRE,
	AUDIT_RULE_FAIL, /* it could not be brought into effect: detail says why */
	AUDIT_POLICY_APPLY,
	AUDIT_TOKEN_NEW,
	AUDIT_TOKEN_REVOKE,
	AUDIT_TOKEN_ROTATE,
	AUDIT_TOKEN_USE,
	AUDIT_TOKEN_GUESS,   /* somebody came with what is no valid token */
	AUDIT_LEASE_GRANT,   /* at the gateway */
	AUDIT_LEASE_REFUSE,  /* a member asked for what it may not have */
	AUDIT_LEASE_RELEASE, /* by the owner, or run out */
	AUDIT_API_TOKEN,     /* the read-only token of the local API: made, taken back */
	AUDIT_API_REFUSE,    /* somebody asked the local API on TCP without it */
	AUDIT_VISIT_REFUSE,  /* detail: the reasons and how many, of the last while */
	AUDIT_EVENTS,
};

enum audit_outcome { AUDIT_OK, AUDIT_REFUSED, AUDIT_FAILED };

struct audit_entry {
	enum audit_event event;
	enum audit_outcome outcome;
	const uint8_t *forward_id; /* FORWARD_ID bytes; NULL, or zeros: of no rule that there is */
	const char *name;	   /* the rule's; NULL */
	const char *actor;	   /* "uid 0", "node till-lyon", "visitor 203.0.113.5" */
	const char *detail;	   /* NULL: nothing more to say */
};

struct audit; /* opaque */

/* `dir` is the state folder, stays the caller's. A line that a crash cut off is taken away. 0 or a negative errno.
 * `keep_s` 0: for ever, as far as AUDIT_FILE_MAX allows. */
int audit_open(struct audit **out, int dir, uint64_t keep_s, uint64_t unix_s);
/* Another retention, which the next audit_tick() brings about. */
void audit_keep(struct audit *a, uint64_t keep_s);
void audit_close(struct audit *a); /* NULL is allowed */
/* Of the events that others can cause at will (of tokens used and guessed, leases, refused visits and API calls) only so
 * many an hour are written, the rest is counted. A failure is logged, nothing else: what was done is done. `a` NULL: nothing
 * is written. */
void audit_write(struct audit *a, uint64_t unix_s, const struct audit_entry *e);
/* Those since then, oldest first; of more than AUDIT_LIST_MAX the newest. {"schema": "p2pd.portmap.audit/1", "entries":
 * [...], "more": true if older ones were left out}. 0 with a new reference, or a negative errno: -ENOENT for NULL. */
int audit_list(struct audit *a, uint64_t since_unix_s, struct json_t **out);
/* Takes away what is older than the retention. To be called now and then (each minute will do): it works when due. NULL is
 * allowed. */
void audit_tick(struct audit *a, uint64_t unix_s);

#endif
