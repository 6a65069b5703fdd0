#include "apps/p2phub/relay_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/crypto.h"
#include "core/fail.h"

/* -EPERM: it is another's, or others may read it. */
static int check_owner(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_mode & 077 || (st.st_uid != geteuid() && st.st_uid != 0) ? -EPERM : 0;
}

/* The text, without the line feed at its end; its length or a negative errno. */
static ssize_t read_text(const char *path, char text[static RELAY_KEY_TEXT_MAX + 2])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -errno : check_owner(fd);

	if (n == 0) {
		n = read(fd, text, RELAY_KEY_TEXT_MAX + 2);
		n = n < 0 ? -errno : n;
	}
	if (fd >= 0)
		close(fd);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	return n;
}

int relay_key_read(uint8_t key[static RELAY_KEY], const char *path, char why[static RELAY_KEY_WHY])
{
	static const char label[] = "p2pd1/relay-key";
	char text[RELAY_KEY_TEXT_MAX + 2];
	ssize_t n = read_text(path, text);

	if (n == -EPERM)
		snprintf(why, RELAY_KEY_WHY, "%s: it is another user's, or others may read it: chmod 600 %s",
			 path, path);
	else if (n < 0)
		snprintf(why, RELAY_KEY_WHY, "%s: %s", path, strerror((int)-n));
	else if (n < RELAY_KEY_TEXT_MIN || n > RELAY_KEY_TEXT_MAX)
		snprintf(why, RELAY_KEY_WHY,
			 "%s: the secret of hub and relays has %d to %d characters: `p2pd keygen > %s` makes "
			 "one",
			 path, RELAY_KEY_TEXT_MIN, RELAY_KEY_TEXT_MAX, path);
	else
		crypto_blake2s(key, RELAY_KEY, (const uint8_t *)label, sizeof label - 1,
			       &(struct part) { text, (size_t)n }, 1);
	crypto_wipe(text, sizeof text);
	if (n == -EPERM || n == -EACCES)
		return EXIT_DENIED;
	return n < RELAY_KEY_TEXT_MIN || n > RELAY_KEY_TEXT_MAX ? EXIT_FAILED : EXIT_OK;
}
