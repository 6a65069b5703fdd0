/* Checksums of inner packets, from the superframe that one node's kernel gives to what another's gets: left out on the way
 * where the cipher is ours, and right at the end whatever the other device takes and whichever way the messages come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/lane.h"
#include "core/log.h"
#include "tests/sim/sim.h"
#include "tests/unit/offload_packets.h"
#include "tun/device_mock.h"

enum { SECOND = 1000, SEGMENTS = 10, SIZE = 1000, FRAME_MAX = 60 + SEGMENTS * SIZE };

struct side {
	struct sim_node *node;
	struct tun_device tun;
	struct udp_socket udp4, udp6;
	struct shell_sockets extra;
	struct lane *lane;
};

static struct sim sim;
static struct side a, b;
static bool by_engine; /* b's engine gets each message by itself, not b's lane the train */
static unsigned messages, unsummed;
/* What came at b's device, cut into segments. */
static unsigned frames, segments;
static size_t come;

/* ---- the wire: in place of core/udp_send.c */

static void look(const uint8_t *msg, size_t len)
{
	uint8_t copy[2000];
	struct engine_in in = { .origin.from = a.node->inner };
	struct opener opener;
	struct opened opened;

	if (!opener_is_data(msg, len, &in.receiver))
		return;
	memcpy(copy, msg, len);
	assert_int_equal(engine_in_begin(b.node->engine, &in, sim.now_ms, &opener), 0);
	assert_int_equal(opener_open(&opener, copy, len, &opened), 0);
	messages++;
	unsummed += opened.unsummed;
}

static void give_engine(const uint8_t *msg, size_t len)
{
	struct pkt *p = pkt_get(b.node->engine->config.pool);

	assert_non_null(p);
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	p->addr = a.node->inner;
	engine_on_datagram(b.node->engine, p, sim.now_ms);
}

unsigned udp_send_trains(struct udp_socket *s, struct udp_train *t, unsigned count)
{
	(void)s;
	for (unsigned i = 0; i < count; i++) {
		for (size_t at = 0, len; at < t[i].len; at += len) {
			len = t[i].len - at < t[i].stride ? t[i].len - at : t[i].stride;
			look(t[i].data + at, len);
			if (by_engine)
				give_engine(t[i].data + at, len);
		}
		t[i].addr = a.node->inner;
		if (!by_engine)
			lane_on_train(b.lane, 0, &t[i], sim.now_ms);
	}
	return count;
}

int udp_send(struct udp_socket *s, const struct pkt *p)
{
	(void)s, (void)p;
	return 0;
}

int udp_send_bytes_from(struct udp_socket *s, const struct addr *local, const void *data, size_t len,
			const struct addr *to)
{
	(void)s, (void)local, (void)data, (void)len, (void)to;
	return 0;
}

int udp_send_bytes(struct udp_socket *s, const void *data, size_t len, const struct addr *to)
{
	return udp_send_bytes_from(s, to, data, len, to);
}

/* ---- two nodes with a direct path */

static void open_side(struct side *s, enum tun_offload offload)
{
	*s = (struct side) { .node = s->node };
	assert_int_equal(tun_open(&s->tun, NULL, 1, offload), 0);
	s->udp4.watch = (struct loop_fd *)s; /* as if it were open */
	s->lane = lane_create(&(struct lane_config) { .engine = s->node->engine,
						      .is_main = true,
						      .tun = &s->tun,
						      .udp4 = &s->udp4,
						      .udp6 = &s->udp6,
						      .extra = &s->extra });
	assert_non_null(s->lane);
	s->node->engine->clock.kept_ns = UINT64_MAX;
}

static void open_both(bool aegis, enum tun_offload at_b)
{
	sim_init(&sim, 7);
	a.node = sim_node(&sim, NAT_NONE);
	b.node = sim_node(&sim, NAT_NONE);
	a.node->config.aegis = a.node->engine->config.aegis = aegis;
	assert_true(sim_run_joined(&sim, 10 * SECOND));
	for (int i = 0; i < 30; i++) {
		sim_send(&sim, a.node, b.node);
		sim_send(&sim, b.node, a.node);
		sim_run(&sim, 100);
	}
	assert_int_equal(sim_way(a.node, b.node), ENGINE_WAY_DIRECT);
	open_side(&a, TUN_USO);
	open_side(&b, at_b);
	messages = unsummed = frames = segments = 0;
	come = 0;
}

static void close_both(void)
{
	struct side *sides[] = { &a, &b };

	for (int i = 0; i < 2; i++) {
		lane_destroy(sides[i]->lane);
		tun_close(&sides[i]->tun);
	}
	sim_free(&sim);
}

/* ---- packets */

static void give_superframe(const struct made_packet *k)
{
	static uint8_t p[FRAME_MAX];
	const struct vnet v = { .flags = VNET_NEEDS_CSUM,
				.gso_type = k->udp   ? VNET_GSO_UDP
					    : k->ip6 ? VNET_GSO_TCP6
						     : VNET_GSO_TCP4,
				.gso_size = SIZE,
				.csum_start = k->ip6 ? 40 : 20,
				.csum_offset = k->udp ? VNET_UDP_OFFSET : VNET_TCP_OFFSET };
	uint8_t vnet[VNET_LEN];
	size_t len = make_packet(k, p);

	const struct engine *from = a.node->engine, *to = b.node->engine;
	memcpy(p + (k->ip6 ? 8 : 12), k->ip6 ? from->ip6.ip : from->ip4.ip, k->ip6 ? 16 : 4);
	memcpy(p + (k->ip6 ? 24 : 16), k->ip6 ? to->ip6.ip : to->ip4.ip, k->ip6 ? 16 : 4);
	fix_checksums(p, len);
	seed_checksum(p, len);
	vnet_store(vnet, &v);
	assert_int_equal(tun_mock_inject(&a.tun, 0, vnet, p, len), 0);
	assert_int_equal(lane_on_tun(a.lane, sim.now_ms), 0);
	lane_flush(b.lane, sim.now_ms);
}

static void check(const uint8_t *p, size_t len, const struct made_packet *k)
{
	assert_true(checksums_right(p, len));
	for (size_t i = headers_of(k); i < len; i++)
		assert_int_equal(p[i], payload_byte(come++));
	segments++;
}

/* As b's kernel would see it: a frame with a vnet header is cut into its segments. */
static void take(const struct made_packet *k)
{
	static uint8_t frame[FRAME_MAX];
	struct offload_split s;
	uint8_t vnet[VNET_LEN], *segment;
	ssize_t len;
	size_t one;

	while ((len = tun_mock_take(&b.tun, 0, vnet, frame, sizeof frame)) > 0) {
		frames++;
		assert_int_equal(offload_split_begin(&s, vnet, frame, (size_t)len), 0);
		while ((segment = offload_split_next(&s, &one)))
			check(segment, one, k);
	}
}

static void take_of_engine(const struct made_packet *k)
{
	struct pkt *p;

	while ((p = pkt_list_pop(&b.node->engine->tun_out))) {
		check(pkt_data(p), p->len, k);
		pkt_put(b.node->engine->config.pool, p);
	}
}

/* The last segment is shorter than the others, and with TCP its PSH ends the frame. */
static void carry(bool aegis, enum tun_offload at_b, bool udp, bool ip6)
{
	const struct made_packet k = {
		.ip6 = ip6, .udp = udp, .flags = ACK | PSH, .df = true, .data = SEGMENTS * SIZE - 1
	};

	open_both(aegis, at_b);
	give_superframe(&k);
	if (by_engine)
		take_of_engine(&k);
	else
		take(&k);
	assert_int_equal(messages, SEGMENTS);
	assert_int_equal(unsummed, aegis ? SEGMENTS : 0);
	assert_int_equal(segments, SEGMENTS);
	assert_int_equal(come, k.data);
	close_both();
}

static void a_device_that_takes_superframes_gets_one(void **state)
{
	(void)state;
	by_engine = false;
	for (int i = 0; i < 8; i++) {
		carry(i & 1, TUN_USO, i & 2, i & 4);
		assert_int_equal(frames, 1);
	}
}

static void one_that_takes_none_gets_packets_with_right_checksums(void **state)
{
	(void)state;
	by_engine = false;
	for (int i = 0; i < 8; i++) {
		carry(i & 1, TUN_PLAIN, i & 2, i & 4);
		assert_int_equal(frames, SEGMENTS);
	}
	carry(true, TUN_TSO, true, false); /* superframes, but not of UDP */
	assert_int_equal(frames, SEGMENTS);
}

static void so_does_what_comes_by_the_engine(void **state)
{
	(void)state;
	by_engine = true;
	for (int i = 0; i < 8; i++)
		carry(i & 1, TUN_USO, i & 2, i & 4);
}

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_takes_superframes_gets_one),
		cmocka_unit_test(one_that_takes_none_gets_packets_with_right_checksums),
		cmocka_unit_test(so_does_what_comes_by_the_engine),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
