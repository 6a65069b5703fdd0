#include "hub_world.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "apps/p2phub/hub_data.h"
#include "core/file.h"
#include "nat/stun.h"
#include "relay/proto/link.pb-c.h"
#include "relay/relay_wire.h"

static void on_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	struct world *w = arg;

	(void)exporter;
	(void)remote;
	w->ups++;
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct world *w = arg;
	Link__ToNode *m = link__to_node__unpack(NULL, len, msg);

	assert_non_null(m);
	if (m->body_case == LINK__TO_NODE__BODY_CHALLENGE)
		w->challenges++;
	link__to_node__free_unpacked(m, NULL);
	if (w->challenges == w->awaited)
		loop_stop(w->loop);
}

static void on_down(void *arg, int error, const char *text)
{
	(void)error;
	(void)text;
	loop_stop(((struct world *)arg)->loop);
}

static const struct hub_link_handler handler = { on_up, on_message, on_down };

static void a_link_is_challenged(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	w.awaited = 1;
	assert_int_equal(hub_link_create(&w.link, w.loop, &w.url, &w.rng, &handler, &w), 0);
	run(&w);
	assert_int_equal(w.ups, 1);
	assert_int_equal(w.challenges, 1);
	end(&w);
}

static void nonsense_over_the_link_ends_that_link_only(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	w.awaited = 1;
	assert_int_equal(hub_link_create(&w.link, w.loop, &w.url, &w.rng, &handler, &w), 0);
	run(&w);
	assert_int_equal(hub_link_send(w.link, "\xff\xff\xff", 3), 0);
	run(&w);
	assert_int_equal(hub_link_state(w.link), HUB_LINK_WAITING);
	hub_link_kick(w.link);
	w.awaited = 2;
	run(&w);
	assert_int_equal(w.challenges, 2);
	end(&w);
}

static void a_hub_ends_with_links_up(void **state)
{
	(void)state;
	static struct world w;

	begin(&w);
	w.awaited = 1;
	assert_int_equal(hub_link_create(&w.link, w.loop, &w.url, &w.rng, &handler, &w), 0);
	run(&w);
	serve_destroy(w.hub);
	w.hub = NULL;
	run(&w);
	assert_int_equal(hub_link_state(w.link), HUB_LINK_WAITING);
	end(&w);
}

static void on_train(void *arg, const struct udp_train *t)
{
	struct world *w = arg;

	if (stun_client_on_message(&w->stun, t->data, t->len, &t->addr, loop_now_ms()))
		loop_stop(w->loop);
}

static void stun_is_answered_and_the_relay_asks_who_binds(void **state)
{
	(void)state;
	static const struct udp_handler udp_handler = { .on_train = on_train };
	static const uint8_t bind[RELAY_BIND_LEN] = { RELAY_CONTROL, RELAY_BIND, [4] = 1 };
	static struct world w;
	uint8_t request[STUN_MAX];
	struct addr local;

	begin(&w);
	assert_int_equal(addr_parse(&local, "127.0.0.1", 1), 0);
	local.port = 0;
	assert_int_equal(udp_open(&w.udp, w.loop, w.slab, UDP_OFFLOAD_GRO, &local, &udp_handler, &w), 0);
	assert_int_equal(udp_send_bytes(&w.udp, bind, sizeof bind, &w.config.udp[0]),
			 0); /* unknown: silence */
	assert_int_equal(udp_send_bytes(&w.udp, "", 0, &w.config.udp[0]), 0);
	stun_client_start(&w.stun, &w.config.udp[0], 0, &w.rng, loop_now_ms());
	size_t len = stun_client_next(&w.stun, loop_now_ms(), request);
	assert_int_equal(udp_send_bytes(&w.udp, request, len, &w.config.udp[0]), 0);
	run(&w);
	assert_int_equal(w.stun.state, STUN_DONE);
	assert_true(addr_equal(&w.stun.mapped, &w.udp.local));
	assert_int_equal(w.udp.stats.rx, 1);
	end(&w);
}

static void an_address_in_use_is_named(void **state)
{
	(void)state;
	static struct world w;
	struct serve_config second;
	struct serve *hub;
	struct addr at;

	begin(&w);
	second = w.config;
	assert_int_equal(serve_create(&hub, w.loop, &second, &at), -EADDRINUSE);
	assert_true(addr_equal(&at, &w.config.udp[0]));
	second.udp_count = 0;
	assert_int_equal(serve_create(&hub, w.loop, &second, &at), -EADDRINUSE);
	assert_true(addr_equal(&at, &w.config.tls));
	assert_null(hub);
	end(&w);
}

static void the_folder_keeps_key_and_url(void **state)
{
	(void)state;
	char path[] = "/tmp/p2pd-test-XXXXXX";
	struct tls_key key;
	uint8_t first[TLS_PIN], again[TLS_PIN];
	struct hub_url url = { .port = 8443, .pinned = true }, back;

	assert_non_null(mkdtemp(path));
	int dir = hub_data_open(path);
	assert_true(dir >= 0);
	assert_int_equal(hub_data_url(path, &back), -ENOENT);
	assert_int_equal(hub_data_key(dir, &key), 0);
	assert_int_equal(tls_pin_of_cert(first, key.cert, key.cert_len), 0);
	assert_int_equal(hub_data_key(dir, &key), 0);
	assert_int_equal(tls_pin_of_cert(again, key.cert, key.cert_len), 0);
	assert_memory_equal(first, again, TLS_PIN);
	memcpy(url.pin, first, TLS_PIN);
	assert_int_equal(hub_data_keep_url(dir, &url), 0);
	assert_int_equal(hub_data_url(path, &back), 0);
	assert_memory_equal(&url, &back, sizeof url);
	int lock = hub_data_lock(dir);
	assert_true(lock >= 0);
	assert_int_equal(hub_data_lock(dir), -EBUSY);
	assert_int_equal(file_write(dir, "tls.key", "damaged", 7), 0);
	assert_int_equal(hub_data_key(dir, &key), -EBADMSG);
	close(lock);
	file_remove(dir, "tls.key");
	file_remove(dir, "url");
	file_remove(dir, "lock");
	close(dir);
	assert_int_equal(rmdir(path), 0);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_is_challenged),
		cmocka_unit_test(nonsense_over_the_link_ends_that_link_only),
		cmocka_unit_test(a_hub_ends_with_links_up),
		cmocka_unit_test(stun_is_answered_and_the_relay_asks_who_binds),
		cmocka_unit_test(an_address_in_use_is_named),
		cmocka_unit_test(the_folder_keeps_key_and_url),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
