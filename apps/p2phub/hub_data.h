/* What a hub keeps in its data folder: the lock of the process that serves, the TLS key that it made, and where it can
 * be reached, for `p2phub url`. */
#ifndef P2PD_APPS_P2PHUB_HUB_DATA_H
#define P2PD_APPS_P2PHUB_HUB_DATA_H

#include "core/tls_key.h"
#include "relay/hub_url.h"

/* Paths in the data folder: the store, the control socket, and where the API puts backups. */
enum { HUB_DATA_PATH = 4096 };
#define HUB_DATA_STORE	 "hub.db"
#define HUB_DATA_LOCK	 "lock"
#define HUB_DATA_SOCKET	 "hub.sock"
#define HUB_DATA_BACKUPS "backups"
/* 0 or -ENAMETOOLONG. */
int hub_data_path(char out[static HUB_DATA_PATH], const char *data, const char *name);
/* Who is root goes on as the owner of the folder, so that files made in it are the hub's. 0 or a negative errno; 0 if there
 * is no folder yet. */
int hub_data_as_owner(const char *path);
/* Makes the folder. A descriptor, or a negative errno. */
int hub_data_open(const char *path);
/* A descriptor to keep, -EBUSY when another process serves, or another negative errno. */
int hub_data_lock(int dir);
/* The key of the folder, made at the first call, with a certificate that is new at each call: so it never runs out while
 * the pin stays. 0, -EBADMSG for a damaged key, or another negative errno. */
int hub_data_key(int dir, struct tls_key *out);
/* The URL as it was served; its host is "" if none was given and any address may do. */
int hub_data_keep_url(int dir, const struct hub_url *url);
/* The same, for root too when the hub runs as a user of its own: a URL is no secret. Makes no folder. 0, -ENOENT when none
 * was served from here, -EBADMSG, or another negative errno. */
int hub_data_url(const char *path, struct hub_url *url);
/* The first address of this machine that others might reach: IPv4 first, no loopback, no link-local. 0 or -ENOENT. */
int hub_data_first_address(char host[static HUB_URL_HOST_MAX + 1]);

#endif
