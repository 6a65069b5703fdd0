/* Rules declared in a file (`p2pd portmap apply -f`, or p2pd.yaml), and the way to them from the rules that there are. YAML,
 * with the names and values of the command line; what is not said has its default, but a pause and an end that are not
 * declared stay: a rule that somebody closed is not opened by a file that does not speak of it.
 *
 *   forwards:                         # its old name in a file of rules alone, portmap, is read, too
 *     - name: till-lyon-3306          # needed: a rule of the file and one of the book are the same by their name
 *       local: 192.168.50.10:3306
 *       scope: public                 # proto, to, via, public_port, domain, max_conn, source_ip, paused as in rule.h
 *       via: gate
 *       allow: [198.51.100.0/24, token]
 *       rate: 10mbit                  # or none
 *       idle: 90s                     # or never
 *       expires: 2027-01-31           # or 2027-01-31T18:00:00Z, or never
 *       force: yes                    # a public rule for everybody, on purpose
 *
 * In p2pd.yaml the other settings are others' to read. One error refuses the whole file: unknown and repeated keys, wrong values, rules that do not hold, two of one name, two that overlap, anchors, aliases,
 * tags, a second document. */
#ifndef P2PD_APPS_P2PD_FORWARD_POLICY_H
#define P2PD_APPS_P2PD_FORWARD_POLICY_H

#include "apps/p2pd/forward/book.h"

enum { POLICY_TEXT_MAX = 1 << 20 };
enum policy_file { POLICY_RULES, POLICY_SETTINGS }; /* a file of rules alone; p2pd.yaml */

struct policy_rule {
	struct rule rule;      /* holds (rule_check) */
	bool says_paused;      /* else rule.paused means nothing */
	bool says_expires;     /* else rule.expires_at */
	bool forced;	       /* it may be open to everybody */
	unsigned line, column; /* from 1 */
};

struct policy {
	struct policy_rule *rules;
	size_t count;
};

struct policy_error {
	unsigned line, column; /* from 1; 0: of no place */
	char why[RULE_WHY];
};

/* 0 and *p, to be freed; -EINVAL or -ENOMEM with *error, and nothing to be freed. Pure. A file without the list: none in
 * p2pd.yaml, else an error, for an empty file is rather a lost one than the wish to have no rules. */
int policy_read(struct policy *p, enum policy_file file, const char *text, size_t len,
		struct policy_error *error);
void policy_free(struct policy *p);
/* Whether both say the same, but for the places where they say it. */
bool policy_same(const struct policy *a, const struct policy *b);
/* Makes the book so, all at once or not at all. Living rules that the file does not name are removed: by p2pd.yaml those that
 * it declared before (rule.declared), by a file of rules the others. A rule of a name that p2pd.yaml declares becomes its
 * own. With `dry_run` it only tells what would be. 0 and *changes, a new reference, [{"op": "add|set|remove|keep",
 * "forward_id" (not of an add that is not made), "name", "fields": [{"field": "max_conn", "old": 200, "new": 50}, ...] (of a
 * set)}, ...]; or an error of book_commit(). */
int policy_apply(struct book *b, const struct policy *p, enum policy_file file, bool dry_run, uint64_t unix_s,
		 struct rng *rng, struct json_t **changes);
/* After -EEXIST: a rule of the file, and one of the book that would have stayed and has a port of it. False: none. */
bool policy_clash(const struct book *b, const struct policy *p, enum policy_file file,
		  const struct policy_rule **mine, const struct rule **other);

#endif
