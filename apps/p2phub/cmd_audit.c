#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_store.h"
#include "core/options.h"

enum { PAGE = 100, TAIL = 20, TAIL_MAX = 100000 };

struct arguments {
	const char *data, *since, *until, *action;
	long count;
	bool follow;
};

static json_t *entry_json(const struct store_audit *e)
{
	char text[32] = "";
	time_t t = (time_t)e->time_s;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_t *detail = *e->detail ? json_loads(e->detail, JSON_DECODE_ANY, NULL) : NULL;
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:o*}", "schema", "p2phub.audit/1", "id",
			 (json_int_t)e->id, "time", text, "actor", e->actor, "action", e->action, "object",
			 e->object, "outcome", e->outcome, "detail", detail);
}

static int print_entry(const struct store_audit *e)
{
	json_t *json = entry_json(e);
	int rc = json ? json_dumpf(json, stdout, JSON_COMPACT) : -1;

	json_decref(json);
	return rc || putchar('\n') == EOF ? -EIO : 0;
}

/* All from q->after_id on; it is the last one then. 0 or a negative errno. */
static int print_all(struct store *s, struct store_audit_query *q)
{
	static struct store_audit page[PAGE];
	int n, rc = 0;

	while (rc == 0 && (n = store_audit_list(s, q, page, PAGE)) > 0)
		for (int i = 0; i < n && rc == 0; i++) {
			rc = print_entry(&page[i]);
			q->after_id = page[i].id;
		}
	if (rc == 0 && fflush(stdout) != 0)
		rc = -EIO;
	return rc ? rc : n;
}

/* q->after_id: the one before the last a->count, if there are more. */
static int find_tail(struct store *s, const struct arguments *a, struct store_audit_query *q)
{
	static struct store_audit page[PAGE];
	struct store_audit_query back = { .newest = true, .action = q->action };
	long left = a->count + 1;
	int n = 0;

	while (left > 0 && (n = store_audit_list(s, &back, page, left < PAGE ? (size_t)left : PAGE)) > 0) {
		left -= n;
		back.before_id = page[n - 1].id;
	}
	if (left == 0)
		q->after_id = back.before_id;
	return n < 0 ? n : 0;
}

static int tail(struct store *s, const struct arguments *a)
{
	struct store_audit_query q = { .action = a->action };
	int rc = find_tail(s, a, &q);

	if (rc == 0)
		rc = print_all(s, &q);
	while (rc == 0 && a->follow) {
		sleep(1);
		rc = print_all(s, &q);
	}
	return rc ? fail_with(EXIT_FAILED, "cannot go on: %s", strerror(-rc)) : EXIT_OK;
}

/* "2026-11-22", "2026-11-22T08:00:00Z" (UTC), or "7d", "12h", "30m": so long ago. */
static bool read_time(const char *text, uint64_t *out)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d" };
	char *end;
	long n = strtol(text, &end, 10);
	long unit = *end == 'd' ? 86400 : *end == 'h' ? 3600 : *end == 'm' ? 60 : 0;
	uint64_t now = (uint64_t)time(NULL);

	if (n > 0 && n < 100000 && unit && !end[1]) {
		*out = now > (uint64_t)(n * unit) ? now - (uint64_t)(n * unit) : 0;
		return true;
	}
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct tm tm = { 0 };
		const char *rest = strptime(text, forms[i], &tm);
		time_t t = rest && !*rest ? timegm(&tm) : -1;
		if (t >= 0) {
			*out = (uint64_t)t;
			return true;
		}
	}
	return false;
}

static int export(struct store *s, const struct arguments *a)
{
	struct store_audit_query q = { .action = a->action };

	if (a->since && !read_time(a->since, &q.since_s))
		return fail_with(EXIT_USAGE,
				 "--since takes 2026-11-22, 2026-11-22T08:00:00Z or 7d, not '%.40s'",
				 a->since);
	if (a->until && !read_time(a->until, &q.until_s))
		return fail_with(EXIT_USAGE,
				 "--until takes 2026-11-22, 2026-11-22T08:00:00Z or 7d, not '%.40s'",
				 a->until);
	int rc = print_all(s, &q);
	return rc ? fail_with(EXIT_FAILED, "cannot go on: %s", strerror(-rc)) : EXIT_OK;
}

static int run(const char *what, const struct arguments *a)
{
	struct store *s;
	bool tails = !strcmp(what, "tail");

	if (!tails && strcmp(what, "export") != 0)
		return fail_with(EXIT_USAGE, "tail or export, not '%.20s'", what);
	int code = hub_store_open(&s, a->data);
	if (code)
		return code;
	code = tails ? tail(s, a) : export(s, a);
	store_close(s);
	return code;
}

int cmd_audit(int argc, char **argv)
{
	struct arguments a = { .data = HUB_DATA, .count = TAIL };
	const struct options_entry entries[] = {
		{ "data", "DIR", "the hub's data folder (" HUB_DATA ")", .text = &a.data },
		{ "f", NULL, "tail: go on with what comes", .flag = &a.follow },
		{ "n", "COUNT", "tail: how many to begin with (20)", .number = &a.count, .min = 0,
		  .max = TAIL_MAX },
		{ "since", "TIME", "export: from then on: 2026-11-22, 2026-11-22T08:00:00Z (UTC), 7d (ago)",
		  .text = &a.since },
		{ "until", "TIME", "export: until then", .text = &a.until },
		{ "action", "NAME", "only these, like token.create", .text = &a.action },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2phub audit tail | export [options]",
		.about = "Prints who did what to the hub, and when: one JSON object a line, kept for 90 days "
			 "by default.",
		.entries = entries,
		.min_args = 1,
		.max_args = 1,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	return run(args.items[0], &a);
}
