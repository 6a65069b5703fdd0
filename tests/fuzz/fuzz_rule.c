/* A rule's JSON: the first byte chooses a key whose value the input is, as a text, as the one item of a list, or whether
 * all of the input is JSON (the JSON library is not instrumented, so the fuzzer would hardly find the shape by itself).
 * What is taken prints as what reads the same, and its texts are fit for a terminal. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/rule.h"

static const char *const keys[] = { "local", "allow", "name", "domain", "via", "to", "scope", "proto" };
enum { KEYS = sizeof keys / sizeof *keys };

static json_t *shape(uint8_t choice, const char *data, size_t len)
{
	const char *key = keys[choice % KEYS];

	if (choice >= 2 * KEYS)
		return json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *text = json_stringn(data, len);
	json_t *spec = choice < KEYS ? json_pack("{so}", key, text) : json_pack("{s[o]}", key, text);
	if (spec && strcmp(key, "local") != 0)
		json_object_set_new(spec, "local", json_string("10.0.0.1:80"));
	return spec;
}

static void reads_the_same(const struct rule *r)
{
	struct rule again;
	char why[RULE_WHY];
	json_t *json = rule_json(r), *second;

	json_object_del(json, "forward_id");
	rule_init(&again);
	if (!json || rule_read(&again, json, why) || rule_check(&again, why))
		abort();
	second = rule_json(&again);
	json_object_del(second, "forward_id");
	if (!json_equal(json, second))
		abort();
	json_decref(json);
	json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rule r, other;
	char why[RULE_WHY];
	uint8_t id[FORWARD_ID];

	json_t *spec = size ? shape(data[0] % (2 * KEYS + 1), (const char *)data + 1, size - 1) : NULL;
	rule_init(&r);
	rule_init(&other);
	if (spec && rule_read(&r, spec, why) == 0 && rule_check(&r, why) == 0) {
		reads_the_same(&r);
		rule_read_local(&other, "10.0.0.2:1-80", why);
		if (rule_overlap(&r, &other) != rule_overlap(&other, &r))
			abort();
		rule_check_open(&r, why);
		if (rule_id_parse(id, r.name) == 0)
			abort();
	}
	for (const char *c = spec ? why : ""; *c; c++)
		if (*c < ' ' || *c > '~')
			abort();
	json_decref(spec);
	return 0;
}
