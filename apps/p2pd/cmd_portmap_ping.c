/* How a rule fares: ping and stats. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

/* --- ping */

/* The first thing on the way that does not work, NULL when all does. */
static json_t *first_failed(json_t *checks)
{
	json_t *check;
	size_t i;

	json_array_foreach(checks, i, check) if (!json_is_true(json_object_get(check, "ok"))) return check;
	return NULL;
}

static void print_checks(const char *id, json_t *checks)
{
	json_t *check;
	size_t i;

	printf("%s\n", id);
	json_array_foreach(checks, i, check)
	{
		printf("  ");
		portmap_put(portmap_string(check, "what"), 10);
		printf("%-8s", json_is_true(json_object_get(check, "ok")) ? "ok" : "FAILED");
		portmap_put(portmap_string(check, "detail"), 0);
		printf("\n");
	}
}

static int ping_one(void *arg, const char *id)
{
	const struct portmap_talk *talk = arg;
	json_t *answer;
	int code = portmap_ask_about(talk, "POST", id, "/ping", NULL, id, &answer);

	if (code)
		return code;
	json_t *checks = json_object_get(answer, "checks"), *failed = json_incref(first_failed(checks));
	if (!talk->json)
		print_checks(id, checks);
	if (talk->json)
		code = portmap_print(talk, json_incref(answer));
	fflush(stdout);
	if (failed)
		code = fail_with(EXIT_FAILED, "%.80s: %.40s: %.400s", id, portmap_string(failed, "what"),
				 portmap_string(failed, "detail"));
	json_decref(failed);
	json_decref(answer);
	return code;
}

/* --- stats */

/* "12: full 2, not allowed 10"; nothing when nobody was refused. */
static void print_rejected(json_t *rejected)
{
	json_int_t sum = 0;
	const char *reason;
	json_t *count;
	bool first = true;

	json_object_foreach(rejected, reason, count) sum += json_integer_value(count);
	printf("  refused      %lld", (long long)sum);
	json_object_foreach(rejected, reason, count)
	{
		if (!json_integer_value(count))
			continue;
		printf("%s", first ? ": " : ", ");
		for (const char *c = reason; *c; c++)
			putchar(*c == '_' ? ' ' : *c);
		printf(" %lld", (long long)json_integer_value(count));
		first = false;
	}
	printf("\n");
}

static void print_visitor(json_t *stats)
{
	const char *visitor = portmap_string(stats, "last_visitor");
	json_int_t at = json_integer_value(json_object_get(stats, "last_visit_at"));
	char when[PORTMAP_WHEN];

	printf("  last visitor ");
	if (!*visitor) {
		printf("none yet\n");
		return;
	}
	portmap_put(visitor, 0);
	if (at)
		printf(", %s ago", portmap_span((json_int_t)time(NULL) - at, when));
	printf("\n");
}

static void print_stats(const char *id, json_t *stats)
{
	json_int_t in = 0, out = 0, now = 0, total = 0;
	char in_text[PORTMAP_AMOUNT], out_text[PORTMAP_AMOUNT];

	json_unpack(stats, "{s?I s?I s?I s?I}", "bytes_in", &in, "bytes_out", &out, "connections", &now,
		    "total", &total);
	printf("%s\n  connections  %lld now, %lld in all\n", id, (long long)now, (long long)total);
	printf("  bytes        %s from visitors, %s to them\n", portmap_bytes(in, in_text),
	       portmap_bytes(out, out_text));
	print_rejected(json_object_get(stats, "rejected"));
	print_visitor(stats);
}

static int stats_one(void *arg, const char *id)
{
	const struct portmap_talk *talk = arg;
	json_t *stats;
	int code = portmap_ask_about(talk, "GET", id, "/stats", NULL, id, &stats);

	if (code)
		return code;
	if (talk->json)
		return portmap_print(talk, stats);
	print_stats(id, stats);
	json_decref(stats);
	return EXIT_OK;
}

/* --- */

static int look(const char *usage, const char *about, const char *schema,
		int (*run)(void *arg, const char *id), int argc, char **argv)
{
	struct portmap_talk talk = PORTMAP_TALK;
	const struct options_entry entries[] = {
		{ "json", NULL, schema, .flag = &talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = usage,
		.about = about,
		.entries = entries,
		.more = "RULE is a forward_id or a name; - reads them from stdin.\n",
		.min_args = 1,
		.max_args = OPTIONS_LIST_MAX,
	};
	struct options_list args;
	int code;

	return options_parse(&options, argc, argv, &args, &code) ? portmap_each(&args, run, &talk) : code;
}

int cmd_portmap_ping(int argc, char **argv)
{
	return look("p2pd portmap ping RULE... [options]",
		    "Tries the way to the service piece by piece: the gateway, the tunnel, the node, and "
		    "whether\n"
		    "the service answers. Ends with 1 if something does not work, and says what.",
		    "as JSON, schema p2pd.portmap.ping/1, one object a line", ping_one, argc, argv);
}

int cmd_portmap_stats(int argc, char **argv)
{
	return look(
		"p2pd portmap stats RULE... [options]",
		"Tells the bytes and connections of rules, whom they refused and who came last. The counts\n"
		"outlive a restart.",
		"as JSON, schema p2pd.portmap.stats/1, one object a line", stats_one, argc, argv);
}
