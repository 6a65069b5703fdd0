/* The rules of this node, on disk before anybody hears of a change; removed ones stay as tombstones for BOOK_KEEP_S. Also
 * the counts, kept over restarts. One JSON file, "forwards.json", replaced whole (core/file). No clock of its own. */
#ifndef P2PD_APPS_P2PD_FORWARD_BOOK_H
#define P2PD_APPS_P2PD_FORWARD_BOOK_H

#include "apps/p2pd/forward/rule.h"
#include "core/crypto.h"

#define BOOK_FILE "forwards.json"

enum {
	BOOK_RULES_MAX =
		1024, /* tombstones among them: where there is no room, the oldest of those gives way */
	BOOK_KEEP_S = 30 * 86400,
	BOOK_FILE_MAX = 8 << 20,
};

struct book; /* opaque */

/* `dir` is the state folder (core/file), stays the caller's. 0; -EBADMSG: the file is spoilt (the log says where it was put
 * aside, so that the next call begins an empty book); or another negative errno. */
int book_open(struct book **out, int dir);
void book_close(struct book *b);
size_t book_count(const struct book *b);
/* In the order of making, tombstones among them (removed_at). Valid until the next change. */
const struct rule *book_at(const struct book *b, size_t i);
/* By forward_id or, where only one living rule has it, name. NULL: none. */
const struct rule *book_find(const struct book *b, const char *id_or_name);
const struct rule *book_by_id(const struct book *b, const uint8_t id[static FORWARD_ID]);
/* The living rule that overlaps with `r`, itself left out; NULL: none. */
const struct rule *book_conflict(const struct book *b, const struct rule *r);

/* Each is on disk when it returns 0; on any error nothing has changed. -EEXIST: book_conflict(); -ENOENT: no such rule, or
 * not a living one; -E2BIG: no room for more; or what a write may return (-ENOSPC: the disk is full). Rules were checked
 * by the caller: -EINVAL for one that does not hold. What is so already is not written anew. */
/* Gives it id and times. `force`: those that overlap are removed. */
int book_add(struct book *b, struct rule *r, bool force, uint64_t unix_s, struct rng *rng);
/* The living rule of that id; its times stay its own. */
int book_set(struct book *b, const struct rule *r, bool force, uint64_t unix_s);
int book_pause(struct book *b, const uint8_t id[static FORWARD_ID], bool paused, uint64_t unix_s);
int book_remove(struct book *b, const uint8_t id[static FORWARD_ID], uint64_t unix_s);
/* A tombstone lives again; its ports may have been taken since. */
int book_restore(struct book *b, const uint8_t id[static FORWARD_ID], uint64_t unix_s);
/* Forgets tombstones that are old enough. True if there were any. */
bool book_prune(struct book *b, uint64_t unix_s);
/* Several changes, on disk together or not at all: begin, then any of the above, which write nothing now and (without
 * `force`) look for no overlaps, so that two rules may swap their ports; then commit or roll back. Commit looks for them
 * all, -EEXIST, and returns the first error of any change; on an error it has rolled back. */
void book_begin(struct book *b);
int book_commit(struct book *b);
void book_rollback(struct book *b);

/* Counts, kept over restarts; written with the next change, or by book_save(). `connections` is not kept; `last_ms` as it is
 * given, so let it be of a clock that lasts: Unix milliseconds. */
void book_keep_stats(struct book *b, const uint8_t id[static FORWARD_ID], const struct forward_stats *stats);
/* False for an unknown id; zeros for one that has none yet. */
bool book_stats(const struct book *b, const uint8_t id[static FORWARD_ID], struct forward_stats *out);
int book_save(struct book *b);
/* The same, where nobody waits for it and the loop must not: book_draft() on the loop, book_draft_write() on a work thread,
 * book_draft_keep() on the loop again, which leaves all as it is when the book was written meanwhile. NULL: without memory,
 * or while a change is under way; one at a time. */
struct book_draft *book_draft(const struct book *b);
void book_draft_write(struct book_draft *d);
/* Frees it. 0 or why it could not be written; not written at all (`left_out`): 0. */
int book_draft_keep(struct book *b, struct book_draft *d, bool left_out);

#endif
