/* What a hub keeps across restarts: networks and nodes it saw with their last sealed records, how much it relayed, the
 * audit log, and the API's tokens. The body is SQLite (store_sqlite*.c, WAL, synchronous=FULL); nobody else knows SQL.
 *
 * Writing: what most calls take waits in memory until store_flush() writes it all in one transaction; it is durable, and
 * may be acknowledged, once a flush that began later has returned 0. A commit waits for the disk (0.2 ms to 30 ms), so a
 * hub's loop lets store_flush() run by loop_work(), every 100 ms at most; all other calls are its owner's thread's alone.
 * Only tokens are written at once. Reading: what is committed, also by other processes: `p2phub apikey` and the like work
 * while the hub runs.
 *
 * A full, read-only or failing disk: what waits goes on waiting, and is written by the first flush that succeeds. Once
 * STORE_WAITING_MAX writes wait, more are refused with -ENOSPC: callers then keep what they have.
 *
 * Times are Unix seconds of the wall clock, which may go back: nothing is ordered by them but what asks for a time, and
 * last-seen times never go back. Lists come in pages: up to `cap` of them, in the order of a key, those after a given one;
 * they return their number or a negative errno (-EIO: it does not read). */
#ifndef P2PD_RELAY_STORE_H
#define P2PD_RELAY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STORE_WHY = 512,
	STORE_RECORD_MAX = 2048,
	STORE_WAITING_MAX = 4096,
	STORE_WAITING_SPARE = 512, /* of these, for what is not to be refused: audit */
	STORE_TOKENS_MAX = 1000,
	STORE_TOKEN_HASH = 32,
};

struct store; /* opaque */

/* Opens or makes the file (0600), brings its schema up to date and checks it whole. 0, or a negative errno with `why` a
 * sentence that says what to do: -EBADMSG damaged, -EPROTO made by a newer p2phub, -EBUSY, -ENOSPC, -EROFS, -EACCES. */
int store_open(struct store **out, const char *path, char why[static STORE_WHY]);
/* Flushes. NULL is allowed. */
void store_close(struct store *s);

/* Writes what waits, and returns when it is durable: 0, or -ENOSPC (full), -EROFS, -EBUSY, -EIO and nothing of it was
 * written. One at a time; the only call that may come from another thread. */
int store_flush(struct store *s);
/* How many writes wait. */
size_t store_waiting(struct store *s);
/* How many more would be taken by calls other than store_audit_add(). */
size_t store_room(struct store *s);

/* Of the last flush; any thread. */
enum store_state { STORE_OK, STORE_FULL, STORE_READ_ONLY, STORE_BUSY, STORE_FAILING };
enum store_state store_state(const struct store *s);
const char *store_state_word(enum store_state state); /* "ok", "disk-full", "read-only", "busy", "failing" */

/* ---- networks, nodes and their records. Calls that write: 0, -ENOSPC (see above), -ENOMEM, -EINVAL. */

struct store_node {
	uint8_t netid[32], ik[32];
	bool online;			  /* when written; see store_all_gone() */
	uint64_t seq;			  /* of the record */
	size_t record_len;		  /* 0: none, and when writing: unchanged */
	uint64_t first_s, last_s;	  /* seen; when writing: last_s alone */
	uint8_t record[STORE_RECORD_MAX]; /* written by store_records() and read by store_node_seen() only */
};

struct store_network {
	uint8_t netid[32];
	uint64_t first_s, last_s;
	uint32_t nodes;
};

/* The node, and so its network, came, went or published. A record with a lower seq than the kept one is left out. */
int store_node_seen(struct store *s, const struct store_node *n);
/* The hub lives: what store_all_gone() takes for the time at which it died. */
int store_alive(struct store *s, uint64_t unix_s);
/* When it lived last; 0: that is not known. */
uint64_t store_last_alive(struct store *s);
/* At the hub's start, at once: who was online when it ended is gone since then. 0 or a negative errno. */
int store_all_gone(struct store *s);

/* `after`: NULL for the first page. In the order of netid, and of ik. */
int store_networks(struct store *s, const uint8_t *after_netid, struct store_network *out, size_t cap);
int store_nodes(struct store *s, const uint8_t netid[static 32], const uint8_t *after_ik,
		struct store_node *out, size_t cap);
struct store_cursor {
	uint64_t last_s, id;
};
/* Nodes with a record that were seen since `since_s`; who has been gone longest comes first. `cursor` is zeroed at first. */
int store_records(struct store *s, uint64_t since_s, struct store_cursor *cursor, struct store_node *out,
		  size_t cap);

/* ---- usage: bytes relayed for a node in a calendar month (quota_month()) */

struct store_usage {
	uint8_t netid[32], ik[32];
	uint32_t month;
	uint64_t bytes;
};

/* Adds u->bytes. */
int store_usage_add(struct store *s, const struct store_usage *u);
/* Of one month. `netid` NULL: of all networks, one entry each with ik zero, after `after` netid; else of its nodes, after
 * `after` ik. `after` NULL: the first page. */
int store_usage_list(struct store *s, const uint8_t *netid, uint32_t month, const uint8_t *after,
		     struct store_usage *out, size_t cap);

/* ---- audit: who did what, when, and how it ended */

struct store_audit {
	uint64_t id; /* given by the store, ascending in the order of writing */
	uint64_t time_s;
	char actor[80];	  /* "token:NAME", "root", "hub" */
	char action[40];  /* "token.create" */
	char object[160]; /* what it was done to */
	char outcome[24]; /* "ok", or why not: "denied" */
	char detail[512]; /* a JSON object, or "" */
};

struct store_audit_query {
	uint64_t after_id; /* those after it, ascending */
	bool newest;	   /* instead: those before `before_id` (0: all), descending */
	uint64_t before_id;
	uint64_t since_s, until_s; /* until 0: no end; both inclusive */
	const char *action;	   /* NULL: all */
};

int store_audit_add(struct store *s, const struct store_audit *e);
int store_audit_list(struct store *s, const struct store_audit_query *q, struct store_audit *out, size_t cap);
/* How many were refused because the disk takes nothing and too many wait. */
uint64_t store_audit_lost(const struct store *s);

/* Forgets audit entries and nodes (with their usage of past months) that are older. */
int store_prune(struct store *s, uint64_t audit_before_s, uint64_t nodes_before_s, uint32_t month_before);

/* ---- tokens of the API. The store never sees a token, but its BLAKE2b-256. A token has 256 random bits, so how long the
 * look-up by that hash takes tells nothing of use: who could choose hashes that are near to a kept one could break BLAKE2b.
 * What is found is compared once more in constant time. Whether it is revoked or over is the caller's to check. */

enum store_scope { STORE_SCOPE_READ = 1, STORE_SCOPE_ADMIN = 2 };

struct store_token {
	uint64_t id; /* given by the store, never again */
	char name[64];
	uint8_t hash[STORE_TOKEN_HASH];
	enum store_scope scope;
	uint64_t created_s, expires_s, revoked_s; /* 0: never, not */
};

/* Durable on return; waits for the disk. Writes t->id. 0, -EEXIST (a token that is not revoked has this name, or the hash is
 * known), -ENOSPC (too many tokens, or the disk), or as store_flush(). */
int store_token_add(struct store *s, struct store_token *t);
/* Durable on return. 0, -ENOENT, -EALREADY, or as store_flush(). */
int store_token_revoke(struct store *s, uint64_t id, uint64_t unix_s);
/* 0, -ENOENT, -EIO. */
int store_token_find(struct store *s, const uint8_t hash[static STORE_TOKEN_HASH], struct store_token *out);
/* In the order of id, those after `after_id`; revoked ones too. */
int store_token_list(struct store *s, uint64_t after_id, struct store_token *out, size_t cap);

/* ---- backup. These open the files themselves: any thread, any process. */

/* Writes a copy of the store at `path` as it is at this moment to the new file `to` (0600), while others write to it.
 * `schema` 0: as it is; else brought down to that version, for an older p2phub. -EEXIST: `to` is there. */
int store_backup(const char *path, const char *to, unsigned schema, char why[static STORE_WHY]);
/* Puts the backup `from` in the place of the store at `path`, which nobody may have open; what was there is kept beside it
 * as PATH.replaced. The backup is checked first, and stays. */
int store_restore(const char *path, const char *from, char why[static STORE_WHY]);

#endif
