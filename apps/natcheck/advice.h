/* What follows from a check for a person: the kind of NAT in one sentence, and what to change. */
#ifndef P2PD_APPS_NATCHECK_ADVICE_H
#define P2PD_APPS_NATCHECK_ADVICE_H

#include "apps/natcheck/check.h"

enum { ADVICE_MAX = 5 };

/* One or two sentences. */
const char *advice_headline(const struct check *c);
/* What would help, the best first. Each may hold line breaks. How many. */
size_t advice_list(const struct check *c, const char *out[static ADVICE_MAX]);

#endif
