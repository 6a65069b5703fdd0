/* Two lanes that face each other over sockets of the loopback, each with the engine of a node that knows the other as a
 * stock WireGuard peer: what is read from one device is what the other gets written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/lane.h"
#include "core/bytes.h"
#include "core/log.h"
#include "tests/unit/offload_packets.h"
#include "tun/device_mock.h"
#include "tun/vnet.h"

enum { GUARD_MS = 20000, SEGMENTS = 40, SIZE = 1000, PACKET = 200, HEADERS_TCP = 40, HEADERS_UDP = 28 };
#define UNIX_NS 1790000000000000000ull

struct side {
	struct engine engine;
	struct pkt_pool pool;
	struct tun_device tun;
	struct udp_slab *slab;
	struct udp_socket udp4, udp6;
	struct lane *lane;
	struct loop_fd *watch;
	struct shell_sockets extra;
};

static struct side sides[2];
static struct loop *loop;
/* The payload of all packets, one after the other, counts up (payload_byte): given to device 0, awaited and come at
 * device 1, and in how many frames. */
static size_t given, awaited, come;
static unsigned frames;

static void collect(void)
{
	static uint8_t frame[PACKET_MAX];
	ssize_t len;

	while ((len = tun_mock_take(&sides[1].tun, 0, NULL, frame, sizeof frame)) > 0) {
		frames++;
		for (size_t i = protocol_of(frame) == 6 ? HEADERS_TCP : HEADERS_UDP; i < (size_t)len; i++)
			assert_int_equal(frame[i], payload_byte(come++));
	}
	if (come >= awaited)
		loop_stop(loop);
}

static void on_tun(void *arg, unsigned events)
{
	struct side *s = arg;

	(void)events;
	assert_int_equal(lane_on_tun(s->lane, loop_now_ms()), 0);
}

static void on_train(void *arg, const struct udp_train *t)
{
	struct side *s = arg;

	lane_on_train(s->lane, 0, t, loop_now_ms());
}

static void on_batch(void *arg)
{
	struct side *s = arg;

	lane_flush(s->lane, loop_now_ms());
	if (s == &sides[1])
		collect();
}

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void open_side(struct side *s, uint8_t number)
{
	struct engine_config config = {
		.name = "node", .ik_seed = { number }, .ip4_bits = 16, .seed = number
	};
	const struct udp_handler handler = { .on_train = on_train, .on_batch = on_batch };
	struct lane_config lane = { .engine = &s->engine,
				    .is_main = true,
				    .tun = &s->tun,
				    .udp4 = &s->udp4,
				    .udp6 = &s->udp6,
				    .extra = &s->extra };
	struct addr local;

	config.wk_sk[0] = (uint8_t)(number << 3); /* its lowest bits mean nothing */
	config.have_ip4 = true;
	config.pool = &s->pool;
	assert_int_equal(addr_parse(&config.ip4_prefix, "10.77.0.0", 0), 0);
	assert_int_equal(network_from_secret(&config.net, "home", "some long secret", 16), 0);
	assert_int_equal(pkt_pool_init(&s->pool, 256), 0);
	assert_int_equal(engine_init(&s->engine, &config, loop_now_ms(), UNIX_NS), 0);
	s->engine.clock.kept_ns = UINT64_MAX;
	assert_int_equal(tun_open(&s->tun, NULL, 1, TUN_USO), 0);
	assert_int_equal(addr_parse(&local, "127.0.0.1", 1), 0);
	local.port = 0;
	s->slab = udp_slab_create();
	assert_int_equal(udp_open(&s->udp4, loop, s->slab, UDP_OFFLOAD_GRO, &local, &handler, s), 0);
	s->lane = lane_create(&lane);
	assert_non_null(s->lane);
	s->watch = loop_fd_create(loop, s->tun.queues[0], on_tun, s);
	assert_int_equal(loop_fd_want(s->watch, LOOP_READ), 0);
}

/* Made packets go from 10.0.0.2, which side 0 has, to 10.0.0.1. */
static void introduce(struct side *s, const struct side *peer, const char *network)
{
	struct engine_wg_peer wg = { .name = "peer", .allowed_count = 1 };

	memcpy(wg.pk, peer->engine.local.pk, 32);
	assert_int_equal(addr_parse(&wg.endpoint, "127.0.0.1", 0), 0);
	wg.endpoint.port = peer->udp4.local.port;
	assert_int_equal(addr_parse(&wg.allowed[0].prefix, network, 0), 0);
	wg.allowed[0].bits = 32;
	assert_int_equal(engine_add_wg(&s->engine, &wg, loop_now_ms()), 0);
}

static int open_both(void **state)
{
	(void)state;
	loop = loop_create();
	open_side(&sides[0], 1);
	open_side(&sides[1], 2);
	introduce(&sides[0], &sides[1], "10.0.0.1");
	introduce(&sides[1], &sides[0], "10.0.0.2");
	given = come = 0;
	frames = 0;
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		loop_fd_destroy(sides[i].watch);
		udp_close(&sides[i].udp4);
		udp_slab_destroy(sides[i].slab);
		lane_destroy(sides[i].lane);
		tun_close(&sides[i].tun);
		engine_free(&sides[i].engine);
		pkt_pool_free(&sides[i].pool);
	}
	loop_destroy(loop);
	return 0;
}

static void give_packet(size_t payload)
{
	const struct made_packet k = {
		.udp = true, .host = 2, .port = 4000, .data = payload, .fill = (unsigned)given
	};
	uint8_t packet[PACKET_MAX];
	size_t len = make_packet(&k, packet);

	assert_int_equal(tun_mock_inject(&sides[0].tun, 0, NULL, packet, len), 0);
	given += payload;
}

static void give_superframe(void)
{
	static uint8_t packet[HEADERS_TCP + SEGMENTS * SIZE];
	const struct made_packet k = { .host = 2,
				       .port = 4001,
				       .df = true,
				       .seq = (uint32_t)given,
				       .flags = ACK,
				       .data = SEGMENTS * SIZE,
				       .fill = (unsigned)given };
	const struct vnet v = { .flags = VNET_NEEDS_CSUM,
				.gso_type = VNET_GSO_TCP4,
				.gso_size = SIZE,
				.csum_start = 20,
				.csum_offset = VNET_TCP_OFFSET };
	uint8_t vnet[VNET_LEN];
	size_t len = make_packet(&k, packet);

	seed_checksum(packet, len);
	vnet_store(vnet, &v);
	assert_int_equal(tun_mock_inject(&sides[0].tun, 0, vnet, packet, len), 0);
	given += SEGMENTS * SIZE;
}

/* Until all that was given has come. */
static void carry(void)
{
	struct loop_timer *guard = loop_timer_create(loop, too_late, NULL);

	awaited = given;
	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(loop);
	loop_timer_destroy(guard);
	assert_int_equal(come, given);
}

static void packets_wait_for_keys_and_come_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5; i++)
		give_packet(PACKET + i);
	carry();
	for (size_t i = 0; i < 5; i++)
		give_packet(PACKET - i);
	carry();
}

static void superframes_go_as_trains_and_come_as_superframes(void **state)
{
	enum { COUNT = 6 };
	const struct udp_stats *sent = &sides[0].udp4.stats;

	(void)state;
	give_packet(PACKET);
	carry();
	const struct udp_stats before = *sent;
	frames = 0;
	for (int i = 0; i < COUNT; i++)
		give_superframe();
	carry();
	assert_int_equal(sent->tx - before.tx, COUNT * SEGMENTS);
	if (sides[0].udp4.gso)
		assert_true(sent->tx_trains - before.tx_trains <= COUNT);
	if (sides[1].udp4.gro && sides[0].udp4.gso)
		assert_true(frames <= 2 * COUNT);
}

/* Packets of one size make trains, too; one of another size ends its train, and none overtakes. */
static void packets_of_all_sizes_come_in_order(void **state)
{
	static const size_t payloads[] = { 100, 100, 100, 40, 100, 100, 900, 900, 1300, 1, 1, 1, 100 };
	const struct udp_stats *sent = &sides[0].udp4.stats;

	(void)state;
	give_packet(PACKET);
	carry();
	const struct udp_stats before = *sent;
	for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
		give_packet(payloads[i]);
	carry();
	assert_int_equal(sent->tx - before.tx, sizeof payloads / sizeof *payloads);
	if (sides[0].udp4.gso)
		assert_true(sent->tx_trains - before.tx_trains < sent->tx - before.tx);
}

#define with_two(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_two(packets_wait_for_keys_and_come_in_order),
		with_two(superframes_go_as_trains_and_come_as_superframes),
		with_two(packets_of_all_sizes_come_in_order),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
