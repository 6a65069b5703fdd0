#include "apps/natcheck/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 128 };

struct walk {
	const char *time;
	FILE *out;
	size_t changes;
};

static bool is_restless(const char *key)
{
	static const char *const restless[] = { "rtt_ms",	  "local",   "noise_per_s", "confidence",
						"external",	  "mean_ms", "worst_ms",    "success",
						"hairpin_source", "why" };

	for (size_t i = 0; i < sizeof restless / sizeof restless[0]; i++) {
		if (!strcmp(key, restless[i]))
			return true;
	}
	return false;
}

/* Every check asks from new ports: of an address from outside only the IP is of interest. */
static void without_port(char *text)
{
	char *colon = strrchr(text, ':');

	if (colon)
		*colon = 0;
}

static char *text_of(const json_t *value, const char *key)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (len >= 2 && text[0] == '"') {
		memmove(text, text + 1, len - 2);
		text[len - 2] = 0;
	}
	if (text && !strcmp(key, "mapped"))
		without_port(text);
	return text;
}

static void compare_leaf(struct walk *w, const char *path, const char *key, const json_t *before,
			 const json_t *after)
{
	char *old = text_of(before, key), *new = text_of(after, key);

	if (old && new &&strcmp(old, new)) {
		fprintf(w->out, "%s %s: %s -> %s\n", w->time, path, old, new);
		w->changes++;
	}
	free(old);
	free(new);
}

/* Reports are four levels deep at most. */
static void compare(struct walk *w, const char *path, const char *key, const json_t *before,
		    const json_t *after)
{
	char longer[KEY_MAX];
	const char *name;
	json_t *value;
	size_t i;

	if (is_restless(key))
		return;
	if (json_is_object(before) && json_is_object(after)) {
		json_object_foreach((json_t *)after, name, value)
		{
			snprintf(longer, sizeof longer, "%s%s%s", path, *path ? "." : "", name);
			compare(w, longer, name, json_object_get(before, name), value);
		}
	} else if (json_is_array(before) && json_array_size(before) == json_array_size(after)) {
		json_array_foreach(after, i, value)
		{
			snprintf(longer, sizeof longer, "%s[%zu]", path, i);
			compare(w, longer, "", json_array_get(before, i), value);
		}
	} else {
		compare_leaf(w, path, key, before, after);
	}
}

size_t watch_print_changes(const json_t *before, const json_t *after, const char *time, FILE *out)
{
	struct walk w = { time, out, 0 };

	compare(&w, "", "", before, after);
	return w.changes;
}
