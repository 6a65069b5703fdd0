/* What the parts of the API share: rest.c (who asks, and may he), rest_query.c (what exactly), rest_answer.c (how answers
 * look), rest_look.c (what there is to see), rest_act.c (what there is to do). */
#ifndef P2PD_RELAY_REST_INTERNAL_H
#define P2PD_RELAY_REST_INTERNAL_H

#include <jansson.h>

#include "core/bucket.h"
#include "relay/rest.h"

enum {
	REST_SOURCES = 1024,
	REST_TOKENS = 256,
	REST_VALUE = 128,
	REST_KEY = 32,
	REST_KEY_TEXT = 65,
	REST_TIME = 32
};

struct rest {
	struct rest_config config;
	uint8_t seed[16];
	struct bucket strangers[REST_SOURCES], tokens[REST_TOKENS], denials;
};

struct rest_call {
	struct rest *rest;
	const struct rest_request *request;
	struct rest_answer *answer;
	const struct rest_route *route;
	char param[REST_VALUE]; /* for the "{...}" of the route */
};

/* --- Answers. Exactly one for each call. */
void rest_json(struct rest_call *c, int status, json_t *body);
__attribute__((format(printf, 3, 4))) void rest_problem(struct rest_call *c, int status, const char *fmt,
							...);
/* 503, for what store.h says of it. */
void rest_store_problem(struct rest_call *c, int error);
/* Adds a header. */
__attribute__((format(printf, 2, 3))) void rest_header(struct rest_answer *a, const char *fmt, ...);
/* Values of an object. */
json_t *rest_key_json(const uint8_t key[static REST_KEY]);
json_t *rest_time_json(uint64_t unix_s); /* null for 0 */
json_t *rest_addr_json(const struct addr *a);

/* --- Questions. Those that return bool answer 400 themselves when they return false. */
/* The route's "{...}" out of the path. */
bool rest_path_fits(const char *pattern, const char *path, char param[static REST_VALUE]);
bool rest_query_check(struct rest_call *c);
/* False: no such parameter. */
bool rest_query(const struct rest_call *c, const char *name, char out[static REST_VALUE]);
bool rest_query_number(struct rest_call *c, const char *name, uint64_t min, uint64_t max, uint64_t *inout);
/* Seconds since 1970, or 2026-01-31T09:05:00Z. */
bool rest_query_time(struct rest_call *c, const char *name, uint64_t *inout);
/* 64 hex digits; *given tells whether it is there. */
bool rest_query_key(struct rest_call *c, const char *name, uint8_t out[static REST_KEY], bool *given);
bool rest_param_key(struct rest_call *c, uint8_t out[static REST_KEY]);
/* The body, a JSON object; NULL: answered. */
json_t *rest_body(struct rest_call *c);

void rest_audit(struct rest *r, const char *actor, const char *action, const char *object,
		const char *outcome, uint64_t unix_s);

/* --- The routes' handlers. */
void rest_networks(struct rest_call *c);
void rest_network(struct rest_call *c);
void rest_nodes(struct rest_call *c);
void rest_node(struct rest_call *c);
void rest_sessions(struct rest_call *c);
void rest_usage(struct rest_call *c);
void rest_audit_list(struct rest_call *c);
void rest_quota_get(struct rest_call *c);
void rest_quota_put(struct rest_call *c);
void rest_backup(struct rest_call *c);
void rest_health(struct rest_call *c);
void rest_openapi(struct rest_call *c);

#endif
