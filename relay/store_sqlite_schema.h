/* The store's tables, in versions: each knows the way up to it and the way down from it. */
#ifndef P2PD_RELAY_STORE_SQLITE_SCHEMA_H
#define P2PD_RELAY_STORE_SQLITE_SCHEMA_H

#include "relay/store_sqlite_db.h"

enum { STORE_SCHEMA = 2 }; /* the newest */

/* Checks that the file is a store, whole, and of a version that is known; a new file is well. 0, or a negative errno with
 * a sentence that names `path`. */
int store_schema_check(struct store_db *d, const char *path, char why[static STORE_WHY]);
/* Brings it to `version`, up or down, in one transaction. 0 or a negative errno. */
int store_schema_move(struct store_db *d, unsigned version);

#endif
