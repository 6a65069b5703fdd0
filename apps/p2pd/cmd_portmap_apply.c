#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

enum { POLICY_MAX = 1 << 20, CHUNK = 65536 };

struct apply {
	struct portmap_talk talk;
	const char *file;
	bool dry_run;
};

/* All of it, to be freed; NULL with errno. */
static char *read_stream(FILE *f, size_t *out_len)
{
	char *text = NULL;
	size_t len = 0;

	for (;;) {
		char *more = realloc(text, len + CHUNK);
		if (!more)
			break;
		text = more;
		size_t n = fread(text + len, 1, CHUNK, f);
		len += n;
		*out_len = len;
		if (len > POLICY_MAX)
			errno = EFBIG;
		if (len > POLICY_MAX || ferror(f))
			break;
		if (n < CHUNK)
			return text;
	}
	free(text);
	return NULL;
}

static char *read_policy(const char *path, size_t *len)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *text = f ? read_stream(f, len) : NULL;
	int error = errno;

	if (f && f != stdin)
		fclose(f);
	errno = error;
	return text;
}

/* --- The diff */

enum { ADDED, CHANGED, REMOVED, KEPT, OPS };

static int op_of(json_t *change)
{
	static const char *const names[OPS] = { "add", "set", "remove", "keep" };

	for (int i = 0; i < OPS; i++)
		if (!strcmp(portmap_string(change, "op"), names[i]))
			return i;
	return KEPT;
}

static void put_list(json_t *list)
{
	json_t *item;
	size_t i;

	printf("[");
	json_array_foreach(list, i, item)
	{
		printf("%s", i ? ", " : "");
		portmap_put(json_string_value(item) ? json_string_value(item) : "?", 0);
	}
	printf("]");
}

static const char *number_text(const char *key, json_int_t n, char out[static PORTMAP_WHEN])
{
	if (!strcmp(key, "rate"))
		return n ? portmap_rate(n, out) : "none";
	if (!strcmp(key, "idle_s"))
		return n ? portmap_span(n, out) : "never";
	if (!strcmp(key, "expires_at"))
		return n ? portmap_when(n, out) : "never";
	snprintf(out, PORTMAP_WHEN, "%lld", (long long)n);
	return out;
}

/* As the file would say it. */
static void put_value(const char *key, json_t *value)
{
	const char *text = json_string_value(value);
	char number[PORTMAP_WHEN];

	if (json_is_array(value))
		put_list(value);
	else if (json_is_integer(value))
		portmap_put(number_text(key, json_integer_value(value), number), 0);
	else if (json_is_boolean(value))
		printf("%s", json_is_true(value) ? "yes" : "no");
	else
		portmap_put(text && *text ? text : "none", 0);
}

static void print_field(json_t *field)
{
	const char *key = portmap_string(field, "field");
	const char *name = !strcmp(key, "idle_s") ? "idle" : !strcmp(key, "expires_at") ? "expires" : key;

	portmap_put(name, 0);
	printf(" ");
	put_value(key, json_object_get(field, "old"));
	printf(" -> ");
	put_value(key, json_object_get(field, "new"));
}

static void print_change(json_t *change, int op)
{
	json_t *fields = json_object_get(change, "fields"), *field;
	size_t i;

	printf("%c ", "+~-="[op]);
	portmap_put(portmap_string(change, "name"), 0);
	json_array_foreach(fields, i, field)
	{
		printf("%s", i ? ", " : ": ");
		print_field(field);
	}
	printf("\n");
}

static void print_changes(const struct apply *a, json_t *changes)
{
	unsigned counts[OPS] = { 0 };
	json_t *change;
	size_t i;

	json_array_foreach(changes, i, change)
	{
		int op = op_of(change);
		counts[op]++;
		if (op != KEPT)
			print_change(change, op);
	}
	printf("%s%u added, %u changed, %u removed, %u as they were\n", a->dry_run ? "would be: " : "",
	       counts[ADDED], counts[CHANGED], counts[REMOVED], counts[KEPT]);
}

/* --- */

/* It would end the text on the way, and what follows would be lost. */
static int refuse_nul(const char *name, const char *text, size_t len)
{
	unsigned line = 1, column = 1;

	for (const char *at = text; *at && at < text + len; at++) {
		line += *at == '\n';
		column = *at == '\n' ? 1 : column + 1;
	}
	return fail_with(EXIT_USAGE, "%.400s:%u:%u: a byte of value 0: that is no text", name, line, column);
}

/* The request, NULL with *code. */
static json_t *body_of(const struct apply *a, const char *name, int *code)
{
	size_t len = 0;
	char *text = read_policy(a->file, &len);
	json_t *policy = NULL;

	*code = EXIT_OK;
	if (!text)
		*code = fail_with(EXIT_FAILED, "cannot read %.400s: %s", name, strerror(errno));
	else if (memchr(text, 0, len))
		*code = refuse_nul(name, text, len);
	else if (!(policy = json_stringn(text, len)))
		*code = fail_with(EXIT_USAGE, "%.400s is no text in UTF-8", name);
	free(text);
	return policy ? json_pack("{so sb}", "policy", policy, "dry_run", a->dry_run) : NULL;
}

static int apply(const struct apply *a)
{
	const char *name = strcmp(a->file, "-") ? a->file : "stdin";
	json_t *answer;
	int code;
	json_t *body = body_of(a, name, &code);

	if (!code)
		code = portmap_ask_about(&a->talk, "POST", NULL, "/apply", body, name, &answer);
	if (code)
		return code;
	if (a->talk.json)
		return portmap_print(&a->talk, answer);
	print_changes(a, json_object_get(answer, "changes"));
	json_decref(answer);
	return EXIT_OK;
}

int cmd_portmap_apply(int argc, char **argv)
{
	struct apply a = { .talk = PORTMAP_TALK };
	const struct options_entry entries[] = {
		{ "f", "FILE", "the rules that are to be, in YAML; - is stdin", .text = &a.file },
		{ "dry-run", NULL, "only say what would change", .flag = &a.dry_run },
		{ "json", NULL, "as JSON, schema p2pd.portmap.apply/1", .flag = &a.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &a.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap apply -f FILE [options]",
		.about = "Makes the rules of this node what a file says, and shows what changed: + added, ~ "
			 "changed,\nfrom what to what, - removed. Rules are the same by name; what the file "
			 "does not name goes,\nbut for rules that p2pd.yaml declares. A pause, and an end by "
			 "--expires, that the file does not\nname stays. One error, and nothing is changed.",
		.entries = entries,
		.more = "The list may also have its old name, portmap.\n"
			"example\n"
			"  forwards:\n"
			"    - name: till-lyon-3306\n"
			"      local: 192.168.50.10:3306\n"
			"      scope: nodes\n"
			"      to: [office]\n",
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (!a.file)
		return fail_with(EXIT_USAGE, "-f FILE is needed; see `p2pd portmap apply --help`");
	return apply(&a);
}
