/* Says on a terminal what is being waited for, on a line that is wiped again. Nowhere else. */
#ifndef P2PD_APPS_NATCHECK_PROGRESS_H
#define P2PD_APPS_NATCHECK_PROGRESS_H

#include <stdint.h>

#include "apps/natcheck/check.h"

void progress_checking(const struct check *c);
void progress_lifetime(const struct lifetime *l);
/* --watch waits for the next check. */
void progress_watching(long interval_s);
void progress_end(void);

/* How long the measurement of a lifetime will still take, at worst. Pure. */
uint32_t progress_lifetime_left_s(const struct lifetime *l);

#endif
