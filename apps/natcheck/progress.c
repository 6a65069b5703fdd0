#include "apps/natcheck/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fflush(stderr);
}

void progress_checking(const struct check *c)
{
	say("Asking %zu server address%s, a few seconds ...", c->count, c->count == 1 ? "" : "es");
}

/* Upwards, each step waits twice as long as the one before; then the interval is halved until it is small enough. */
uint32_t progress_lifetime_left_s(const struct lifetime *l)
{
	uint32_t left = 0, lo = l->alive_s, hi = l->dead_s;

	if (!hi) {
		for (uint32_t next = lo ? 2 * lo : LIFETIME_MIN_S; next < l->config.max_s; next *= 2)
			left += next;
		return left + l->config.max_s;
	}
	while (hi - lo > (l->config.precision_s ? l->config.precision_s : 1)) {
		uint32_t middle = (lo + hi) / 2;
		left += middle;
		lo = middle;
	}
	return left;
}

void progress_lifetime(const struct lifetime *l)
{
	uint32_t left = progress_lifetime_left_s(l);

	if (l->dead_s)
		say("Lifetime of a mapping: between %u and %u s; at most %u min to go ...", l->alive_s,
		    l->dead_s, left / 60 + 1);
	else if (l->alive_s)
		say("Lifetime of a mapping: at least %u s; at most %u min to go ...", l->alive_s,
		    left / 60 + 1);
	else
		say("Lifetime of a mapping: at most %u min to go ...", left / 60 + 1);
}

void progress_watching(long interval_s)
{
	say("Watching, once in %ld s; Ctrl-C ends ...", interval_s);
}

void progress_end(void)
{
	say("%s", "");
}
