/* Order of the checks: Host and Origin; who is it; how often did he ask; is there such a thing; may he; is it well asked. */
#include "relay/rest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "relay/api_token.h"
#include "relay/rest_internal.h"

enum { HTTPS_PORT = 443 };

static const struct rest_route routes[] = {
	{ "GET", "/health", REST_READ, "", false, rest_health },
	{ "GET", "/networks", REST_READ, "limit cursor", false, rest_networks },
	{ "GET", "/networks/{netid}", REST_READ, "", false, rest_network },
	{ "GET", "/networks/{netid}/nodes", REST_READ, "limit cursor", false, rest_nodes },
	{ "GET", "/nodes/{ik}", REST_READ, "network", false, rest_node },
	{ "GET", "/sessions", REST_READ, "limit cursor", false, rest_sessions },
	{ "GET", "/usage", REST_READ, "month network limit cursor", false, rest_usage },
	{ "GET", "/audit", REST_ADMIN, "since until action order limit cursor", false, rest_audit_list },
	{ "GET", "/quota", REST_READ, "", false, rest_quota_get },
	{ "PUT", "/quota", REST_ADMIN, "", true, rest_quota_put },
	{ "POST", "/backup", REST_ADMIN, "", false, rest_backup },
	{ "GET", "/openapi.json", REST_OPEN, "", false, rest_openapi },
};

const struct rest_route *rest_routes(size_t *count)
{
	*count = sizeof routes / sizeof *routes;
	return routes;
}

struct rest *rest_create(const struct rest_config *config)
{
	struct rest *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->config = *config;
	rng_fill(config->rng, r->seed, sizeof r->seed);
	r->config.rng = NULL;
	return r;
}

void rest_destroy(struct rest *r)
{
	free(r);
}

void rest_audit(struct rest *r, const char *actor, const char *action, const char *object,
		const char *outcome, uint64_t unix_s)
{
	struct store_audit e = { .time_s = unix_s };

	snprintf(e.actor, sizeof e.actor, "%s", actor);
	snprintf(e.action, sizeof e.action, "%s", action);
	snprintf(e.object, sizeof e.object, "%s", object);
	snprintf(e.outcome, sizeof e.outcome, "%s", outcome);
	store_audit_add(r->config.store, &e); /* what it cannot take it counts */
}

/* --- Host and Origin */

struct place {
	char host[256]; /* RFC 1035 section 2.3.4 allows 253 */
	uint16_t port;
};

/* "name", "name:port", "[v6]:port"; the host without brackets. */
static bool place_parse(struct place *p, const char *text)
{
	size_t len = *text == '[' ? strcspn(text, "]") : strcspn(text, ":");
	const char *rest = text + len + (text[len] == ']');
	char *end;

	p->port = HTTPS_PORT;
	if (len == 0 || (*text == '[' && text[len] != ']') || len >= sizeof p->host)
		return false;
	snprintf(p->host, sizeof p->host, "%.*s", (int)(len - (*text == '[')), text + (*text == '['));
	if (!*rest)
		return true;
	unsigned long port = strtoul(rest + 1, &end, 10);
	if (*rest != ':' || rest[1] < '0' || rest[1] > '9' || *end || port == 0 || port > UINT16_MAX)
		return false;
	p->port = (uint16_t)port;
	return true;
}

static bool is_own_host(const struct rest_call *c, const char *host)
{
	const struct addr *at = &c->request->at;
	const char *url_host = c->rest->config.url_host;
	struct addr literal;

	if (*url_host && !strcasecmp(host, url_host))
		return true;
	if (addr_parse(&literal, host, HTTPS_PORT) == 0)
		return addr_same_ip(&literal, at);
	return !strcasecmp(host, "localhost") && addr_is_loopback(at);
}

/* RFC 9112 section 3.2: exactly one. NULL otherwise. */
static const char *host_header(const struct http_message *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->header_count; i++)
		n += !strcasecmp(m->header[i].name, "host");
	return n == 1 ? http_header(m, "host") : NULL;
}

static bool host_is_ours(struct rest_call *c, struct place *asked)
{
	const char *host = host_header(c->request->http);

	if (!host || !place_parse(asked, host)) {
		rest_problem(c, 400, "a Host header that names this hub is needed");
		return false;
	}
	if (is_own_host(c, asked->host))
		return true;
	rest_problem(c, 403,
		     "the hub does not go by the name in the Host header: use its own, or tell the hub with "
		     "--url-host");
	return false;
}

static bool origin_is_ours(struct rest_call *c, const struct place *asked)
{
	static const char scheme[] = "https://";
	const char *origin = http_header(c->request->http, "origin");
	struct place from;

	if (!origin)
		return true;
	if (!strncasecmp(origin, scheme, sizeof scheme - 1) &&
	    place_parse(&from, origin + sizeof scheme - 1) && is_own_host(c, from.host) &&
	    (from.port == asked->port || from.port == c->rest->config.url_port))
		return true;
	rest_problem(c, 403, "pages of other sites may not use the API");
	return false;
}

/* --- Who asks */

struct caller {
	enum rest_scope scope; /* REST_OPEN: nobody known */
	uint64_t token;	       /* its id */
	char actor[80];
	const char *wrong; /* with what he showed, NULL if nothing was shown */
};

static void judge_token(struct caller *who, const struct store_token *t, uint64_t unix_s)
{
	snprintf(who->actor, sizeof who->actor, "token:%.63s", t->name);
	if (t->revoked_s)
		who->wrong = "the token was revoked";
	else if (t->expires_s && unix_s >= t->expires_s)
		who->wrong = "the token has expired";
	else if (t->scope == STORE_SCOPE_ADMIN || t->scope == STORE_SCOPE_READ) {
		who->scope = t->scope == STORE_SCOPE_ADMIN ? REST_ADMIN : REST_READ;
		who->token = t->id;
	} else
		who->wrong = "the token has no scope";
}

/* 0, or the store's error. */
static int find_caller(const struct rest_call *c, struct caller *who)
{
	const char *header = http_header(c->request->http, "authorization");
	uint8_t hash[API_TOKEN_HASH];
	struct store_token t;

	*who = (struct caller) { .actor = "nobody" };
	if (c->request->local) {
		*who = (struct caller) { .scope = REST_ADMIN, .actor = "local" };
		return 0;
	}
	if (!header)
		return 0;
	const char *text = api_token_of_header(header);
	who->wrong = "this token is not known here";
	if (!text || api_token_hash(hash, text) != 0)
		return 0;
	int rc = store_token_find(c->rest->config.store, hash, &t);
	if (rc == 0 && crypto_equal(t.hash, hash, sizeof hash)) {
		who->wrong = NULL;
		judge_token(who, &t, c->request->unix_s);
	}
	return rc == -ENOENT ? 0 : rc;
}

/* One bucket may serve several: better than memory for each address there is. */
static struct bucket *stranger_bucket(struct rest *r, const struct addr *from)
{
	uint8_t out[16];

	crypto_blake2s(
		out, sizeof out, r->seed, sizeof r->seed,
		(struct part[]) { { &from->family, 1 }, { from->ip, from->family == ADDR_V6 ? 8 : 4 } }, 2);
	return &r->strangers[(out[0] | out[1] << 8) % REST_SOURCES];
}

static bool not_too_often(struct rest_call *c, const struct caller *who)
{
	struct rest *r = c->rest;
	uint64_t now = c->request->now_ms;
	bool ok = c->request->local;

	if (!ok && who->scope != REST_OPEN)
		ok = bucket_take(&r->tokens[who->token % REST_TOKENS], REST_TOKEN_PER_S, REST_TOKEN_BURST,
				 now);
	else if (!ok)
		ok = bucket_take(stranger_bucket(r, &c->request->from), REST_STRANGER_PER_S,
				 REST_STRANGER_BURST, now);
	if (ok)
		return true;
	rest_header(c->answer, "Retry-After: 1\r\n");
	rest_problem(c, 429, "too many requests: wait a second");
	return false;
}

static void audit_denial(struct rest_call *c, const struct caller *who, const char *outcome)
{
	struct rest *r = c->rest;
	char object[96];

	if (!bucket_take(&r->denials, REST_AUDIT_PER_S, REST_AUDIT_BURST, c->request->now_ms))
		return;
	snprintf(object, sizeof object, "%s %s", c->route->method, c->route->path);
	rest_audit(r, who->actor, "api.denied", object, outcome, c->request->unix_s);
}

static bool may(struct rest_call *c, const struct caller *who)
{
	if (who->scope >= c->route->scope)
		return true;
	if (who->scope == REST_OPEN) {
		rest_header(c->answer, "WWW-Authenticate: Bearer realm=\"p2phub\"%s\r\n",
			    who->wrong ? ", error=\"invalid_token\"" : "");
		rest_problem(c, 401, "%s: make one with `p2phub apikey create` on the hub",
			     who->wrong ? who->wrong : "a token is needed");
		if (who->wrong)
			audit_denial(c, who, "unauthenticated");
		return false;
	}
	rest_header(c->answer, "WWW-Authenticate: Bearer realm=\"p2phub\", error=\"insufficient_scope\", "
			       "scope=\"admin\"\r\n");
	rest_problem(c, 403, "this takes a token of scope admin");
	audit_denial(c, who, "denied");
	return false;
}

/* --- What he asks for */

static bool find_route(struct rest_call *c)
{
	char allow[64] = "";

	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		if (!rest_path_fits(routes[i].path, c->request->path, c->param))
			continue;
		if (!strcmp(routes[i].method, c->request->http->method)) {
			c->route = &routes[i];
			return true;
		}
		size_t len = strlen(allow);
		snprintf(allow + len, sizeof allow - len, "%s%s", len ? ", " : "", routes[i].method);
	}
	if (*allow) {
		rest_header(c->answer, "Allow: %s\r\n", allow);
		rest_problem(c, 405, "only %s can be done with it", allow);
	} else
		rest_problem(c, 404,
			     "there is nothing of this name: /api/v1/openapi.json lists what there is");
	return false;
}

static bool body_is_fit(struct rest_call *c)
{
	const struct http_message *m = c->request->http;
	static const char json[] = "application/json";
	const char *type = http_header(m, "content-type");

	if (m->body_len > REST_BODY_MAX) {
		rest_problem(c, 413, "at most %d bytes", REST_BODY_MAX);
		return false;
	}
	if (!c->route->body)
		return true;
	if (type && !strncasecmp(type, json, sizeof json - 1) && strchr("; \t", type[sizeof json - 1]))
		return true;
	rest_problem(c, 415, "send JSON, with Content-Type: application/json");
	return false;
}

/* Who it is, if he may ask at all. */
static bool enter(struct rest_call *c, struct caller *who)
{
	struct place asked;

	*c->answer = (struct rest_answer) { 0 };
	if (!c->request->local && (!host_is_ours(c, &asked) || !origin_is_ours(c, &asked)))
		return false;
	int rc = find_caller(c, who);
	if (!not_too_often(c, who))
		return false;
	if (rc)
		rest_store_problem(c, rc);
	snprintf(c->answer->actor, sizeof c->answer->actor, "%s", who->actor);
	return rc == 0;
}

void rest_handle(struct rest *r, const struct rest_request *request, struct rest_answer *out)
{
	struct rest_call c = { .rest = r, .request = request, .answer = out };
	struct caller who;

	if (enter(&c, &who) && find_route(&c) && may(&c, &who) && rest_query_check(&c) && body_is_fit(&c))
		c.route->handle(&c);
}

bool rest_admit(struct rest *r, const struct rest_request *request, const struct rest_route *route,
		struct rest_answer *out)
{
	struct rest_call c = { .rest = r, .request = request, .answer = out, .route = route };
	struct caller who;

	return enter(&c, &who) && may(&c, &who);
}
