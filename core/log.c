#include "core/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = { "error", "warn", "info", "debug" };
static _Atomic enum log_level threshold = LOG_LVL_INFO;

void log_set_level(enum log_level level)
{
	threshold = level;
}

int log_set_level_by_name(const char *name)
{
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(name, names[i])) {
			threshold = i;
			return 0;
		}
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return level <= threshold;
}

/* Control characters could come from a peer and must not reach a terminal. One write a line, so that threads do not mix
 * theirs. */
static void print_line(enum log_level level, const char *module, const char *fmt, va_list ap)
{
	char line[1088];
	int start = snprintf(line, sizeof line, "%s %s: ", names[level], module);
	size_t at = (size_t)start;

	vsnprintf(line + at, sizeof line - 1 - at, fmt, ap);
	for (; line[at]; at++)
		if ((unsigned char)line[at] < ' ' || line[at] == 127)
			line[at] = '?';
	line[at++] = '\n';
	if (write(STDERR_FILENO, line, at) < 0)
		return; /* there is nobody to tell */
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	print_line(level, module, fmt, ap);
	va_end(ap);
}

void log_limited(uint64_t *last_ms, uint64_t now_ms, const char *module, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(LOG_LVL_DEBUG) || (*last_ms && now_ms - *last_ms < 1000))
		return;
	*last_ms = now_ms;
	va_start(ap, fmt);
	print_line(LOG_LVL_DEBUG, module, fmt, ap);
	va_end(ap);
}
