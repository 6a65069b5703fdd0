/* What is done rather than looked at, and how the hub is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "relay/rest_internal.h"

/* --- Health */

static json_t *relay_json(const struct relay_server *relay)
{
	struct relay_stats s = relay ? relay_server_stats(relay) : (struct relay_stats) { 0 };

	return json_pack("{s:i, s:i, s:i, s:I, s:I}", "slots", (int)s.slots, "bound", (int)s.bound,
			 "sessions", (int)s.sessions, "forwarded", (json_int_t)s.forwarded, "bytes",
			 (json_int_t)s.bytes);
}

static json_t *store_json(struct store *s, bool *ok)
{
	enum store_state state = store_state(s);

	*ok = state == STORE_OK || state == STORE_BUSY;
	return json_pack("{s:s, s:I, s:I}", "state", store_state_word(state), "waiting",
			 (json_int_t)store_waiting(s), "audit_lost", (json_int_t)store_audit_lost(s));
}

/* The answer is 200 also when the store takes nothing: then networks go on working, and `status` says "degraded". */
void rest_health(struct rest_call *c)
{
	const struct rest_config *config = &c->rest->config;
	struct coord_stats s = coord_stats(config->coord);
	bool ok;
	json_t *store = store_json(config->store, &ok);

	rest_json(c, 200,
		  json_pack("{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:o, s:o}", "schema", "p2phub.status/1",
			    "status", ok ? "ok" : "degraded", "version", P2PD_VERSION, "uptime_s",
			    (json_int_t)((c->request->now_ms - config->started_ms) / 1000), "connections",
			    (int)s.connections, "online", (int)s.online, "networks", (int)s.networks,
			    "records", (int)s.records, "relay", relay_json(config->relay), "store", store));
}

void rest_openapi(struct rest_call *c)
{
	c->answer->status = 200;
	c->answer->type = "application/json";
	c->answer->text = c->rest->config.openapi;
}

/* --- Quota */

struct limit {
	const char *name;
	size_t offset;
	bool wide; /* 64 bits */
};

static const struct limit limits[] = {
	{ "total_rate", offsetof(struct quota_limits, total_rate), false },
	{ "network_rate", offsetof(struct quota_limits, network_rate), false },
	{ "node_rate", offsetof(struct quota_limits, node_rate), false },
	{ "network_month", offsetof(struct quota_limits, network_month), true },
	{ "node_month", offsetof(struct quota_limits, node_month), true },
};
enum { LIMITS = sizeof limits / sizeof *limits };

static uint64_t limit_get(const struct quota_limits *q, const struct limit *l)
{
	const char *at = (const char *)q + l->offset;

	return l->wide ? *(const uint64_t *)(const void *)at : *(const uint32_t *)(const void *)at;
}

static void limit_set(struct quota_limits *q, const struct limit *l, uint64_t value)
{
	char *at = (char *)q + l->offset;

	if (l->wide)
		*(uint64_t *)(void *)at = value;
	else
		*(uint32_t *)(void *)at = (uint32_t)value;
}

static json_t *quota_json(const struct quota_limits *q)
{
	json_t *json = json_object();

	for (size_t i = 0; i < LIMITS; i++)
		json_object_set_new(json, limits[i].name, json_integer((json_int_t)limit_get(q, &limits[i])));
	return json;
}

void rest_quota_get(struct rest_call *c)
{
	struct quota_limits q;

	c->rest->config.quota_get(c->rest->config.arg, &q);
	rest_json(c, 200, quota_json(&q));
}

/* All of them, so that none is lifted by leaving it out. */
static bool quota_parse(struct rest_call *c, const json_t *body, struct quota_limits *q)
{
	*q = (struct quota_limits) { 0 };
	for (size_t i = 0; i < LIMITS; i++) {
		const json_t *value = json_object_get(body, limits[i].name);
		json_int_t n = json_integer_value(value), max = limits[i].wide ? INT64_MAX : UINT32_MAX;
		if (!json_is_integer(value) || n < 0 || n > max) {
			rest_problem(c, 422, "%s is needed, a number from 0 (no limit) to %lld",
				     limits[i].name, (long long)max);
			return false;
		}
		limit_set(q, &limits[i], (uint64_t)n);
	}
	if (json_object_size(body) == LIMITS)
		return true;
	rest_problem(c, 422, "there is a member that is not known here");
	return false;
}

static void quota_words(char *out, size_t size, const struct quota_limits *q)
{
	size_t len = 0;

	for (size_t i = 0; i < LIMITS && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s=%llu", i ? " " : "", limits[i].name,
					(unsigned long long)limit_get(q, &limits[i]));
}

void rest_quota_put(struct rest_call *c)
{
	const struct rest_config *config = &c->rest->config;
	json_t *body = rest_body(c);
	struct quota_limits q;
	char words[160];

	if (!body)
		return;
	if (quota_parse(c, body, &q)) {
		config->quota_set(config->arg, &q);
		quota_words(words, sizeof words, &q);
		rest_audit(c->rest, c->answer->actor, "quota.set", words, "ok", c->request->unix_s);
		rest_json(c, 200, quota_json(&q));
	}
	json_decref(body);
}

/* --- Backup */

void rest_backup(struct rest_call *c)
{
	c->answer->backup = true;
}

static int backup_status(int error)
{
	switch (error) {
	case 0: return 201;
	case -EBUSY:
	case -EEXIST: return 409;
	case -ENOSPC:
	case -EDQUOT: return 507;
	default: return 503;
	}
}

void rest_on_backup(struct rest *r, struct rest_answer *answer, int error, const char *why, const char *file,
		    uint64_t bytes, uint64_t unix_s)
{
	struct rest_call c = { .rest = r, .answer = answer };
	int status = backup_status(error);

	answer->backup = false;
	if (status == 201)
		rest_json(&c, status,
			  json_pack("{s:s, s:I, s:o}", "file", file, "bytes", (json_int_t)bytes, "time",
				    rest_time_json(unix_s)));
	else
		rest_problem(&c, status, "%s", why);
	rest_audit(r, answer->actor, "backup.create", file, error ? "failed" : "ok", unix_s);
}
