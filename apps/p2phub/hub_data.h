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
/* The path of the store, for a command that may run beside the hub. Root may use the folder of a hub that runs as a user of
 * its own, but makes no file there that would not be the hub's. 0, -ENOENT: such a hub has made no store yet; -EPERM,
 * -EACCES: the folder or the file is not to be trusted, or not ours; or another negative errno. */
int hub_data_store(char out[static HUB_DATA_PATH], const char *data);
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
