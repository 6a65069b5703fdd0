/* What the parts of the store share of an open one. For store_sqlite*.c. */
#ifndef P2PD_RELAY_STORE_SQLITE_INTERNAL_H
#define P2PD_RELAY_STORE_SQLITE_INTERNAL_H

#include "relay/store_sqlite_db.h"

/* The connection that reads, of the owner's thread. */
struct store_db *store_reader(struct store *s);
/* Opens the file, checks it and brings its schema up to date. As store_open(). */
int store_db_ready(struct store_db *d, const char *path, enum store_db_mode mode, char why[static STORE_WHY]);

#endif
