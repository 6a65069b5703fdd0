/* Small state files, safe against crash and power loss: written to a 0600 temporary in the same folder, fsync,
 * rename, fsync of the folder. Opened without following links; a key file of another owner or readable by others is
 * refused. */
#ifndef P2PD_CORE_FILE_H
#define P2PD_CORE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	FILE_NAME_CAP = 128,
	FILE_ASIDE_MAX = 99, /* spoilt files of one name that are kept; then the last gives way */
	FILE_PATH = 512,     /* of a longer path only the name is told */
	FILE_WHY = 2 * FILE_PATH + 128,
};

/* Opens (and makes, 0700) the folder. A file descriptor or a negative errno; -EPERM when somebody else could put
 * files there. */
int file_open_dir(const char *path);
/* 0 or a negative errno; the old content stays on any failure before the last fsync of the folder. A name is one
 * path component (else -EINVAL). One writer per folder at a time: hold file_lock. */
int file_write(int dir, const char *name, const void *data, size_t len);
/* The same in two steps, for who must not wait: file_prepare() on a work thread writes a file beside it, which is on disk when
 * it returns 0; file_adopt() puts that in its place, whole, but it may be the old one after a power loss; file_forget() takes
 * it away. One at a time of each name; file_write() may come between. */
int file_prepare(int dir, const char *name, const void *data, size_t len);
int file_adopt(int dir, const char *name);
void file_forget(int dir, const char *name);
/* The length read, -ENOENT, -EFBIG when it does not fit, -EPERM for a wrong owner or mode, -ELOOP for a link. */
ssize_t file_read(int dir, const char *name, void *out, size_t cap);
/* Why file_read() refused it: the file's path, what is wrong with it, and what to do. Returns `out`. */
const char *file_why(int dir, const char *name, int error, char out[static FILE_WHY]);
/* Renames a file that is spoilt to NAME.spoilt, NAME.spoilt.2 and so on, so that no earlier one is lost. 0 with the new name,
 * or a negative errno. */
int file_put_aside(int dir, const char *name, char aside[static FILE_NAME_CAP]);
int file_remove(int dir, const char *name);
/* An exclusive lock that ends with the process: descriptor, or -EBUSY when another process has it. */
int file_lock(int dir, const char *name);

#endif
