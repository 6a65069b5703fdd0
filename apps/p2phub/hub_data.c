#include "apps/p2phub/hub_data.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/addr.h"
#include "core/file.h"

static const char key_file[] = "tls.key", url_file[] = "url", any_host[] = "any.invalid";

int hub_data_path(char out[static HUB_DATA_PATH], const char *data, const char *name)
{
	int len = snprintf(out, HUB_DATA_PATH, "%s/%s", data, name);

	return len < HUB_DATA_PATH ? 0 : -ENAMETOOLONG;
}

int hub_data_open(const char *path)
{
	return file_open_dir(path);
}

int hub_data_store(char out[static HUB_DATA_PATH], const char *data)
{
	struct stat folder, file;
	int rc = hub_data_path(out, data, HUB_DATA_STORE);

	if (rc)
		return rc;
	if (geteuid() == 0 && stat(data, &folder) == 0 && folder.st_uid != 0) {
		if (lstat(out, &file) != 0)
			return -errno;
		return S_ISREG(file.st_mode) && file.st_uid == folder.st_uid ? 0 : -EPERM;
	}
	int dir = hub_data_open(data);
	if (dir >= 0)
		close(dir);
	return dir < 0 ? dir : 0;
}

int hub_data_lock(int dir)
{
	return file_lock(dir, HUB_DATA_LOCK);
}

int hub_data_key(int dir, struct tls_key *out)
{
	return tls_key_kept(out, dir, key_file);
}

int hub_data_keep_url(int dir, const struct hub_url *url)
{
	struct hub_url u = *url;
	char text[HUB_URL_TEXT];

	if (!*u.host)
		strcpy(u.host, any_host);
	hub_url_format(&u, text);
	return file_write(dir, url_file, text, strlen(text));
}

static ssize_t read_url_file(const char *path, void *out, size_t cap)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = dir < 0 ? -1 : openat(dir, url_file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, out, cap);
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return len < 0 ? -error : len;
}

int hub_data_url(const char *path, struct hub_url *url)
{
	char text[HUB_URL_TEXT + 1];
	ssize_t len = read_url_file(path, text, sizeof text - 1);

	if (len < 0)
		return (int)len;
	text[len] = 0;
	if (hub_url_parse(url, text) != 0)
		return -EBADMSG;
	if (!strcmp(url->host, any_host))
		memset(url->host, 0, sizeof url->host);
	return 0;
}

static bool is_reachable(const struct ifaddrs *i, struct addr *a)
{
	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
		return false;
	*a = addr_from_sockaddr(i->ifa_addr);
	return a->family != ADDR_NONE && !addr_is_loopback(a) && !addr_is_link_local(a);
}

int hub_data_first_address(char host[static HUB_URL_HOST_MAX + 1])
{
	struct ifaddrs *all;
	struct addr a, best = { 0 };
	char text[ADDR_TEXT_MAX];

	if (getifaddrs(&all) != 0)
		return -ENOENT;
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		if (is_reachable(i, &a) &&
		    (best.family == ADDR_NONE || (best.family == ADDR_V6 && a.family == ADDR_V4)))
			best = a;
	freeifaddrs(all);
	if (best.family == ADDR_NONE)
		return -ENOENT;
	snprintf(host, HUB_URL_HOST_MAX + 1, "%s", addr_format_ip(&best, text));
	return 0;
}
