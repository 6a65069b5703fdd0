#include "apps/p2pd/forward/door.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/door_limit.h"
#include "apps/p2pd/forward/door_page.h"
#include "core/log.h"
#include "core/stream.h"
#include "relay/http.h"

enum {
	CERT_LOOK_MS = 60000, /* whether certificate files were renewed */
	PER_SOURCE_MAX = 32,  /* connections */
	STAMP = 32,
	RETRY_TEXT = 48,
};

static const char key_file[] = "door.key";

struct door {
	struct door_config config;
	struct http_server *http;
	struct tls_config *tls;
	struct stream_listener *listeners[2];
	struct loop_timer *timer;
	uint8_t stamp[STAMP]; /* of the certificate and key in use */
	struct door_limit limit;
	struct rng rng;
	struct door_visit *visits;
	unsigned visit_count;
};

struct door_visit {
	struct door *door; /* NULL: it was closed */
	struct door_visit *next, **at;
	struct http_exchange *x; /* NULL: the visitor has gone */
	struct addr visitor;
	bool look;
};

/* --- Pages. */

static const char *retry_after(enum door_page page, const struct admit_grant *grant,
			       char out[static RETRY_TEXT])
{
	uint64_t now = (uint64_t)time(NULL), wait = 60;

	out[0] = 0;
	if (page == DOOR_PAGE_FULL)
		wait = grant->until > now ? grant->until - now : 1;
	if (page == DOOR_PAGE_LIMITED || page == DOOR_PAGE_BUSY || page == DOOR_PAGE_FULL)
		snprintf(out, RETRY_TEXT, "Retry-After: %" PRIu64 "\r\n", wait);
	return out;
}

static void answer_page(struct door *d, struct http_exchange *x, enum door_page page,
			const struct admit_grant *grant)
{
	struct door_page_facts f = { .visitor = http_remote(x) };
	uint8_t random[16];
	char headers[384], retry[RETRY_TEXT];

	rng_fill(&d->rng, random, sizeof random);
	crypto_base64url(f.nonce, random, sizeof random);
	if (grant)
		f.grant = *grant;
	snprintf(headers, sizeof headers,
		 "Content-Security-Policy: default-src 'none'; style-src 'nonce-%s'; form-action 'self'; "
		 "frame-ancestors 'none'; base-uri 'none'\r\nReferrer-Policy: no-referrer\r\n"
		 "X-Robots-Tag: noindex, nofollow\r\nCross-Origin-Opener-Policy: same-origin\r\n%s",
		 f.nonce, retry_after(page, grant, retry));
	char *text = door_page_text(page, &f);
	http_answer_with(x, text ? door_page_status(page) : 500, "text/html; charset=utf-8", headers,
			 text ? text : "", text ? strlen(text) : 0);
	free(text);
}

/* --- Visits. */

static void tell(const struct door *d, enum door_event event, const struct addr *visitor, const char *name)
{
	if (d->config.handler.on_event)
		d->config.handler.on_event(d->config.arg, event, visitor, name);
}

static void visitor_gone(void *arg)
{
	struct door_visit *v = arg;

	v->x = NULL;
}

static struct door_visit *visit_create(struct door *d, struct http_exchange *x, const struct addr *visitor,
				       bool look)
{
	struct door_visit *v = d->visit_count < DOOR_ASKS_MAX ? calloc(1, sizeof *v) : NULL;

	if (!v)
		return NULL;
	*v = (struct door_visit) { d, d->visits, &d->visits, x, *visitor, look };
	if (v->next)
		v->next->at = &v->next;
	d->visits = v;
	d->visit_count++;
	http_on_gone(x, visitor_gone, v);
	return v;
}

static enum door_page page_for(const struct door_visit *v, int error, const struct admit_grant *grant)
{
	switch (error) {
	case 0: return grant->full ? DOOR_PAGE_FULL : v->look ? DOOR_PAGE_ASK : DOOR_PAGE_ADMITTED;
	case -ENOENT:
	case -EACCES: return DOOR_PAGE_WRONG;
	default: return DOOR_PAGE_BUSY;
	}
}

static void note(struct door *d, const struct door_visit *v, enum door_page page, const char *name)
{
	static const enum door_event events[] = { [DOOR_PAGE_ASK] = DOOR_LOOKED,
						  [DOOR_PAGE_ADMITTED] = DOOR_ADMITTED,
						  [DOOR_PAGE_FULL] = DOOR_FULL,
						  [DOOR_PAGE_WRONG] = DOOR_WRONG,
						  [DOOR_PAGE_BUSY] = DOOR_FAILED };

	if (page == DOOR_PAGE_WRONG)
		door_limit_wrong(&d->limit, &v->visitor, loop_now_ms());
	tell(d, events[page], &v->visitor, name);
}

void door_answer(struct door_visit *v, int error, const struct admit_grant *grant)
{
	struct door *d = v->door;
	enum door_page page = page_for(v, error, grant);

	if (d) {
		*v->at = v->next;
		if (v->next)
			v->next->at = v->at;
		d->visit_count--;
		note(d, v, page, error ? "" : grant->name);
		if (v->x)
			answer_page(d, v->x, page, error ? NULL : grant);
	}
	free(v);
}

/* --- Requests. */

static bool well_formed(const char *token)
{
	size_t len = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

	return len && !token[len] && len <= DOOR_TOKEN_MAX;
}

/* Another site must not press the button for the visitor: it only gets to see the page. Browsers that do not say so send
 * the form all the same, and what it can do is what its owner wants it to. */
static bool presses_button(const struct http_message *m)
{
	const char *site = http_header(m, "sec-fetch-site");

	return !strcmp(m->method, "POST") && (!site || !strcmp(site, "same-origin"));
}

static void on_token(void *arg, struct http_exchange *x)
{
	struct door *d = arg;
	const char *token = http_path_rest(x);
	struct addr who = http_remote(x);
	bool say;

	who.port = 0;
	if (!door_limit_knock(&d->limit, &who, loop_now_ms(), &say)) {
		if (say)
			tell(d, DOOR_LIMITED, &who, "");
		answer_page(d, x, DOOR_PAGE_LIMITED, NULL);
		return;
	}
	struct door_visit *v = visit_create(d, x, &who, !presses_button(http_request(x)));
	if (!v)
		answer_page(d, x, DOOR_PAGE_BUSY, NULL);
	else if (!well_formed(token))
		door_answer(v, -ENOENT, NULL);
	else
		d->config.handler.on_visit(d->config.arg, v, token, &who, v->look);
}

static void on_other(void *arg, struct http_exchange *x)
{
	answer_page(arg, x, DOOR_PAGE_OTHER, NULL);
}

static const struct http_route routes[] = { { "GET", "/t/*", on_token },
					    { "POST", "/t/*", on_token },
					    { "*", "/*", on_other } };

/* --- Connections. */

static bool may_come(void *arg, const struct addr *from)
{
	struct door *d = arg;
	struct addr who = *from;
	bool say;

	who.port = 0;
	if (door_limit_come(&d->limit, &who, loop_now_ms(), &say))
		return true;
	if (say)
		tell(d, DOOR_LIMITED, &who, "");
	return false;
}

/* --- Life. */

static int read_key(const struct door_config *c, struct tls_key *key, char why[static RULE_WHY])
{
	int rc = *c->cert ? tls_key_from_files(key, c->cert, c->key) : tls_key_kept(key, c->dir, key_file);

	if (rc && *c->cert)
		snprintf(why, RULE_WHY, "cannot read %.80s and %.80s: %s", c->cert, c->key, strerror(-rc));
	else if (rc)
		snprintf(why, RULE_WHY, "cannot use %s in the state folder: %s", key_file, strerror(-rc));
	return rc;
}

static void stamp_of(uint8_t stamp[static STAMP], const struct tls_key *key)
{
	const struct part parts[] = { { key->cert, key->cert_len }, { key->key, key->key_len } };

	crypto_blake2b(stamp, STAMP, NULL, 0, parts, 2);
}

/* 0 also if nothing has changed. */
static int load_key(struct door *d, char why[static RULE_WHY])
{
	struct tls_config *tls, *old = d->tls;
	struct tls_key key = { 0 };
	uint8_t stamp[STAMP];
	int rc = read_key(&d->config, &key, why);

	if (rc)
		return rc;
	stamp_of(stamp, &key);
	bool same = old && !memcmp(stamp, d->stamp, STAMP);
	rc = same ? 0 : tls_server_config(&tls, &key);
	tls_key_wipe(&key);
	if (rc)
		snprintf(why, RULE_WHY, "%.80s and %.80s are no certificate and its key", d->config.cert,
			 d->config.key);
	if (rc || same)
		return rc;
	d->tls = tls;
	memcpy(d->stamp, stamp, STAMP);
	for (unsigned i = 0; i < 2; i++)
		if (d->listeners[i])
			stream_listener_set_tls(d->listeners[i], tls);
	tls_config_destroy(old);
	return 0;
}

static void look_at_files(void *arg)
{
	struct door *d = arg;
	char why[RULE_WHY];

	if (load_key(d, why) != 0)
		log_warn("door", "%s; the certificate of before stays in use", why);
	loop_timer_set(d->timer, loop_now_ms() + CERT_LOOK_MS);
}

static int listen_at(struct door *d, unsigned i, const struct addr *at, char why[static RULE_WHY])
{
	char text[ADDR_TEXT_MAX];

	if (at->family == ADDR_NONE)
		return 0;
	int rc = stream_listen(&d->listeners[i], d->config.loop, at, d->tls, http_server_accept, d->http);
	if (rc)
		snprintf(why, RULE_WHY, "cannot listen at %s: %s", addr_format(at, text), strerror(-rc));
	else
		stream_listener_set_gate(d->listeners[i], may_come, d);
	return rc;
}

static int set_up(struct door *d, char why[static RULE_WHY])
{
	d->http = http_server_create(d->config.loop, routes, sizeof routes / sizeof *routes, d);
	d->timer = loop_timer_create(d->config.loop, look_at_files, d);
	if (!d->http || !d->timer) {
		snprintf(why, RULE_WHY, "out of memory");
		return -ENOMEM;
	}
	http_server_set_per_source(d->http, PER_SOURCE_MAX);
	int rc = load_key(d, why);
	if (rc == 0)
		rc = listen_at(d, 0, &d->config.at4, why);
	if (rc == 0)
		rc = listen_at(d, 1, &d->config.at6, why);
	if (rc == 0 && *d->config.cert)
		loop_timer_set(d->timer, loop_now_ms() + CERT_LOOK_MS);
	return rc;
}

int door_open(struct door **out, const struct door_config *config, char why[static RULE_WHY])
{
	struct door *d = calloc(1, sizeof *d);

	*out = NULL;
	if (!d) {
		snprintf(why, RULE_WHY, "out of memory");
		return -ENOMEM;
	}
	d->config = *config;
	rng_init_system(&d->rng);
	door_limit_init(&d->limit, &d->rng);
	int rc = set_up(d, why);
	if (rc)
		door_close(d);
	else
		*out = d;
	return rc;
}

void door_close(struct door *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < 2; i++)
		stream_listener_close(d->listeners[i]);
	http_server_destroy(d->http);
	while (d->visits) { /* whoever has to answer still does, and frees it */
		struct door_visit *v = d->visits;
		d->visits = v->next;
		v->door = NULL;
	}
	loop_timer_destroy(d->timer);
	tls_config_destroy(d->tls);
	door_limit_free(&d->limit);
	crypto_wipe(&d->rng, sizeof d->rng);
	free(d);
}
