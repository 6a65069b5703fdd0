/* Whom --against names: what is known of the NAT at the other end. */
#ifndef P2PD_APPS_NATCHECK_AGAINST_H
#define P2PD_APPS_NATCHECK_AGAINST_H

#include "core/verdict.h"
#include "nat/technique.h"

enum { AGAINST_NAME_MAX = 64, AGAINST_TYPES = 4 };

struct against {
	char name[AGAINST_NAME_MAX];
	struct verdict nat;
};

/* "nat1" to "nat4" and "open"; "file:PATH", a report of `natcheck --json` from there; else the name of a peer of the p2pd
 * that listens on `socket`. 0, or the exit code after a line on stderr. */
int against_find(struct against *out, const char *what, const char *socket);
/* The peer `name` in what `p2pd status --json` says. Ends as against_find() does. */
int against_peer(struct against *out, const char *status, const char *name);
/* The types that are always predicted: nat1 to nat4. */
void against_types(struct against out[static AGAINST_TYPES]);
/* What a node behind `ours` may expect there. */
struct technique_plan against_plan(const struct verdict *ours, const struct against *theirs);

#endif
