#include "core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = { "error", "warn", "info", "debug" };

/* Levels may be set anew while threads log. What nobody wants is dropped by the one look at `most`; the lock is taken for
 * lines that are likely to be written. */
struct levels {
	enum log_level other; /* of all modules that are not named */
	struct module {
		char name[LOG_MODULE_NAME];
		enum log_level level;
	} modules[LOG_MODULES];
	unsigned count;
};
static struct levels levels = { .other = LOG_LVL_INFO };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic enum log_level most = LOG_LVL_INFO;
static _Atomic enum log_format line_format = LOG_PLAIN;

/* ---- levels */

static void use(const struct levels *l)
{
	enum log_level highest = l->other;

	for (unsigned i = 0; i < l->count; i++)
		highest = l->modules[i].level > highest ? l->modules[i].level : highest;
	pthread_mutex_lock(&lock);
	levels = *l;
	pthread_mutex_unlock(&lock);
	most = highest;
}

void log_set_level(enum log_level level)
{
	use(&(struct levels) { .other = level });
}

static int level_of(const char *name, size_t len, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i]) == len && !memcmp(name, names[i], len)) {
			*out = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* The module's entry, made when there is none. NULL: that is no name, or there are too many. */
static struct module *module_of(struct levels *l, const char *name, size_t len)
{
	if (!len || len >= LOG_MODULE_NAME || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") < len)
		return NULL;
	for (unsigned i = 0; i < l->count; i++)
		if (strlen(l->modules[i].name) == len && !memcmp(l->modules[i].name, name, len))
			return &l->modules[i];
	if (l->count == LOG_MODULES)
		return NULL;
	memcpy(l->modules[l->count].name, name, len);
	return &l->modules[l->count++];
}

static int read_word(struct levels *l, const char *word, size_t len)
{
	const char *equals = memchr(word, '=', len);

	if (!equals)
		return level_of(word, len, &l->other);
	struct module *m = module_of(l, word, (size_t)(equals - word));
	return m ? level_of(equals + 1, len - (size_t)(equals + 1 - word), &m->level) : -EINVAL;
}

static int read_levels(struct levels *l, const char *text)
{
	*l = (struct levels) { .other = LOG_LVL_INFO };
	for (size_t len;; text += len + 1) {
		len = strcspn(text, ",");
		if (read_word(l, text, len))
			return -EINVAL;
		if (!text[len])
			return 0;
	}
}

int log_set_levels(const char *text)
{
	struct levels l;

	if (read_levels(&l, text))
		return -EINVAL;
	use(&l);
	return 0;
}

bool log_levels_fit(const char *text)
{
	struct levels l;

	return read_levels(&l, text) == 0;
}

bool log_enabled(const char *module, enum log_level level)
{
	if (level > most)
		return false;
	pthread_mutex_lock(&lock);
	enum log_level wanted = levels.other;
	for (unsigned i = 0; i < levels.count; i++)
		if (!strcmp(levels.modules[i].name, module))
			wanted = levels.modules[i].level;
	pthread_mutex_unlock(&lock);
	return level <= wanted;
}

/* ---- lines */

/* The length of the character at `p`, which a NUL ends; 0: that is no UTF-8 (RFC 3629 section 4), or a control character
 * of two bytes (U+0080 to U+009F). */
static size_t character(const unsigned char *p)
{
	if (*p < 0x80)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	size_t len = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	unsigned char low = *p == 0xc2 || *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
	unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] >> 6 != 2)
			return 0;
	return len;
}

static bool is_control(unsigned char c)
{
	return c < ' ' || c == 127;
}

/* Both write what stands for the one character that is at `p`, `len` bytes of it, 0 for a bad one. */
static size_t put_text(char *out, const char *p, size_t len)
{
	if (!len || is_control((unsigned char)*p)) {
		*out = '?';
		return 1;
	}
	memcpy(out, p, len);
	return len;
}

static size_t put_json(char *out, const char *p, size_t len)
{
	if (!len)
		return (size_t)sprintf(out, "\\ufffd");
	if (is_control((unsigned char)*p))
		return (size_t)sprintf(out, "\\u%04x", (unsigned)(unsigned char)*p);
	if (*p == '"' || *p == '\\')
		*out++ = '\\';
	memcpy(out, p, len);
	return len + (*p == '"' || *p == '\\');
}

static void put_time(char out[static 32], uint64_t unix_ms)
{
	time_t s = (time_t)(unix_ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	size_t len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + len, 32 - len, ".%03uZ", (unsigned)(unix_ms % 1000));
}

size_t log_format_line(char out[static LOG_LINE_MAX], enum log_format format, uint64_t unix_ms,
		       enum log_level level, const char *module, const char *message)
{
	const bool json = format == LOG_JSON;
	char time[32] = "";
	size_t at, len;

	if (json || (format == LOG_TEXT && unix_ms))
		put_time(time, unix_ms);
	if (json)
		at = (size_t)sprintf(out,
				     "{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%.32s\",\"message\":\"",
				     time, names[level], module);
	else
		at = (size_t)sprintf(out, "%s%s%s %.32s: ", time, *time ? " " : "", names[level], module);
	for (const char *p = message; *p && p - message < LOG_MESSAGE_MAX; p += len ? len : 1) {
		len = character((const unsigned char *)p);
		at += json ? put_json(out + at, p, len) : put_text(out + at, p, len);
	}
	at += (size_t)sprintf(out + at, json ? "\"}\n" : "\n");
	return at;
}

/* systemd.exec(5), JOURNAL_STREAM: "device:inode" of the journal's socket. A child may have another stderr. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char text[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(stream, text);
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* One write a line, so that threads do not mix theirs. */
static void print_line(enum log_level level, const char *module, const char *fmt, va_list ap)
{
	const enum log_format format = line_format;
	char message[LOG_MESSAGE_MAX + 1], line[LOG_LINE_MAX];

	vsnprintf(message, sizeof message, fmt, ap);
	size_t len = log_format_line(line, format, format == LOG_TEXT && is_journal() ? 0 : wall_ms(), level,
				     module, message);
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* there is nobody to tell */
}

void log_set_format(enum log_format format)
{
	line_format = format;
}

int log_set_format_by_name(const char *name)
{
	bool json = !strcmp(name, "json");

	if (!json && strcmp(name, "text") != 0)
		return -EINVAL;
	log_set_format(json ? LOG_JSON : LOG_TEXT);
	return 0;
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(module, level))
		return;
	va_start(ap, fmt);
	print_line(level, module, fmt, ap);
	va_end(ap);
}

void log_limited(uint64_t *last_ms, uint64_t now_ms, const char *module, const char *fmt, ...)
{
	va_list ap;

	if (most < LOG_LVL_DEBUG || (*last_ms && now_ms - *last_ms < 1000) ||
	    !log_enabled(module, LOG_LVL_DEBUG))
		return;
	*last_ms = now_ms;
	va_start(ap, fmt);
	print_line(LOG_LVL_DEBUG, module, fmt, ap);
	va_end(ap);
}
