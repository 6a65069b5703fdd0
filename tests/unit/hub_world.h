/* A hub that runs, on loopback, in the test's own loop. */
#ifndef P2PD_TESTS_HUB_WORLD_H
#define P2PD_TESTS_HUB_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2phub/serve.h"
#include "core/stream.h"
#include "core/udp.h"
#include "nat/stun_client.h"
#include "relay/hub_link.h"

struct world {
	struct loop *loop;
	struct rng rng;
	struct tls_key key;
	struct serve_config config;
	struct serve *hub;
	struct hub_url url;
	struct hub_link *link;
	unsigned ups, challenges, awaited;
	struct udp_socket udp;
	struct udp_slab *slab;
	struct stun_client stun;
};

static inline void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static inline void run(struct world *w)
{
	struct loop_timer *guard = loop_timer_create(w->loop, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + 30000);
	loop_run(w->loop);
	loop_timer_destroy(guard);
}

static inline void refuse_stream(void *arg, struct stream *s)
{
	(void)arg;
	stream_close(s);
}

/* Addresses that are free: the system gave them, and got them back. */
static inline void choose_addresses(struct world *w)
{
	static const struct udp_handler none = { .on_train = NULL };
	struct stream_listener *listener;
	struct udp_socket udp;
	struct addr any;

	assert_int_equal(addr_parse(&any, "127.0.0.1", 1), 0);
	any.port = 0;
	assert_int_equal(stream_listen(&listener, w->loop, &any, NULL, refuse_stream, NULL), 0);
	w->config.tls = stream_listener_addr(listener);
	stream_listener_close(listener);
	assert_int_equal(udp_open(&udp, w->loop, w->slab, UDP_OFFLOAD_NONE, &any, &none, NULL), 0);
	w->config.udp[0] = udp.local;
	w->config.udp_count = 1;
	udp_close(&udp);
}

static inline void begin(struct world *w)
{
	struct addr at;

	memset(w, 0, sizeof *w);
	w->loop = loop_create();
	rng_init_seed(&w->rng, 5);
	w->slab = udp_slab_create();
	assert_int_equal(tls_key_make(&w->key), 0);
	choose_addresses(w);
	w->config.key = &w->key;
	assert_int_equal(serve_create(&w->hub, w->loop, &w->config, &at), 0);
	w->url = (struct hub_url) { .host = "127.0.0.1", .port = w->config.tls.port, .pinned = true };
	assert_int_equal(tls_pin_of_cert(w->url.pin, w->key.cert, w->key.cert_len), 0);
}

static inline void end(struct world *w)
{
	hub_link_destroy(w->link);
	serve_destroy(w->hub);
	udp_close(&w->udp);
	loop_destroy(w->loop);
	udp_slab_destroy(w->slab);
}

#endif
