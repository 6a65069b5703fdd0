/* What an owner and a gateway read of each other: requests, grants, admissions, counts and errors. What was read must come
 * out the same when it is written and read again. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/lease_link_impl.h"

static void must_be_equal(json_t *a, json_t *b)
{
	if (!a || !b || !json_equal(a, b))
		abort();
	json_decref(a);
	json_decref(b);
}

static void try_request(const json_t *json)
{
	struct lease_request r, again;
	char why[RULE_WHY];

	if (lease_request_read(&r, json, why) != 0)
		return;
	json_t *written = lease_request_json(&r);
	if (lease_request_read(&again, written, why) != 0)
		abort();
	must_be_equal(written, lease_request_json(&again));
}

static void try_grant(const json_t *json)
{
	struct lease_grant g, again;
	char why[RULE_WHY];

	if (lease_grant_read(&g, json, why) != 0)
		return;
	json_t *written = lease_grant_json(&g);
	if (lease_grant_read(&again, written, why) != 0)
		abort();
	must_be_equal(written, lease_grant_json(&again));
}

static void try_admit(const json_t *json)
{
	struct admit_request r, again;
	struct admit_grant g, g_again;
	char why[RULE_WHY];

	if (admit_request_read(&r, json, why) == 0) {
		json_t *written = admit_request_json(&r);
		if (admit_request_read(&again, written, why) != 0)
			abort();
		must_be_equal(written, admit_request_json(&again));
	}
	if (admit_grant_read(&g, json, why) == 0) {
		json_t *written = admit_grant_json(&g);
		if (admit_grant_read(&g_again, written, why) != 0)
			abort();
		must_be_equal(written, admit_grant_json(&g_again));
	}
}

static void try_stats(const json_t *json)
{
	struct forward_stats s;
	char why[RULE_WHY];

	if (lease_stats_read(&s, json, UINT64_MAX / 2, why) == 0)
		json_decref(lease_stats_json(&s, UINT64_MAX / 2));
}

static void try_reply(const char *text, size_t len, uint8_t choice)
{
	const struct http_message m = { .status = choice & 4 ? 200 : 409, .body = text, .body_len = len };
	struct lease_reply reply;

	lease_wire_reply(choice & 3, &m, 1000, &reply);
	if (strlen(reply.why) >= RULE_WHY || (reply.error && !*reply.why))
		abort();
}

/* Good ones, to be spoilt: the JSON library is not instrumented, so the fuzzer would not find them. */
static const char *const messages[] = {
	"{\"forward_id\":\"01980000-0000-7000-8000-000000000001\",\"name\":\"till\",\"domain\":\"\","
	"\"proto\":\"tcp\","
	"\"ranges\":[{\"public\":1,\"tunnel\":2,\"count\":3}],\"restricted\":true,\"allow\":[\"10.0.0.0/8\"],"
	"\"max_conn\":1,\"idle_s\":1,\"rate\":1,\"expires_at\":1,\"paused\":false,\"kernel\":true,\"family\":"
	"4,"
	"\"tokens\":true,\"secret\":\"AQEBAQEBAQEBAQEBAQEBAQ\"}",
	"{\"public4\":\"192.0.2.1\",\"public6\":\"\",\"ports\":[443],\"kernel\":true,\"mode_why\":\"\","
	"\"door\":"
	"\"https://192.0.2.1\",\"rate\":1,\"max_conn\":1}",
	"{\"forward_id\":\"01980000-0000-7000-8000-000000000001\",\"token\":\"abc\",\"visitor\":\"192.0.2."
	"1\",\"look\":"
	"true}",
	"{\"full\":false,\"until\":1,\"name\":\"till\",\"for_s\":1}",
	"{\"bytes_in\":1,\"bytes_out\":1,\"connections\":1,\"total\":1,\"rejected\":{\"not_allowed\":1,"
	"\"full\":1,"
	"\"rate\":1,\"paused\":1,\"no_service\":1,\"bad_header\":1},\"last_visitor\":\"192.0.2.1\",\"last_"
	"age_ms\":1}",
	"{\"error\":{\"code\":\"conflict\",\"message\":\"a\"},\"forward_id\":\"\"}",
};

/* What is left of the input. */
struct input {
	const uint8_t *data;
	size_t len;
};

static unsigned take(struct input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

static json_t *take_string(struct input *in)
{
	size_t len = take(in);

	if (len > in->len)
		len = in->len;
	json_t *text = json_stringn((const char *)in->data, len);
	in->data += len;
	in->len -= len;
	return text ? text : json_string("");
}

static json_int_t take_number(struct input *in)
{
	uint64_t n = 0;
	unsigned bytes = take(in) % 9;

	for (unsigned i = 0; i < bytes; i++)
		n = n << 8 | take(in);
	return (json_int_t)n;
}

static json_t *take_value(struct input *in)
{
	json_t *list;
	unsigned kind = take(in), count = take(in) % 80;

	switch (kind % 6) {
	case 0: return take_string(in);
	case 1: return json_integer(take_number(in));
	case 2: return json_boolean(kind & 64);
	case 3: return NULL; /* it is taken away */
	default: break;
	}
	list = json_array();
	for (unsigned i = 0; i < count && in->len; i++)
		json_array_append_new(
			list, kind % 6 == 4 ? take_string(in)
					    : json_pack("{s:I, s:I, s:I}", "public", take_number(in),
							"tunnel", take_number(in), "count", take_number(in)));
	return list;
}

/* Another value for one of its keys. */
static void spoil(json_t *object, struct input *in)
{
	size_t n = take(in) % json_object_size(object);
	void *at = json_object_iter(object);

	while (n--)
		at = json_object_iter_next(object, at);
	const char *key = json_object_iter_key(at);
	json_t *value = take_value(in);
	if (value)
		json_object_set_new(object, key, value);
	else
		json_object_del(object, key);
}

/* A key that they lack would have all that comes refused, and nothing tried. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct lease_request request;
	struct lease_grant grant;
	struct admit_request admit;
	struct admit_grant admitted;
	char why[RULE_WHY];
	json_t *json[4];

	(void)argc;
	(void)argv;
	for (int i = 0; i < 4; i++)
		json[i] = json_loads(messages[i], 0, NULL);
	if (lease_request_read(&request, json[0], why) || lease_grant_read(&grant, json[1], why) ||
	    admit_request_read(&admit, json[2], why) || admit_grant_read(&admitted, json[3], why))
		abort();
	for (int i = 0; i < 4; i++)
		json_decref(json[i]);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned choice = take(&in);
	json_t *json = json_loads(messages[take(&in) % (sizeof messages / sizeof *messages)], 0, NULL);

	for (int i = 0; i < 4 && in.len && json_object_size(json); i++)
		spoil(json, &in);
	char *text = json_dumps(json, JSON_COMPACT);
	try_reply(text, strlen(text), (uint8_t)choice);
	try_request(json);
	try_grant(json);
	try_admit(json);
	try_stats(json);
	free(text);
	json_decref(json);
	return 0;
}
