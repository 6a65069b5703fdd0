/* What follows from a check for a person: the kind of NAT in one sentence, and what to change. */
#ifndef P2PD_APPS_NATCHECK_HINTS_H
#define P2PD_APPS_NATCHECK_HINTS_H

#include "apps/natcheck/check.h"

enum { HINTS_MAX = 5 };

/* One or two sentences. */
const char *hints_headline(const struct check *c);
/* What would help, the best first. Each may hold line breaks. How many. */
size_t hints_list(const struct check *c, const char *out[static HINTS_MAX]);

#endif
