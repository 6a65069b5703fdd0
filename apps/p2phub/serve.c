#include "apps/p2phub/serve.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2phub/serve_internal.h"

static void handle_health(void *arg, struct http_exchange *x)
{
	(void)arg;
	http_answer_json(x, 200, json_pack("{s:s}", "status", "ok"));
}

static const struct http_route routes[] = {
	{ "GET", "/link", serve_on_link },
	{ "GET", "/healthz", handle_health },
	{ "GET", "/metrics", serve_on_metrics },
	{ "*", "/api/v1/*", serve_on_api },
};

enum { GUESTS_TICK_MS = 10000 };

static void on_due(void *arg)
{
	struct serve *s = arg;

	coord_tick(s->coord, loop_now_ms());
	serve_speak(s);
}

uint64_t serve_unix_s(struct serve *s)
{
	return wall_at(&s->wall, (uint64_t)time(NULL), loop_now_ms());
}

static void on_guests_due(void *arg)
{
	struct serve *s = arg;
	uint64_t now = loop_now_ms();
	uint64_t unix_s = serve_unix_s(s);

	relay_server_tick(s->relay, now, unix_s);
	relay_server_set_month(s->relay, quota_month(unix_s));
	loop_timer_set(s->timer, now + GUESTS_TICK_MS);
}

static int create_relay(struct serve *s, void (*due)(void *arg))
{
	wall_init(&s->wall, (uint64_t)time(NULL), 0, loop_now_ms());
	rng_init_system(&s->rng);
	s->slab = udp_slab_create();
	s->relay = relay_server_create(SERVE_NODES_MAX, SERVE_SESSIONS_MAX, &s->rng);
	s->gather = relay_gather_create();
	s->timer = loop_timer_create(s->loop, due, s);
	return s->slab && s->relay && s->gather && s->timer ? 0 : -ENOMEM;
}

static int create_logic(struct serve *s)
{
	int rc = create_relay(s, on_due);

	s->http = http_server_create(s->loop, routes, sizeof routes / sizeof *routes, s);
	return rc || !s->http ? -ENOMEM : 0;
}

static size_t nodes_of(const struct serve_limits *limits)
{
	return limits->nodes ? limits->nodes : SERVE_NODES_MAX;
}

static int start(struct serve *s, const struct serve_config *config, struct addr *at)
{
	int rc = create_logic(s);

	if (rc == 0)
		rc = tls_server_config(&s->tls, config->key);
	if (rc == 0)
		rc = serve_open_doors(s, config, at);
	if (rc)
		return rc;
	serve_create_stun(s);
	struct coord_config announced = { .relay = s->relay,
					  .rng = &s->rng,
					  .max_nodes = nodes_of(&config->limits),
					  .relay_count = config->relay_count };
	memcpy(announced.relays, config->relays, sizeof announced.relays);
	memcpy(announced.relay_key, config->relay_key, RELAY_KEY);
	s->behind_proxy = config->front;
	if (config->front) {
		login_front(config->front, announced.front);
		http_server_set_per_source(s->http, 0);
	}
	serve_announce(s, &announced,
		       true); /* first: a node takes the relay to be at the first of its family */
	serve_announce(s, &announced, false);
	s->coord = coord_create(&announced);
	crypto_wipe(announced.relay_key, RELAY_KEY);
	if (!s->coord)
		return -ENOMEM;
	serve_set_limits(s, &config->limits);
	loop_timer_set(s->timer, coord_deadline(s->coord));
	rc = serve_open_store(s, config->data);
	if (rc == 0)
		rc = serve_open_api(s, config);
	if (rc == 0)
		rc = serve_open_metrics(s, config, at);
	if (rc)
		return rc;
	*at = config->tls;
	return stream_listen(&s->listener, s->loop, at, s->tls, http_server_accept, s->http);
}

int serve_create(struct serve **out, struct loop *l, const struct serve_config *config, struct addr *at)
{
	struct serve *s = calloc(1, sizeof *s);

	*out = NULL;
	*at = (struct addr) { 0 };
	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->metrics_public = config->metrics_public;
	s->frames.max = SERVE_FRAMES_MAX;
	int rc = start(s, config, at);
	if (rc)
		serve_destroy(s);
	else
		*out = s;
	return rc;
}

static int start_relay(struct serve *s, const struct serve_config *config, struct addr *at)
{
	int rc = create_relay(s, on_guests_due);

	if (rc == 0)
		rc = serve_open_doors(s, config, at);
	if (rc)
		return rc;
	serve_create_stun(s);
	relay_server_take_guests(s->relay, config->relay_key);
	serve_set_limits(s, &config->limits);
	on_guests_due(s);
	return serve_open_metrics(s, config, at);
}

int serve_create_relay(struct serve **out, struct loop *l, const struct serve_config *config, struct addr *at)
{
	struct serve *s = calloc(1, sizeof *s);

	*out = NULL;
	*at = (struct addr) { 0 };
	if (!s)
		return -ENOMEM;
	s->loop = l;
	int rc = start_relay(s, config, at);
	if (rc)
		serve_destroy(s);
	else
		*out = s;
	return rc;
}

int serve_use_key(struct serve *s, const struct tls_key *key)
{
	struct tls_config *tls;
	int rc = tls_server_config(&tls, key);

	if (rc)
		return rc;
	stream_listener_set_tls(s->listener, tls);
	tls_config_destroy(s->tls);
	s->tls = tls;
	return 0;
}

void serve_set_limits(struct serve *s, const struct serve_limits *limits)
{
	s->limits = *limits;
	relay_server_set_quota(s->relay, &limits->quota);
	if (s->coord)
		coord_set_max_nodes(s->coord, nodes_of(limits));
}

void serve_destroy(struct serve *s)
{
	if (!s)
		return;
	serve_close_links(s);
	metrics_door_close(s->metrics);
	stream_listener_close(s->listener);
	http_server_destroy(s->http);
	serve_close_api(s);
	serve_close_doors(s);
	serve_close_store(s);
	if (s->coord)
		coord_destroy(s->coord);
	if (s->relay)
		relay_server_destroy(s->relay);
	relay_gather_destroy(s->gather);
	loop_timer_destroy(s->timer);
	tls_config_destroy(s->tls);
	udp_slab_destroy(s->slab);
	crypto_wipe(&s->rng, sizeof s->rng);
	free(s);
}
