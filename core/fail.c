#include "core/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int out = STDERR_FILENO;

void fail_to(int fd)
{
	out = fd;
}

int fail(enum exit_code code, const char *fmt, ...)
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
