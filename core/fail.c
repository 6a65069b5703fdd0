#include "core/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int out = STDERR_FILENO;

void fail_to(int fd)
{
	out = fd;
}

int fail_with(enum exit_code code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* What the hub or a peer said may be part of it, and must not reach a terminal as control characters. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	dprintf(out, "%s: %s\n", program_invocation_short_name, text);
	return code;
}

static const char *const words[] = { "ok",	  "failed",   "usage",	"no-daemon", "not-joined",
				     "not-found", "conflict", "denied", "timeout" };

const char *fail_word(enum exit_code code)
{
	return words[code];
}

enum exit_code fail_code(const char *word)
{
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(word, words[i]))
			return i;
	return EXIT_FAILED;
}
