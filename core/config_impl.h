/* What the files of `config` share, and nobody else includes. */
#ifndef P2PD_CORE_CONFIG_IMPL_H
#define P2PD_CORE_CONFIG_IMPL_H

#include "core/config.h"

enum { CONFIG_TAKES = 192 };

/* "a number from 1 to 10", to follow "KEY takes ". Returns `out`. */
const char *config_takes(const struct config_entry *e, char out[static CONFIG_TAKES]);
/* Empties a list, to be filled anew. */
void config_clear(const struct config_entry *e, void *base);

#endif
