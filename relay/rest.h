/* The hub's REST API, /api/v1, described by apps/p2phub/openapi.json: who asks may he, what does he ask, what is the
 * answer. Pure but for what the store does: requests in, answers out. Errors are problem objects (RFC 9457).
 *
 * Who asks over the network shows a token (api_token.h); what it may is its scope. Against web pages that make a browser
 * ask (DNS rebinding, CSRF): the Host must be the hub's own name or the address that was asked, an Origin must be the
 * hub's, and bodies must be declared as JSON. Who asks by the hub's own socket is root or the hub's user, and may all.
 *
 * Limits: who shows a good token has REST_TOKEN_PER_S for it, whoever else shares his address; all others of one address
 * (IPv6: of a /64) share REST_STRANGER_PER_S. No token can be guessed at that rate, and a stranger locks nobody out. */
#ifndef P2PD_RELAY_REST_H
#define P2PD_RELAY_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/crypto.h"
#include "relay/coord.h"
#include "relay/http_parse.h"
#include "relay/quota.h"
#include "relay/relay_server.h"
#include "relay/store.h"

enum {
	REST_BODY_MAX = 16384,
	REST_PAGE = 100, /* entries of a list, without `limit` */
	REST_PAGE_MAX = 1000,
	REST_STRANGER_PER_S = 5,
	REST_STRANGER_BURST = 60,
	REST_TOKEN_PER_S = 50,
	REST_TOKEN_BURST = 200,
	/* Denials that the audit log takes, of all sources together. */
	REST_AUDIT_PER_S = 1,
	REST_AUDIT_BURST = 20,
	REST_HEADERS = 256,
};

struct json_t;
struct rest; /* opaque */

struct rest_config {
	const struct coord *coord;
	const struct relay_server *relay;
	struct store *store;
	struct rng *rng;      /* only for the call */
	const char *url_host; /* the hub's own, "" when none was given */
	uint16_t url_port;
	const char *openapi; /* JSON */
	uint64_t started_ms;
	void (*quota_get)(void *arg, struct quota_limits *out);
	void (*quota_set)(void *arg, const struct quota_limits *limits);
	void *arg;
};

/* All that is pointed to must stay. NULL without memory. */
struct rest *rest_create(const struct rest_config *config);
void rest_destroy(struct rest *r); /* NULL is allowed */

struct rest_request {
	const struct http_message *http;
	const char *path;     /* what follows "/api/v1" */
	bool local;	      /* by the hub's own socket */
	struct addr from, at; /* who asks, and the address that he asked */
	uint64_t now_ms, unix_s;
};

struct rest_answer {
	int status;
	const char *type;
	char headers[REST_HEADERS]; /* each "Name: value\r\n" */
	struct json_t *json;	    /* the caller's; NULL: `text` */
	const char *text;	    /* stays */
	/* No answer yet: first the caller is to make a backup and to tell of it by rest_on_backup(). */
	bool backup;
	char actor[80]; /* who wants it */
};

void rest_handle(struct rest *r, const struct rest_request *request, struct rest_answer *out);
struct rest_route;
/* The same checks for what lies beside the API, such as /metrics; its handler is not called. True: he may. False: `out` says
 * why not. */
bool rest_admit(struct rest *r, const struct rest_request *request, const struct rest_route *route,
		struct rest_answer *out);
/* A backup was made as the new file `file` (its name alone), or an errno says why not and `why` what to do. -EBUSY: one is
 * made already. `answer` is what rest_handle() left. */
void rest_on_backup(struct rest *r, struct rest_answer *answer, int error, const char *why, const char *file,
		    uint64_t bytes, uint64_t unix_s);

enum rest_scope { REST_OPEN, REST_READ, REST_ADMIN };
struct rest_call;
struct rest_route {
	const char *method, *path; /* "/networks/{netid}" */
	enum rest_scope scope;
	const char *query; /* names of parameters, with spaces between them */
	bool body;
	void (*handle)(struct rest_call *c);
};
/* For tests: all there is. */
const struct rest_route *rest_routes(size_t *count);

#endif
