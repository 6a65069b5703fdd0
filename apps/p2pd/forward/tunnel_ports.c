#include "apps/p2pd/forward/tunnel_ports.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/rule.h"
#include "core/file.h"
#include "core/log.h"

enum { FILE_MAX = 262144, PORTS = TUNNEL_PORTS_LAST - TUNNEL_PORTS_FIRST + 1 };

static const char file_name[] = "tunnel_ports.json";

/* ---- The file: {"UUID": [first, count], ...} */

static bool read_run(struct tunnel_run *run, const char *id, const json_t *json)
{
	int first = 0, count = 0;

	if (rule_id_parse(run->id, id) || json_unpack((json_t *)json, "[ii!]", &first, &count) ||
	    first < TUNNEL_PORTS_FIRST || count < 1 || first + count - 1 > TUNNEL_PORTS_LAST)
		return false;
	run->first = (uint16_t)first;
	run->count = (uint16_t)count;
	return true;
}

static bool read_runs(struct tunnel_ports *t, json_t *json)
{
	const char *id;
	json_t *value;

	if (!json_is_object(json) || json_object_size(json) > TUNNEL_PORTS_MAX)
		return false;
	json_object_foreach(json, id, value) if (!read_run(&t->items[t->count++], id, value)) return false;
	return true;
}

void tunnel_ports_load(struct tunnel_ports *t, int dir)
{
	char *text = malloc(FILE_MAX);
	ssize_t len = text ? file_read(dir, file_name, text, FILE_MAX) : -ENOMEM;
	json_t *json = len >= 0 ? json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, NULL) : NULL;

	*t = (struct tunnel_ports) { 0 };
	if (len != -ENOENT && !read_runs(t, json)) {
		log_warn("forward", "%s cannot be read: public rules get other tunnel ports", file_name);
		*t = (struct tunnel_ports) { 0 };
	}
	json_decref(json);
	free(text);
}

int tunnel_ports_save(struct tunnel_ports *t, int dir)
{
	json_t *json = json_object();
	char id[RULE_ID_TEXT], *text;
	int ret = -ENOMEM;

	if (!t->changed) {
		json_decref(json);
		return 0;
	}
	for (unsigned i = 0; i < t->count; i++)
		json_object_set_new(json, rule_id_text(t->items[i].id, id),
				    json_pack("[ii]", t->items[i].first, t->items[i].count));
	text = json && json_object_size(json) == t->count ? json_dumps(json, JSON_COMPACT) : NULL;
	if (text)
		ret = file_write(dir, file_name, text, strlen(text));
	t->changed = ret != 0;
	free(text);
	json_decref(json);
	return ret;
}

/* ---- Runs */

static struct tunnel_run *find(const struct tunnel_ports *t, const uint8_t *id)
{
	for (unsigned i = 0; i < t->count; i++)
		if (!memcmp(t->items[i].id, id, FORWARD_ID))
			return (struct tunnel_run *)&t->items[i];
	return NULL;
}

uint16_t tunnel_ports_find(const struct tunnel_ports *t, const uint8_t id[static FORWARD_ID])
{
	const struct tunnel_run *run = find(t, id);

	return run ? run->first : 0;
}

void tunnel_ports_drop(struct tunnel_ports *t, const uint8_t id[static FORWARD_ID])
{
	struct tunnel_run *run = find(t, id);

	if (!run)
		return;
	*run = t->items[--t->count];
	t->changed = true;
}

void tunnel_ports_keep(struct tunnel_ports *t, bool (*wanted)(void *arg, const uint8_t id[static FORWARD_ID]),
		       void *arg)
{
	for (unsigned i = t->count; i-- > 0;)
		if (!wanted(arg, t->items[i].id)) {
			t->items[i] = t->items[--t->count];
			t->changed = true;
		}
}

/* The first port behind another rule's run that is in the way; 0: none is. */
static unsigned behind(const struct tunnel_ports *t, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < t->count; i++) {
		const struct tunnel_run *run = &t->items[i];
		if (first < run->first + run->count && run->first < first + count)
			return run->first + run->count;
	}
	return 0;
}

static uint16_t search(const struct tunnel_ports *t, unsigned from, unsigned to, unsigned count,
		       bool (*taken)(void *arg, uint16_t first, unsigned count), void *arg)
{
	for (unsigned first = from; first + count <= to;) {
		unsigned next = behind(t, first, count);
		if (!next && !taken(arg, (uint16_t)first, count))
			return (uint16_t)first;
		first = next ? next : first + count;
	}
	return 0;
}

uint16_t tunnel_ports_take(struct tunnel_ports *t, const uint8_t id[static FORWARD_ID], unsigned count,
			   bool (*taken)(void *arg, uint16_t first, unsigned count), void *arg,
			   struct rng *rng)
{
	unsigned from = TUNNEL_PORTS_FIRST + rng_below(rng, PORTS);
	struct tunnel_run *run = find(t, id);
	uint16_t first;

	if (run && run->count == count && !taken(arg, run->first, count))
		return run->first;
	tunnel_ports_drop(t, id);
	if (t->count == TUNNEL_PORTS_MAX || count == 0 || count > PORTS)
		return 0;
	first = search(t, from, TUNNEL_PORTS_LAST + 1, count, taken, arg);
	if (!first)
		first = search(t, TUNNEL_PORTS_FIRST, TUNNEL_PORTS_LAST + 1, count, taken, arg);
	if (!first)
		return 0;
	run = &t->items[t->count++];
	*run = (struct tunnel_run) { .first = first, .count = (uint16_t)count };
	memcpy(run->id, id, FORWARD_ID);
	t->changed = true;
	return first;
}
