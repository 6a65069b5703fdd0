/* What changed between two reports. */
#ifndef P2PD_APPS_NATCHECK_WATCH_H
#define P2PD_APPS_NATCHECK_WATCH_H

#include <jansson.h>
#include <stdio.h>

/* Prints a line "TIME KEY: OLD -> NEW" for each value that differs, without those that differ every time: round trips,
 * ports of ours, noise. How many. */
size_t watch_print_changes(const json_t *before, const json_t *after, const char *time, FILE *out);

#endif
