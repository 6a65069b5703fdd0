#include "apps/p2pd/portmap_talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/p2pd/forward/rule.h"
#include "core/fail.h"

/* A ping of a rule waits for the service to answer. */
enum { WAIT_MS = 30000, PATH_MAX_LEN = 256, DAY_S = 86400 };

/* --- Asking */

/* What has other characters is no id and no name, so it needs no escaping. A word of the API's own would ask for something
 * else. */
static bool is_plain_id(const char *id)
{
	size_t len = strlen(id);

	return len && len < PORTMAP_ID_MAX && !rule_is_reserved(id) &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

static int path_of(char out[static PATH_MAX_LEN], const char *id, const char *tail)
{
	if (id && !is_plain_id(id))
		return fail_with(EXIT_NOT_FOUND, "'%.80s' is no forward_id and no name of a rule", id);
	snprintf(out, PATH_MAX_LEN, "/api/v1/portmap%s%s%s", id ? "/" : "", id ? id : "", tail);
	return EXIT_OK;
}

static void print_conflict(int code, const char *refusal)
{
	if (code == EXIT_CONFLICT && refusal)
		printf("%s\n", refusal);
}

int portmap_ask_about(const struct portmap_talk *t, const char *method, const char *id, const char *tail,
		      json_t *body, const char *about, json_t **answer)
{
	char path[PATH_MAX_LEN], *text = NULL, *refusal = NULL;
	int code = path_of(path, id, tail);
	char *sent = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (!code)
		code = client_ask(&(struct client_question) { t->socket, method, path, sent, WAIT_MS, about },
				  &text, &refusal);
	print_conflict(code, refusal);
	if (!code && answer) {
		*answer = json_loads(text ? text : "", 0, NULL);
		if (!*answer)
			code = fail_with(EXIT_FAILED, "the daemon's answer is not JSON");
	}
	free(sent);
	free(text);
	free(refusal);
	return code;
}

int portmap_ask(const struct portmap_talk *t, const char *method, const char *id, const char *tail,
		json_t *body, json_t **answer)
{
	return portmap_ask_about(t, method, id, tail, body, NULL, answer);
}

/* --- Many */

struct each {
	int (*run)(void *arg, const char *id);
	void *arg;
	int code;
};

/* False when it makes no sense to go on. */
static bool each_run(struct each *e, const char *id)
{
	int code = e->run(e->arg, id);

	if (!e->code)
		e->code = code;
	return code != EXIT_NO_DAEMON && code != EXIT_TIMED_OUT;
}

static bool each_of_stdin(struct each *e)
{
	char *line = NULL;
	size_t cap = 0;
	bool more = true;

	while (more && getline(&line, &cap, stdin) >= 0) {
		char *rest = line, *id;
		while (more && (id = strsep(&rest, " \t\r\n")))
			more = !*id || each_run(e, id);
	}
	free(line);
	return more;
}

int portmap_each(const struct options_list *ids, int (*run)(void *arg, const char *id), void *arg)
{
	struct each e = { .run = run, .arg = arg };
	bool more = true;

	for (size_t i = 0; i < ids->count && more; i++)
		more = strcmp(ids->items[i], "-") ? each_run(&e, ids->items[i]) : each_of_stdin(&e);
	return e.code;
}

/* --- Printing */

int portmap_print(const struct portmap_talk *t, json_t *json)
{
	bool pretty = !t->json && isatty(STDOUT_FILENO);

	json_dumpf(json, stdout, pretty ? JSON_INDENT(2) : JSON_COMPACT);
	printf("\n");
	json_decref(json);
	return fflush(stdout) ? fail_with(EXIT_FAILED, "cannot write the answer") : EXIT_OK;
}

int portmap_print_rule(const struct portmap_talk *t, json_t *rule)
{
	const char *name = portmap_string(rule, "name"), *why = portmap_string(rule, "why");
	int code = *portmap_string(rule, "conflict") ? EXIT_CONFLICT : EXIT_OK;

	if (*why)
		fail_with(code, "%.80s is %.20s: %.400s", *name ? name : portmap_string(rule, "forward_id"),
			  portmap_string(rule, "state"), why);
	int printed = portmap_print(t, rule);
	return printed ? printed : code;
}

const char *portmap_string(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool continues(unsigned char c)
{
	return (c & 0xC0) == 0x80;
}

int portmap_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += !continues((unsigned char)*text);
	return width;
}

/* Control characters are below 32, 127, and U+0080 to U+009F: C2 80 to C2 9F. */
void portmap_put(const char *text, int width)
{
	int left = width - portmap_width(text);

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
		if (c == 0xC2 && next < 0xA0 && continues(next))
			text++;
		putchar(c < ' ' || c == 127 || *text != (char)c ? '?' : c);
	}
	if (left > 0)
		printf("%*s", left, "");
}

const char *portmap_when(json_int_t unix_s, char out[static PORTMAP_WHEN])
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, PORTMAP_WHEN, "%Y-%m-%d %H:%M UTC", &tm))
		snprintf(out, PORTMAP_WHEN, "?");
	return out;
}

const char *portmap_span(json_int_t s, char out[static PORTMAP_WHEN])
{
	static const struct {
		json_int_t s;
		const char *name;
	} units[] = { { DAY_S, "d" }, { 3600, "h" }, { 60, "min" } };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (s >= 2 * units[i].s || (s && s % units[i].s == 0)) {
			snprintf(out, PORTMAP_WHEN, "%lld %s", (long long)(s / units[i].s), units[i].name);
			return out;
		}
	snprintf(out, PORTMAP_WHEN, "%lld s", (long long)(s > 0 ? s : 0));
	return out;
}

const char *portmap_bytes(json_int_t n, char out[static PORTMAP_AMOUNT])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double amount = (double)n;
	size_t unit = 0;

	for (; amount >= 1024 && unit < 4; unit++)
		amount /= 1024;
	snprintf(out, PORTMAP_AMOUNT, unit ? "%.1f %s" : "%.0f %s", amount, units[unit]);
	return out;
}

const char *portmap_rate(json_int_t n, char out[static PORTMAP_AMOUNT])
{
	static const struct {
		json_int_t bytes;
		const char *name;
	} units[] = { { 125000000, "gbit" }, { 125000, "mbit" }, { 125, "kbit" } };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (n % units[i].bytes == 0) {
			snprintf(out, PORTMAP_AMOUNT, "%lld%s", (long long)(n / units[i].bytes),
				 units[i].name);
			return out;
		}
	snprintf(out, PORTMAP_AMOUNT, "%lld bytes/s", (long long)n);
	return out;
}
