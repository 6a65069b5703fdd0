#include "apps/p2pd/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "core/crypto.h"

enum { CTRL_C = 3 };

void secret_wipe(struct secret *s)
{
	crypto_wipe(s, sizeof *s);
}

static void strip_line_end(struct secret *s)
{
	while (s->len && (s->text[s->len - 1] == '\n' || s->text[s->len - 1] == '\r'))
		s->text[--s->len] = 0;
}

static int from_env(struct secret *s, const char *name, char *why)
{
	const char *value = getenv(name);

	if (!value) {
		snprintf(why, SECRET_WHY, "the environment has no variable '%s'", name);
		return -ENOENT;
	}
	if (strlen(value) > SECRET_MAX) {
		snprintf(why, SECRET_WHY, "the secret is longer than %d bytes", SECRET_MAX);
		return -EINVAL;
	}
	s->len = strlen(value);
	memcpy(s->text, value, s->len + 1);
	return 0;
}

/* Up to SECRET_MAX + 1 bytes, so that a longer file shows; pipes (process substitution) come in pieces. */
static ssize_t read_all(int fd, char *out)
{
	size_t have = 0;

	while (have <= SECRET_MAX) {
		ssize_t n = read(fd, out + have, SECRET_MAX + 1 - have);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int from_file(struct secret *s, const char *path, char *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : read_all(fd, s->text);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		snprintf(why, SECRET_WHY, "cannot read the secret from %s: %s", path, strerror((int)-n));
	else if (n > SECRET_MAX)
		snprintf(why, SECRET_WHY, "%s is longer than %d bytes: is it the right file?", path,
			 SECRET_MAX);
	if (n < 0 || n > SECRET_MAX)
		return n < 0 ? (int)n : -EINVAL;
	s->len = (size_t)n;
	s->text[n] = 0;
	return 0;
}

static int read_line(struct secret *s, int fd)
{
	for (;;) {
		char c;
		ssize_t n = read(fd, &c, 1);
		if (n < 0)
			return -errno;
		if (n == 0 || c == '\n')
			return 0;
		if (c == CTRL_C)
			return -EINTR;
		if (s->len == SECRET_MAX)
			return -EINVAL;
		s->text[s->len++] = c;
	}
}

/* Ctrl-C is read as a character here: as a signal it would leave the terminal without echo. */
int secret_prompt(struct secret *s, int terminal, const char *what)
{
	struct termios before, quiet;

	*s = (struct secret) { 0 };
	if (tcgetattr(terminal, &before))
		return -ENOTTY;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	dprintf(terminal, "%s: ", what);
	tcsetattr(terminal, TCSAFLUSH, &quiet);
	int ret = read_line(s, terminal);
	tcsetattr(terminal, TCSAFLUSH, &before);
	dprintf(terminal, "\n");
	s->text[s->len] = 0;
	return ret;
}

static int from_terminal(struct secret *s, const char *what, char *why)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	int ret = fd < 0 ? -ENOTTY : secret_prompt(s, fd, what);

	if (fd >= 0)
		close(fd);
	if (ret == -ENOTTY)
		snprintf(why, SECRET_WHY,
			 "no terminal to ask for the secret on: give it as file:PATH or env:NAME");
	else if (ret)
		snprintf(why, SECRET_WHY, "no secret was typed");
	return ret;
}

static int from_spec(struct secret *s, const char *spec, const char *what, char *why)
{
	if (!spec)
		return from_terminal(s, what, why);
	if (!strncmp(spec, "file:", 5))
		return from_file(s, spec + 5, why);
	if (!strncmp(spec, "env:", 4))
		return from_env(s, spec + 4, why);
	snprintf(why, SECRET_WHY,
		 "a secret on the command line can be read by every user of this machine: "
		 "write file:PATH or env:NAME");
	return -EINVAL;
}

int secret_read(struct secret *s, const char *spec, const char *what, char why[static SECRET_WHY])
{
	*s = (struct secret) { 0 };
	int ret = from_spec(s, spec, what, why);
	if (!ret)
		strip_line_end(s);
	if (!ret && !s->len) {
		snprintf(why, SECRET_WHY, "the secret is empty");
		ret = -EINVAL;
	}
	if (ret)
		secret_wipe(s);
	return ret;
}
