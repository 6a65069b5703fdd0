#include "apps/p2pd/forward/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apps/p2pd/forward/rule.h"
#include "core/file.h"
#include "core/log.h"

enum { HOUR_S = 3600, UNIX_WITHIN = 64, TIME_TEXT = 32 };

struct flood {
	uint64_t since;		/* when the hour began */
	unsigned written, left; /* in it; and not written since the last line */
};

struct audit {
	int dir, fd;
	uint64_t keep_s;
	size_t size;
	uint64_t pruned_at;
	struct flood floods[AUDIT_EVENTS];
	bool failing; /* and the log says so */
};

/* --- The table of events */

static const struct {
	const char *name;
	unsigned hourly; /* at most so many lines; 0: all */
} events[AUDIT_EVENTS] = {
	[AUDIT_RULE_ADD] = { "rule.add" },
	[AUDIT_RULE_SET] = { "rule.set" },
	[AUDIT_RULE_PAUSE] = { "rule.pause" },
	[AUDIT_RULE_RESUME] = { "rule.resume" },
	[AUDIT_RULE_REMOVE] = { "rule.remove" },
	[AUDIT_RULE_RESTORE] = { "rule.restore" },
	[AUDIT_RULE_EXPIRE] = { "rule.expire" },
	[AUDIT_RULE_FAIL] = { "rule.fail" },
	[AUDIT_POLICY_APPLY] = { "policy.apply" },
	[AUDIT_TOKEN_NEW] = { "token.new" },
	[AUDIT_TOKEN_REVOKE] = { "token.revoke" },
	[AUDIT_TOKEN_ROTATE] = { "token.rotate" },
	[AUDIT_TOKEN_USE] = { "token.use", AUDIT_HOURLY_SOME },
	[AUDIT_TOKEN_GUESS] = { "token.guess", AUDIT_HOURLY_MAX },
	[AUDIT_LEASE_GRANT] = { "lease.grant", AUDIT_HOURLY_SOME },
	[AUDIT_LEASE_REFUSE] = { "lease.refuse", AUDIT_HOURLY_MAX },
	[AUDIT_LEASE_RELEASE] = { "lease.release", AUDIT_HOURLY_SOME },
	[AUDIT_API_TOKEN] = { "api.token" },
	[AUDIT_API_REFUSE] = { "api.refuse", AUDIT_HOURLY_MAX },
	[AUDIT_VISIT_REFUSE] = { "visit.refuse", AUDIT_HOURLY_MAX },
};

static const char *const outcomes[] = {
	[AUDIT_OK] = "ok", [AUDIT_REFUSED] = "refused", [AUDIT_FAILED] = "failed"
};

/* --- The file */

static int open_file(int dir, size_t *size)
{
	int fd = openat(dir, AUDIT_FILE, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
			0600);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    !(st.st_mode & (S_IRWXG | S_IRWXO))) {
		*size = (size_t)st.st_size;
		return fd;
	}
	close(fd);
	return -EPERM;
}

/* What follows the last line feed was being written when the process ended. */
static int cut_torn_line(int fd, size_t *size)
{
	size_t whole = *size;
	char c;

	while (whole && pread(fd, &c, 1, (off_t)whole - 1) == 1 && c != '\n')
		whole--;
	if (whole != *size && ftruncate(fd, (off_t)whole))
		return -errno;
	*size = whole;
	return 0;
}

/* What is at the file's place now is written to from now on. 0 or a negative errno: then it stays the one that is open. */
static int open_anew(struct audit *a)
{
	size_t size = 0;
	int fd = open_file(a->dir, &size);

	if (fd < 0)
		return fd;
	close(a->fd);
	a->fd = fd;
	a->size = size;
	return 0;
}

/* Log systems take a file away, or copy and then empty it. */
static void measure(struct audit *a)
{
	struct stat open, there;

	if (fstat(a->fd, &open) != 0)
		return;
	a->size = (size_t)open.st_size;
	if (fstatat(a->dir, AUDIT_FILE, &there, AT_SYMLINK_NOFOLLOW) != 0 || there.st_ino != open.st_ino ||
	    there.st_dev != open.st_dev)
		open_anew(a);
}

/* The whole file, to be freed. NULL with errno. */
static char *read_file(struct audit *a)
{
	size_t have = 0;
	ssize_t n = 1;

	measure(a);
	char *text = malloc(a->size + 1);
	while (text && have < a->size && n > 0) {
		n = pread(a->fd, text + have, a->size - have, (off_t)have);
		have += n > 0 ? (size_t)n : 0;
	}
	if (n < 0) {
		free(text);
		return NULL;
	}
	a->size = have;
	if (text)
		text[have] = 0;
	return text;
}

static void fail(struct audit *a, int error)
{
	if (error && !a->failing)
		log_error("forward", "the audit cannot be written: %s", strerror(-error));
	a->failing = error != 0;
}

/* A line that got to the disk in part is taken back: none is to begin in another's middle. */
static void append(struct audit *a, const char *line, size_t len)
{
	measure(a);
	ssize_t n = write(a->fd, line, len);
	int error = n < 0 ? -errno : (size_t)n < len ? -ENOSPC : 0;

	if (n > 0 && error && ftruncate(a->fd, (off_t)a->size))
		error = -errno;
	if (!error)
		a->size += len;
	fail(a, error);
}

/* --- Lines */

/* Nothing that could steer a terminal or look like other letters. */
static const char *plain(const char *text, char out[static AUDIT_TEXT_MAX + 1])
{
	size_t len = 0;

	for (; len < AUDIT_TEXT_MAX && text[len]; len++)
		out[len] = text[len] >= ' ' && text[len] <= '~' ? text[len] : '?';
	out[len] = 0;
	return out;
}

static void put_text(json_t *json, const char *key, const char *text)
{
	char copy[AUDIT_TEXT_MAX + 1];

	if (text && *text)
		json_object_set_new(json, key, json_string(plain(text, copy)));
}

static json_t *line_json(const struct audit_entry *e, uint64_t unix_s, unsigned left)
{
	static const uint8_t none[FORWARD_ID];
	char when[TIME_TEXT] = "", id[RULE_ID_TEXT];
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_t *json = json_pack("{ss sI ss ss}", "time", when, "unix", (json_int_t)unix_s, "event",
				 events[e->event].name, "outcome", outcomes[e->outcome]);
	put_text(json, "actor", e->actor);
	if (e->forward_id && memcmp(e->forward_id, none, FORWARD_ID))
		json_object_set_new(json, "forward_id", json_string(rule_id_text(e->forward_id, id)));
	put_text(json, "name", e->name);
	put_text(json, "detail", e->detail);
	if (left)
		json_object_set_new(json, "left_out", json_integer(left));
	return json;
}

static void write_line(struct audit *a, uint64_t unix_s, const struct audit_entry *e, unsigned left)
{
	json_t *json = line_json(e, unix_s, left);
	size_t len = json_dumpb(json, NULL, 0, JSON_COMPACT);
	char *line = len ? malloc(len + 1) : NULL;

	if (line) {
		json_dumpb(json, line, len, JSON_COMPACT);
		line[len] = '\n';
		append(a, line, len + 1);
	} else {
		fail(a, -ENOMEM);
	}
	free(line);
	json_decref(json);
}

/* When a line was written; 0 for what is none of ours. "unix" comes before any text that a stranger could have chosen. */
static uint64_t time_of(const char *line, size_t len)
{
	static const char key[] = "\"unix\":";
	const char *at = memmem(line, len < UNIX_WITHIN ? len : UNIX_WITHIN, key, sizeof key - 1);
	uint64_t n = 0;

	if (!at)
		return 0;
	for (at += sizeof key - 1; at < line + len && *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}

static const char *line_end(const char *line, const char *end)
{
	const char *feed = memchr(line, '\n', (size_t)(end - line));

	return feed ? feed + 1 : end;
}

/* --- Retention */

static void keep_from(struct audit *a, const char *text, size_t from)
{
	int error = file_write(a->dir, AUDIT_FILE, text + from, a->size - from);

	fail(a, error ? error : open_anew(a));
}

/* Whole lines go from the beginning: the old ones, and as many as make the file no longer than `most`. */
static void prune(struct audit *a, uint64_t unix_s, size_t most)
{
	uint64_t oldest = a->keep_s && unix_s > a->keep_s ? unix_s - a->keep_s : 0;
	char *text = read_file(a);

	a->pruned_at = unix_s;
	if (!text) {
		fail(a, -errno);
		return;
	}
	const char *line = text, *end = text + a->size;
	while (line < end && (time_of(line, (size_t)(end - line)) < oldest || (size_t)(end - line) > most))
		line = line_end(line, end);
	if (line != text)
		keep_from(a, text, (size_t)(line - text));
	free(text);
}

/* --- Floods */

/* Whether a line may be written; what it has to say of those before it that were not, goes to *left. */
static bool admit(struct audit *a, uint64_t unix_s, enum audit_event event, unsigned *left)
{
	struct flood *f = &a->floods[event];

	*left = 0;
	if (!events[event].hourly)
		return true;
	if (unix_s >= f->since + HOUR_S || unix_s < f->since)
		*f = (struct flood) { .since = unix_s, .left = f->left };
	if (f->written == events[event].hourly) {
		f->left++;
		return false;
	}
	f->written++;
	*left = f->left;
	f->left = 0;
	return true;
}

/* Of a flood that is over nothing else would tell. */
static void tell_floods(struct audit *a, uint64_t unix_s)
{
	for (unsigned i = 0; i < AUDIT_EVENTS; i++) {
		struct flood *f = &a->floods[i];
		const struct audit_entry e = { .event = (enum audit_event)i,
					       .outcome = AUDIT_REFUSED,
					       .actor = "p2pd",
					       .detail = "more of them than were written" };
		if (f->left && unix_s >= f->since + HOUR_S) {
			write_line(a, unix_s, &e, f->left);
			*f = (struct flood) { .since = unix_s };
		}
	}
}

/* --- */

int audit_open(struct audit **out, int dir, uint64_t keep_s, uint64_t unix_s)
{
	struct audit *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	*a = (struct audit) { .dir = dir, .keep_s = keep_s };
	a->fd = open_file(dir, &a->size);
	int ret = a->fd < 0 ? a->fd : cut_torn_line(a->fd, &a->size);
	if (ret) {
		audit_close(a);
		return ret;
	}
	prune(a, unix_s, AUDIT_FILE_MAX);
	*out = a;
	return 0;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

void audit_keep(struct audit *a, uint64_t keep_s)
{
	if (!a || a->keep_s == keep_s)
		return;
	a->keep_s = keep_s;
	a->pruned_at = 0;
}

void audit_write(struct audit *a, uint64_t unix_s, const struct audit_entry *e)
{
	unsigned left;

	if (!a || !admit(a, unix_s, e->event, &left))
		return;
	if (a->size >= AUDIT_FILE_MAX)
		prune(a, unix_s, AUDIT_FILE_MAX / 4 * 3);
	write_line(a, unix_s, e, left);
}

void audit_tick(struct audit *a, uint64_t unix_s)
{
	if (!a)
		return;
	tell_floods(a, unix_s);
	if (unix_s >= a->pruned_at + AUDIT_PRUNE_EVERY_S)
		prune(a, unix_s, AUDIT_FILE_MAX);
}

/* --- Looking */

/* The first line of an answer: at most AUDIT_LIST_MAX from it on were written since then. */
static const char *first_of(const char *text, const char *end, uint64_t since, bool *more)
{
	const char *first = text;
	size_t count = 0;

	for (const char *line = text; line < end; line = line_end(line, end))
		count += time_of(line, (size_t)(end - line)) >= since;
	*more = count > AUDIT_LIST_MAX;
	while (count > AUDIT_LIST_MAX) {
		count -= time_of(first, (size_t)(end - first)) >= since;
		first = line_end(first, end);
	}
	return first;
}

int audit_list(struct audit *a, uint64_t since_unix_s, struct json_t **out)
{
	bool more;

	if (!a)
		return -ENOENT;
	char *text = read_file(a);
	if (!text)
		return -errno;
	json_t *entries = json_array();
	const char *end = text + a->size, *line = first_of(text, end, since_unix_s, &more);
	for (const char *next; line < end; line = next) {
		next = line_end(line, end);
		if (time_of(line, (size_t)(next - line)) >= since_unix_s)
			json_array_append_new(entries, json_loadb(line, (size_t)(next - line), 0, NULL));
	}
	free(text);
	*out = json_pack("{ss so sb}", "schema", "p2pd.portmap.audit/1", "entries", entries, "more",
			 (int)more);
	return *out ? 0 : -ENOMEM;
}
