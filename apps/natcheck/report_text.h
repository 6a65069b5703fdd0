/* Tells a check to a person: what it is, what it means, what to change. */
#ifndef P2PD_APPS_NATCHECK_REPORT_TEXT_H
#define P2PD_APPS_NATCHECK_REPORT_TEXT_H

#include <stdio.h>

#include "apps/natcheck/against.h"
#include "apps/natcheck/check.h"

/* With predictions against `others`. */
void report_text(const struct check *c, const struct against *others, size_t count, FILE *out);

#endif
