#include "apps/p2pd/forward/lease_link.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/lease_link_impl.h"

/* --- Answers. */

static void ask_free(struct lease_ask *q)
{
	if (q->link) {
		*q->at = q->next;
		if (q->next)
			q->next->at = q->at;
		q->link->ask_count--;
	}
	free(q);
}

static void peer_gone(void *arg)
{
	struct lease_ask *q = arg;

	q->x = NULL;
}

/* Takes the reference over. */
static void answer(struct lease_ask *q, int status, const char *type, json_t *json)
{
	char *text = q->x && json ? json_dumps(json, JSON_COMPACT) : NULL;

	if (q->x)
		http_answer(q->x, text ? status : 500, type, text ? text : "", text ? strlen(text) : 0);
	json_decref(json);
	free(text);
	ask_free(q);
}

static void answer_good(struct lease_ask *q, json_t *json)
{
	answer(q, 200, "application/json", json);
}

void lease_answer_grant(struct lease_ask *q, const struct lease_grant *g)
{
	answer_good(q, lease_grant_json(g));
}

void lease_answer_released(struct lease_ask *q)
{
	answer_good(q, json_object());
}

void lease_answer_stats(struct lease_ask *q, const struct forward_stats *s)
{
	answer_good(q, lease_stats_json(s, loop_now_ms()));
}

void lease_answer_admit(struct lease_ask *q, const struct admit_grant *g)
{
	answer_good(q, admit_grant_json(g));
}

void lease_answer_error(struct lease_ask *q, int error, const char *why, const uint8_t *conflict)
{
	int status;
	json_t *json = lease_wire_error(error, why, conflict, &status);

	answer(q, status, "application/problem+json", json);
}

/* --- Who asks. */

static struct lease_ask *ask_create(struct lease_link *k, struct http_exchange *x)
{
	struct lease_ask *q = calloc(1, sizeof *q);

	if (!q) {
		http_answer_error(x, 500, "failed", "out of memory");
		return NULL;
	}
	*q = (struct lease_ask) { .link = k, .next = k->asks, .at = &k->asks, .x = x };
	if (q->next)
		q->next->at = &q->next;
	k->asks = q;
	k->ask_count++;
	http_on_gone(x, peer_gone, q);
	return q;
}

/* Answers it, and has it in the audit. */
static void refuse(struct lease_ask *q, const struct addr *peer, int error, const char *why)
{
	const struct lease_link *k = q->link;

	if (k->config.handler.on_refused)
		k->config.handler.on_refused(k->config.arg, peer, why);
	lease_answer_error(q, error, why, NULL);
}

/* Only members have them, so there are not more of them than members. NULL without memory. */
static struct lease_turns *turns_of(struct lease_link *k, const uint8_t *key)
{
	const struct lease_turns fresh = { 0 };
	struct lease_turns *t = map_find(&k->buckets, key);

	if (!t && map_put(&k->buckets, key, &fresh) == 0)
		t = map_find(&k->buckets, key);
	return t;
}

/* 0; -EAGAIN: too often; -EACCES: not signed. The turns of what is signed are not used up by what is not. */
static int check_turn(struct lease_link *k, const struct http_exchange *x, const uint8_t *key)
{
	struct lease_turns *t = turns_of(k, key);
	uint64_t now = loop_now_ms();

	if (!t || !bucket_has(&t->signed_asks, LEASE_ASKS_PER_S, LEASE_ASKS_BURST, now))
		return -EAGAIN;
	if (lease_wire_signed(http_request(x), key, k->config.ik_sk + 32)) {
		bucket_charge(&t->signed_asks, LEASE_ASKS_PER_S, 1, now);
		return 0;
	}
	return bucket_take(&t->others, LEASE_OTHERS_PER_S, LEASE_OTHERS_BURST, now) ? -EACCES : -EAGAIN;
}

/* The audit hears of it once in a while: it is no way to fill the disk. */
static void refuse_haste(struct lease_link *k, struct lease_ask *q, const uint8_t *key,
			 const struct addr *peer)
{
	static const char why[] = "asked too often";
	struct lease_turns *t = turns_of(k, key);
	uint64_t now = loop_now_ms();

	if (!t || (t->told_ms && now < t->told_ms + LEASE_TELL_MS)) {
		lease_answer_error(q, -EAGAIN, why, NULL);
		return;
	}
	t->told_ms = now;
	refuse(q, peer, -EAGAIN, why);
}

/* The ask of a member that has signed it; NULL: it is answered already. */
static struct lease_ask *check_in(struct lease_link *k, struct http_exchange *x, struct addr *peer)
{
	struct lease_ask *q = ask_create(k, x);

	*peer = http_remote(x);
	peer->port = 0;
	if (!q)
		return NULL;
	const uint8_t *key = k->config.handler.key_of(k->config.arg, peer);
	if (!key)
		refuse(q, peer, -EACCES, "asked from an address that is no member's");
	int rc = !key ? 0 : k->ask_count > LEASE_ASKS_MAX ? -EAGAIN : check_turn(k, x, key);
	if (rc == -EAGAIN)
		refuse_haste(k, q, key, peer);
	else if (rc)
		refuse(q, peer, rc, "asked without the node's signature");
	else if (key)
		return q;
	return NULL;
}

static json_t *body_of(const struct http_exchange *x)
{
	const struct http_message *m = http_request(x);

	return json_loadb(m->body, m->body_len, JSON_REJECT_DUPLICATES, NULL);
}

/* --- What they ask. */

/* Many ports are as much work as many asks. */
static void charge_ports(struct lease_link *k, const struct addr *peer, const struct lease_request *r)
{
	const uint8_t *key = k->config.handler.key_of(k->config.arg, peer);
	struct lease_turns *t = key ? map_find(&k->buckets, key) : NULL;
	uint32_t ports = 0;

	for (unsigned i = 0; i < r->range_count; i++)
		ports += r->ranges[i].count;
	if (t)
		bucket_charge(&t->signed_asks, LEASE_ASKS_PER_S, ports / LEASE_PORTS_AN_ASK, loop_now_ms());
}

static void on_put(void *arg, struct http_exchange *x)
{
	struct lease_link *k = arg;
	struct addr peer;
	struct lease_request r;
	char why[RULE_WHY];
	uint8_t id[FORWARD_ID];
	struct lease_ask *q = check_in(k, x, &peer);

	if (!q)
		return;
	json_t *json = body_of(x);
	if (lease_request_read(&r, json, why) != 0)
		refuse(q, &peer, -EINVAL, why);
	else if (rule_id_parse(id, http_path_rest(x)) != 0 || memcmp(id, r.id, sizeof id) != 0)
		refuse(q, &peer, -EINVAL, "path and body name different rules");
	else if (!k->config.handler.on_lease)
		lease_answer_error(q, -ENOTSUP, "this node is no gateway", NULL);
	else {
		charge_ports(k, &peer, &r);
		k->config.handler.on_lease(k->config.arg, q, &peer, &r);
	}
	json_decref(json);
}

/* What is asked of one rule. */
static void on_rule(struct lease_link *k, struct http_exchange *x,
		    void (*ask)(void *arg, struct lease_ask *q, const struct addr *peer,
				const uint8_t id[static FORWARD_ID]))
{
	struct addr peer;
	uint8_t id[FORWARD_ID];
	struct lease_ask *q = check_in(k, x, &peer);

	if (!q)
		return;
	if (rule_id_parse(id, http_path_rest(x)) != 0)
		refuse(q, &peer, -EINVAL, "the path names no rule");
	else if (!ask)
		lease_answer_error(q, -ENOTSUP, "this node is no gateway", NULL);
	else
		ask(k->config.arg, q, &peer, id);
}

static void on_delete(void *arg, struct http_exchange *x)
{
	struct lease_link *k = arg;

	on_rule(k, x, k->config.handler.on_release);
}

static void on_get(void *arg, struct http_exchange *x)
{
	struct lease_link *k = arg;

	on_rule(k, x, k->config.handler.on_stats);
}

static void on_admit(void *arg, struct http_exchange *x)
{
	struct lease_link *k = arg;
	struct addr peer;
	struct admit_request r;
	char why[RULE_WHY];
	struct lease_ask *q = check_in(k, x, &peer);

	if (!q)
		return;
	json_t *json = body_of(x);
	if (admit_request_read(&r, json, why) != 0)
		refuse(q, &peer, -EINVAL, why);
	else if (!k->config.handler.on_admit)
		lease_answer_error(q, -ENOTSUP, "this node has no rules with tokens", NULL);
	else
		k->config.handler.on_admit(k->config.arg, q, &peer, &r);
	json_decref(json);
	crypto_wipe(&r, sizeof r);
}

static const struct http_route routes[] = { { "PUT", "/lease/*", on_put },
					    { "DELETE", "/lease/*", on_delete },
					    { "GET", "/lease/*", on_get },
					    { "POST", "/admit", on_admit } };

/* --- Life. */

int lease_link_start(struct lease_link **out, const struct lease_link_config *config)
{
	struct lease_link *k = calloc(1, sizeof *k);
	struct rng rng;

	*out = NULL;
	if (!k)
		return -ENOMEM;
	k->config = *config;
	rng_init_system(&rng);
	map_init(&k->buckets, 32, sizeof(struct lease_turns), &rng);
	k->http = http_server_create(config->loop, routes, sizeof routes / sizeof *routes, k);
	if (!k->http) {
		lease_link_stop(k);
		return -ENOMEM;
	}
	http_server_set_per_source(k->http, LEASE_ASKS_MAX);
	*out = k;
	return 0;
}

void lease_link_stop(struct lease_link *k)
{
	if (!k)
		return;
	lease_calls_stop(k);
	for (unsigned i = 0; i < 2; i++)
		stream_listener_close(k->listeners[i].stream);
	http_server_destroy(k->http);
	while (k->asks) { /* whoever has to answer still does, and frees it */
		struct lease_ask *q = k->asks;
		k->asks = q->next;
		q->link = NULL;
	}
	map_clear(&k->buckets);
	free(k);
}

static int listen_at(struct lease_link *k, struct lease_listener *ln, const struct addr *ip)
{
	if (ln->stream && addr_same_ip(&ln->at, ip))
		return 0;
	stream_listener_close(ln->stream);
	ln->stream = NULL;
	ln->at = *ip;
	if (ip->family == ADDR_NONE)
		return 0;
	ln->at.port = LEASE_PORT;
	return stream_listen_by(&ln->stream, k->config.loop, k->config.device, &ln->at, http_server_accept,
				k->http);
}

int lease_link_listen(struct lease_link *k, const struct addr *ip4, const struct addr *ip6)
{
	int rc4 = listen_at(k, &k->listeners[0], ip4), rc6 = listen_at(k, &k->listeners[1], ip6);

	return rc4 ? rc4 : rc6;
}
