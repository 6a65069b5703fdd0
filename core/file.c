#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int close_with(int fd, int rc)
{
	close(fd);
	return rc;
}

static bool name_is_valid(const char *name)
{
	return *name && strlen(name) < FILE_NAME_CAP && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

/* So that a new folder is still there after a power loss. A parent that cannot be opened is not ours to care for. */
static void sync_parent(int dir)
{
	int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent < 0)
		return;
	fsync(parent);
	close(parent);
}

int file_open_dir(const char *path)
{
	struct stat st;
	bool made = mkdir(path, 0700) == 0;

	if (!made && errno != EEXIST)
		return -errno;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (fstat(dir, &st))
		return close_with(dir, -errno);
	if ((st.st_uid != geteuid() && st.st_uid != 0) || st.st_mode & (S_IWGRP | S_IWOTH))
		return close_with(dir, -EPERM);
	if (made)
		sync_parent(dir);
	return dir;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

static int write_temporary(int dir, const char *name, const void *data, size_t len)
{
	/* One that a crash left behind: it was never the file. */
	if (unlinkat(dir, name, 0) && errno != ENOENT)
		return -errno;
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int rc = write_all(fd, data, len);
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

int file_write(int dir, const char *name, const void *data, size_t len)
{
	char temporary[FILE_NAME_CAP + 8];

	if (!name_is_valid(name))
		return -EINVAL;
	snprintf(temporary, sizeof temporary, ".%s.tmp", name);
	int rc = write_temporary(dir, temporary, data, len);
	if (!rc && renameat(dir, temporary, dir, name))
		rc = -errno;
	if (rc) {
		unlinkat(dir, temporary, 0);
		return rc;
	}
	return fsync(dir) ? -errno : 0;
}

static int prepared_name(const char *name, char out[static FILE_NAME_CAP + 8])
{
	snprintf(out, FILE_NAME_CAP + 8, ".%s.next", name);
	return name_is_valid(name) ? 0 : -EINVAL;
}

int file_prepare(int dir, const char *name, const void *data, size_t len)
{
	char next[FILE_NAME_CAP + 8];
	int rc = prepared_name(name, next);

	if (!rc && (rc = write_temporary(dir, next, data, len)))
		unlinkat(dir, next, 0);
	return rc;
}

int file_adopt(int dir, const char *name)
{
	char next[FILE_NAME_CAP + 8];
	int rc = prepared_name(name, next);

	return !rc && renameat(dir, next, dir, name) ? -errno : rc;
}

void file_forget(int dir, const char *name)
{
	char next[FILE_NAME_CAP + 8];

	if (!prepared_name(name, next))
		unlinkat(dir, next, 0);
}

static ssize_t read_all(int fd, uint8_t *out, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, out + got, len - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int check_private(int fd, size_t cap, size_t *size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IRWXG | S_IRWXO))
		return -EPERM;
	*size = (size_t)st.st_size;
	return *size > cap ? -EFBIG : 0;
}

ssize_t file_read(int dir, const char *name, void *out, size_t cap)
{
	size_t size = 0;

	if (!name_is_valid(name))
		return -EINVAL;
	/* O_NONBLOCK: a pipe put in its place must not make the daemon wait. */
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t rc = check_private(fd, cap, &size);
	if (!rc)
		rc = read_all(fd, out, size);
	close(fd);
	return rc;
}

static const char *path_of(int dir, const char *name, char out[static FILE_PATH])
{
	char link[32], folder[FILE_PATH];

	snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
	ssize_t len = readlink(link, folder, sizeof folder - 1);
	if (len < 0 || snprintf(out, FILE_PATH, "%.*s/%s", (int)len, folder, name) >= FILE_PATH)
		snprintf(out, FILE_PATH, "%.*s", FILE_NAME_CAP, name);
	return out;
}

const char *file_why(int dir, const char *name, int error, char out[static FILE_WHY])
{
	char path[FILE_PATH];
	struct stat st;
	bool judged = (error == -EPERM || error == -ELOOP) &&
		      fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;

	path_of(dir, name, path);
	if (judged && !S_ISREG(st.st_mode))
		snprintf(out, FILE_WHY, "%s is no plain file: put another in its place, or take it away",
			 path);
	else if (judged && st.st_uid != geteuid())
		snprintf(out, FILE_WHY, "%s belongs to uid %u, not to this user: `chown %u %s`", path,
			 (unsigned)st.st_uid, (unsigned)geteuid(), path);
	else if (judged && st.st_mode & (S_IRWXG | S_IRWXO))
		snprintf(out, FILE_WHY, "%s has mode %04o, and others must not get at it: `chmod 600 %s`",
			 path, (unsigned)st.st_mode & 07777, path);
	else
		snprintf(out, FILE_WHY, "%s: %s", path, strerror(-error));
	return out;
}

static void name_aside(const char *name, unsigned number, char out[static FILE_NAME_CAP])
{
	char text[16] = "";

	if (number > 1)
		snprintf(text, sizeof text, ".%u", number);
	snprintf(out, FILE_NAME_CAP, "%.96s.spoilt%s", name, text);
}

int file_put_aside(int dir, const char *name, char aside[static FILE_NAME_CAP])
{
	struct stat st;
	unsigned number = 1;

	if (!name_is_valid(name))
		return -EINVAL;
	do {
		name_aside(name, number, aside);
	} while (fstatat(dir, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 && ++number <= FILE_ASIDE_MAX);
	return renameat(dir, name, dir, aside) || fsync(dir) ? -errno : 0;
}

int file_remove(int dir, const char *name)
{
	if (!name_is_valid(name))
		return -EINVAL;
	if (unlinkat(dir, name, 0) || fsync(dir))
		return -errno;
	return 0;
}

int file_lock(int dir, const char *name)
{
	if (!name_is_valid(name))
		return -EINVAL;
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return close_with(fd, errno == EWOULDBLOCK ? -EBUSY : -errno);
	return fd;
}
