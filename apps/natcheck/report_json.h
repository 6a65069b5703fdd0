/* Tells a check to a program. */
#ifndef P2PD_APPS_NATCHECK_REPORT_JSON_H
#define P2PD_APPS_NATCHECK_REPORT_JSON_H

#include <jansson.h>

#include "apps/natcheck/against.h"
#include "apps/natcheck/check.h"

/* Schema "natcheck/1", with predictions against `others`. Keys are only ever added, and are there whatever happened: what
 * is not known is "unknown". NULL without memory. */
json_t *report_json(const struct check *c, const struct against *others, size_t count);

#endif
