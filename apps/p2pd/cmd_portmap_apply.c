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

/* All of it and a NUL, to be freed; NULL with errno. */
static char *read_stream(FILE *f)
{
	char *text = NULL;
	size_t len = 0;

	for (;;) {
		char *more = realloc(text, len + CHUNK + 1);
		if (!more)
			break;
		text = more;
		size_t n = fread(text + len, 1, CHUNK, f);
		len += n;
		text[len] = 0;
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

static char *read_policy(const char *path)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *text = f ? read_stream(f) : NULL;
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

static void print_change(json_t *change, int op)
{
	json_t *fields = json_object_get(change, "fields"), *field;
	size_t i;

	printf("%c ", "+~-="[op]);
	portmap_put(portmap_string(change, "name"), 0);
	json_array_foreach(fields, i, field)
	{
		printf("%s", i ? ", " : ": ");
		portmap_put(json_string_value(field) ? json_string_value(field) : "?", 0);
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

static int apply(const struct apply *a)
{
	bool from_stdin = !strcmp(a->file, "-");
	char *text = read_policy(a->file);
	json_t *answer;

	if (!text)
		return fail_with(EXIT_FAILED, "cannot read %.400s: %s", a->file, strerror(errno));
	json_t *body = json_pack("{ss sb}", "policy", text, "dry_run", a->dry_run);
	free(text);
	if (!body)
		return fail_with(EXIT_USAGE, "%.400s is no text in UTF-8", a->file);
	int code = portmap_ask_about(&a->talk, "POST", NULL, "/apply", body, from_stdin ? "stdin" : a->file,
				     &answer);
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
		{ "json", NULL, "as JSON: {\"changes\": [...]}", .flag = &a.talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &a.talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap apply -f FILE [options]",
		.about = "Makes the rules of this node what a file says, and shows what changed: + added, ~ "
			 "changed,\n- removed. Rules are the same by name; what the file does not name goes, "
			 "but for "
			 "rules that\np2pd.yaml declares. A pause, and an end by --expires, that the file "
			 "does not "
			 "name stays. One error,\nand nothing is changed.",
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
