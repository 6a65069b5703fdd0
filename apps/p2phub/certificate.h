/* Notices that certificate and key files are others than before, by what stat() tells of them: also when a link points to
 * another file, as certbot has it, or a file was replaced by renaming. */
#ifndef P2PD_APPS_P2PHUB_CERTIFICATE_H
#define P2PD_APPS_P2PHUB_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	CERTIFICATE_CHECK_MS = 5000
}; /* two calls of stat() in that time cost nothing that could be measured */

struct certificate_stamp {
	uint64_t device, inode, size;
	int64_t seconds, nanoseconds;
};

struct certificate {
	struct certificate_stamp cert, key;
};

/* True if they differ from the last call's. To be called before the files are read: what is written while they are, shows
 * at the next call. A path may be "". */
bool certificate_changed(struct certificate *c, const char *cert_path, const char *key_path);

#endif
