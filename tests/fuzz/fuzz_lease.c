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

/* Good ones, for the fuzzer to spoil. */
static const char *const beginnings[] = {
	"",
	"{\"forward_id\":\"01980000-0000-7000-8000-000000000001\",\"name\":\"till\",\"domain\":\"\","
	"\"proto\":\"tcp\","
	"\"ranges\":[{\"public\":1,\"tunnel\":2,\"count\":3}],\"restricted\":true,\"allow\":[\"10.0.0.0/8\"],"
	"\"max_conn\":1,\"idle_s\":1,\"rate\":1,\"expires_at\":1,\"paused\":false,\"kernel\":true,\"family\":"
	"4,"
	"\"tokens\":",
	"{\"public4\":\"192.0.2.1\",\"public6\":\"\",\"ports\":[443],\"kernel\":true,\"mode_why\":\"\","
	"\"door\":"
	"\"https://192.0.2.1\",\"rate\":1,\"max_conn\":",
	"{\"forward_id\":\"01980000-0000-7000-8000-000000000001\",\"token\":\"abc\",\"visitor\":\"192.0.2."
	"1\",\"look\":",
	"{\"until\":1,\"name\":\"till\",\"for_s\":",
	"{\"bytes_in\":1,\"bytes_out\":1,\"connections\":1,\"total\":1,\"rejected\":{\"not_allowed\":1,"
	"\"full\":1,"
	"\"rate\":1,\"paused\":1,\"no_service\":1,\"bad_header\":1},\"last_visitor\":\"192.0.2.1\",\"last_"
	"age_ms\":",
	"{\"error\":{\"code\":\"conflict\",\"message\":",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[HTTP_BODY_MAX];

	if (size < 2 || size > sizeof text - 1024)
		return 0;
	const char *start = beginnings[data[1] % (sizeof beginnings / sizeof *beginnings)];
	size_t len = strlen(start);
	memcpy(text, start, len);
	memcpy(text + len, data + 2, size - 2);
	len += size - 2;
	try_reply(text, len, data[0]);
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	try_request(json);
	try_grant(json);
	try_admit(json);
	try_stats(json);
	json_decref(json);
	return 0;
}
