/* Tells a person, or a program, what natcheck found. */
#ifndef P2PD_APPS_NATCHECK_REPORT_H
#define P2PD_APPS_NATCHECK_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "apps/natcheck/check.h"

void report_text(const struct check *c, FILE *out);
/* {"schema": "natcheck/1", ...}: every key of the schema is there, with "unknown" for what was not found out. A new
 * reference, NULL without memory. */
json_t *report_json(const struct check *c);

#endif
