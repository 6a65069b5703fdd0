#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2pd/forward/book_impl.h"
#include "core/file.h"
#include "core/log.h"

#define SCHEMA "p2pd.forwards/1"

/* --- Writing */

static json_t *rejected_json(const struct forward_stats *s)
{
	json_t *json = json_object();

	for (int i = 0; i < FORWARD_REJECTS; i++)
		if (s->rejected[i])
			json_object_set_new(json, forward_reject_name((enum forward_reject)i),
					    json_integer((json_int_t)s->rejected[i]));
	return json;
}

static json_t *stats_json(const struct forward_stats *s)
{
	char visitor[ADDR_TEXT_MAX] = "";

	if (s->last_visitor.family)
		addr_format(&s->last_visitor, visitor);
	return json_pack("{sI sI sI so ss sI}", "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
			 (json_int_t)s->bytes_out, "total", (json_int_t)s->total, "rejected",
			 rejected_json(s), "last_visitor", visitor, "last_ms", (json_int_t)s->last_ms);
}

static bool has_stats(const struct forward_stats *s)
{
	uint64_t all = s->bytes_in | s->bytes_out | s->total | s->last_ms;

	for (int i = 0; i < FORWARD_REJECTS; i++)
		all |= s->rejected[i];
	return all != 0;
}

static int add_item(json_t *list, const struct book_item *item)
{
	json_t *json = rule_json(&item->rule);

	if (json && has_stats(&item->stats) && json_object_set_new(json, "stats", stats_json(&item->stats))) {
		json_decref(json);
		return -ENOMEM;
	}
	return json_array_append_new(list, json) ? -ENOMEM : 0;
}

char *book_file_text(struct book_item *const *items, size_t count)
{
	json_t *list = json_array(), *json = json_pack("{ss so}", "schema", SCHEMA, "forwards", list);
	int rc = json ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !rc; i++)
		rc = add_item(list, items[i]);
	char *text = rc ? NULL : json_dumps(json, JSON_INDENT(1));
	json_decref(json);
	return text;
}

int book_file_write(int dir, struct book_item *const *items, size_t count)
{
	char *text = book_file_text(items, count);
	int rc = text ? file_write(dir, BOOK_FILE, text, strlen(text)) : -ENOMEM;

	free(text);
	return rc;
}

/* --- Reading */

int book_file_put_aside(int dir, const char *why)
{
	char aside[FILE_NAME_CAP];
	int ret = file_put_aside(dir, BOOK_FILE, aside);

	if (ret) {
		log_error("forward", BOOK_FILE " is spoilt (%s) and cannot be put aside: %s", why,
			  strerror(-ret));
		return ret;
	}
	log_error("forward",
		  BOOK_FILE " is spoilt: %s. It is now %s in the same folder: mend it and put it back while "
			    "p2pd does not run, or make the rules anew",
		  why, aside);
	return -EBADMSG;
}

static bool read_count(const json_t *json, const char *key, uint64_t *out)
{
	const json_t *v = json_object_get(json, key);

	if (v && (!json_is_integer(v) || json_integer_value(v) < 0))
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

static bool read_stats(struct forward_stats *s, const json_t *json)
{
	const json_t *rejected = json_object_get(json, "rejected");
	const char *visitor = json_string_value(json_object_get(json, "last_visitor"));

	if (!read_count(json, "bytes_in", &s->bytes_in) || !read_count(json, "bytes_out", &s->bytes_out) ||
	    !read_count(json, "total", &s->total) || !read_count(json, "last_ms", &s->last_ms))
		return false;
	for (int i = 0; i < FORWARD_REJECTS; i++)
		if (!read_count(rejected, forward_reject_name((enum forward_reject)i), &s->rejected[i]))
			return false;
	return !visitor || !*visitor || addr_parse(&s->last_visitor, visitor, 0) == 0;
}

/* What was written when more was allowed is no reason to lose all rules. */
static void bound_rate(json_t *rule)
{
	json_t *rate = json_object_get(rule, "rate");

	if (json_integer_value(rate) > (json_int_t)RULE_RATE_MAX)
		json_integer_set(rate, (json_int_t)RULE_RATE_MAX);
}

static int read_item(struct book_item *item, json_t *json, char why[static RULE_WHY])
{
	static const uint8_t none[FORWARD_ID];
	json_t *stats = json_object_get(json, "stats");

	if (stats && !read_stats(&item->stats, stats))
		return rule_refuse(why, "counts that are none");
	json_object_del(json, "stats");
	bound_rate(json);
	rule_init(&item->rule);
	int rc = rule_read(&item->rule, json, why);
	if (rc || (rc = rule_check(&item->rule, why)))
		return rc;
	return memcmp(item->rule.id, none, sizeof none) ? 0 : rule_refuse(why, "a rule without forward_id");
}

static bool is_known(struct book_item *const *items, size_t count, const uint8_t id[static FORWARD_ID])
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(items[i]->rule.id, id, FORWARD_ID))
			return true;
	return false;
}

static int read_items(json_t *list, struct book_item **items, size_t *count, char why[static RULE_WHY])
{
	size_t i;
	json_t *json;

	if (!json_is_array(list) || json_array_size(list) > BOOK_RULES_MAX)
		return rule_refuse(why, "no list of at most %d rules", BOOK_RULES_MAX);
	json_array_foreach(list, i, json)
	{
		struct book_item *item = calloc(1, sizeof *item);
		if (!item)
			return -ENOMEM;
		int rc = read_item(item, json, why);
		if (!rc && is_known(items, *count, item->rule.id))
			rc = rule_refuse(why, "an id comes twice");
		items[(*count)++] = item;
		if (rc)
			return rc;
	}
	return 0;
}

static int parse(const char *text, size_t len, struct book_item **items, size_t *count,
		 char why[static RULE_WHY])
{
	json_error_t error;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	const char *schema = json_string_value(json_object_get(json, "schema"));
	int rc;

	if (!json)
		rc = rule_refuse(why, "line %d: %s", error.line, error.text);
	else if (!schema || strcmp(schema, SCHEMA) != 0)
		rc = rule_refuse(why, "its schema is not " SCHEMA);
	else
		rc = read_items(json_object_get(json, "forwards"), items, count, why);
	json_decref(json);
	return rc;
}

int book_file_read(int dir, struct book_item *items[static BOOK_RULES_MAX], size_t *count)
{
	char why[RULE_WHY] = "", *text = malloc(BOOK_FILE_MAX);

	*count = 0;
	if (!text)
		return -ENOMEM;
	ssize_t len = file_read(dir, BOOK_FILE, text, BOOK_FILE_MAX);
	int rc = len == -ENOENT ? 0 : (int)len;
	if (len >= 0)
		rc = parse(text, (size_t)len, items, count, why);
	if (len == -EFBIG)
		rc = rule_refuse(why, "larger than %d bytes", BOOK_FILE_MAX);
	free(text);
	return rc == -EINVAL ? book_file_put_aside(dir, why) : rc;
}
