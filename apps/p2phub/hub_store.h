/* The hub's store as the commands want it: opened with words for a person. */
#ifndef P2PD_APPS_P2PHUB_HUB_STORE_H
#define P2PD_APPS_P2PHUB_HUB_STORE_H

#include "apps/p2phub/hub_data.h"
#include "core/fail.h"
#include "relay/store.h"

/* The store of the data folder, which must be there; the hub may run. EXIT_OK, or another code after a line on stderr. */
int hub_store_open(struct store **out, const char *data);
/* The same code for an error of store.h; prints `why`. */
int hub_store_fail(int error, const char *why);
/* Writes to its audit log what was done by who is at this machine. Says so when that fails. */
void hub_store_audit(struct store *s, const char *action, const char *object);

#endif
