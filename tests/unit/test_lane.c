/* A lane between a device and a socket that are not there, and the engine of a node that has a direct path to another: what
 * becomes of superframes when the socket is full, in which order packets leave, what of a bad train comes in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/forward/pass.h"
#include "apps/p2pd/lane.h"
#include "core/bytes.h"
#include "core/log.h"
#include "relay/relay_frame.h"
#include "tests/sim/sim.h"
#include "tun/device_mock.h"
#include "tun/vnet.h"

enum {
	SECOND = 1000,
	SENT_MAX = 1024,
	HEADERS = 40,
	SIZE = 1000,
	FRAME = HEADERS + 40 * SIZE,
	PROTOCOL = 253
};

/* In place of core/udp_send.c: the counters of the data messages that left, until there is no room. */
static uint64_t sent[SENT_MAX];
static unsigned sent_count, room, calls;

static void note(const uint8_t *msg, size_t len)
{
	uint32_t receiver;

	if (!opener_is_data(msg, len, &receiver))
		return;
	assert_true(sent_count < SENT_MAX);
	sent[sent_count++] = load_le64(msg + 8);
}

unsigned udp_send_trains(struct udp_socket *s, struct udp_train *t, unsigned count)
{
	(void)s;
	calls++;
	for (unsigned i = 0; i < count; i++)
		for (; t[i].len; room--) {
			size_t len = t[i].len < t[i].stride ? t[i].len : t[i].stride;
			if (!room)
				return i;
			note(t[i].data, len);
			t[i].data += len;
			t[i].len -= len;
		}
	return count;
}

int udp_send(struct udp_socket *s, const struct pkt *p)
{
	(void)s;
	note(p->buf + p->off, p->len);
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

/* ---- the world */

struct world {
	struct sim sim;
	struct sim_node *a, *b;
	struct tun_device tun;
	struct udp_socket udp4, udp6;
	struct shell_sockets extra;
	struct lane *lane; /* of a */
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct sim *s = w ? &w->sim : NULL;

	if (!w)
		return -1;
	sim_init(s, 7);
	w->a = sim_node(s, NAT_NONE);
	w->b = sim_node(s, NAT_NONE);
	if (!sim_run_joined(s, 10 * SECOND))
		return -1;
	for (int i = 0; i < 30; i++) {
		sim_send(s, w->a, w->b);
		sim_send(s, w->b, w->a);
		sim_run(s, 100);
	}
	if (sim_way(w->a, w->b) != ENGINE_WAY_DIRECT || tun_open(&w->tun, "lane", 1, TUN_USO))
		return -1;
	w->udp4.watch = (struct loop_fd *)w; /* as if it were open */
	w->lane = lane_create(&(struct lane_config) { .engine = w->a->engine,
						      .is_main = true,
						      .tun = &w->tun,
						      .udp4 = &w->udp4,
						      .udp6 = &w->udp6,
						      .extra = &w->extra });
	w->a->engine->clock.kept_ns = UINT64_MAX;
	sent_count = calls = 0;
	room = UINT32_MAX;
	*state = w;
	return w->lane ? 0 : -1;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	lane_destroy(w->lane);
	tun_close(&w->tun);
	sim_free(&w->sim);
	free(w);
	return 0;
}

/* ---- packets */

static void write_ip(uint8_t *p, size_t len, const uint8_t *src, const uint8_t *dst, uint8_t protocol)
{
	memset(p, 0, len);
	p[0] = 0x45;
	store_be16(p + 2, (uint16_t)len);
	p[9] = protocol;
	memcpy(p + 12, src, 4);
	memcpy(p + 16, dst, 4);
}

/* A packet from a's device, to b or to nobody. */
static void give(struct world *w, size_t len, bool to_b)
{
	static const uint8_t nobody[] = { 192, 0, 2, 1 };
	uint8_t p[2000];

	assert_true(len <= sizeof p);
	write_ip(p, len, w->a->engine->ip4.ip, to_b ? w->b->engine->ip4.ip : nobody, PROTOCOL);
	assert_int_equal(tun_mock_inject(&w->tun, 0, NULL, p, len), 0);
}

static void give_superframe(struct world *w)
{
	static uint8_t p[FRAME];
	const struct vnet v = { .flags = VNET_NEEDS_CSUM,
				.gso_type = VNET_GSO_TCP4,
				.gso_size = SIZE,
				.csum_start = 20,
				.csum_offset = VNET_TCP_OFFSET };
	uint8_t vnet[VNET_LEN];

	write_ip(p, sizeof p, w->a->engine->ip4.ip, w->b->engine->ip4.ip, 6);
	p[20 + 12] = 5 << 4;
	vnet_store(vnet, &v);
	assert_int_equal(tun_mock_inject(&w->tun, 0, vnet, p, sizeof p), 0);
}

static void assert_sent_once_in_order(unsigned count)
{
	assert_int_equal(sent_count, count);
	for (unsigned i = 1; i < count; i++)
		assert_int_equal(sent[i], sent[i - 1] + 1);
}

/* ---- out */

static void what_a_full_socket_leaves_goes_later_and_nothing_goes_twice(void **state)
{
	struct world *w = *state;

	room = 7;
	give_superframe(w);
	assert_int_equal(lane_on_tun(w->lane, w->sim.now_ms), 0);
	assert_ptr_equal(lane_blocked(w->lane), &w->udp4);
	assert_sent_once_in_order(7);
	room = 20;
	lane_resume(w->lane);
	assert_ptr_equal(lane_blocked(w->lane), &w->udp4);
	assert_sent_once_in_order(27);
	room = UINT32_MAX;
	lane_resume(w->lane);
	assert_null(lane_blocked(w->lane));
	assert_sent_once_in_order(40);
}

static void nothing_is_read_while_the_socket_is_full(void **state)
{
	struct world *w = *state;

	room = 0;
	give_superframe(w);
	lane_on_tun(w->lane, w->sim.now_ms);
	unsigned before = calls;
	give_superframe(w);
	lane_on_tun(w->lane, w->sim.now_ms);
	assert_int_equal(calls, before);
	room = UINT32_MAX;
	lane_resume(w->lane);
	lane_on_tun(w->lane, w->sim.now_ms);
	assert_sent_once_in_order(80);
}

static void a_socket_that_never_takes_anything_holds_nothing_up(void **state)
{
	struct world *w = *state;

	room = 0;
	for (int i = 0; i < 5; i++)
		give(w, 100 + 100 * (size_t)i, true); /* ever longer: no two in a train */
	lane_on_tun(w->lane, w->sim.now_ms);
	for (int i = 0; i < 5 && lane_blocked(w->lane); i++)
		lane_resume(w->lane);
	assert_null(lane_blocked(w->lane));
	assert_int_equal(sent_count, 0);
	room = UINT32_MAX;
	give_superframe(w);
	lane_on_tun(w->lane, w->sim.now_ms);
	assert_sent_once_in_order(40);
}

static void what_is_too_big_for_the_path_does_not_overtake(void **state)
{
	struct world *w = *state;

	assert_int_equal(path_mtu(sim_peer(w->a, w->b)->peer.best), ENGINE_MTU);
	give(w, 100, true);
	give(w, 100, false);
	give(w, 1500, true); /* split: two fragments */
	give(w, 100, true);
	assert_int_equal(lane_on_tun(w->lane, w->sim.now_ms), 0);
	assert_sent_once_in_order(4);
}

static void frames_that_are_none_are_counted_and_passed_over(void **state)
{
	struct world *w = *state;
	uint64_t before = w->a->engine->drops.malformed;

	assert_int_equal(tun_mock_inject(&w->tun, 0, NULL, "", 0), 0);
	assert_int_equal(tun_mock_inject(&w->tun, 0, NULL, "\x45 no packet", 11), 0);
	give(w, 100, true);
	assert_int_equal(lane_on_tun(w->lane, w->sim.now_ms), 0);
	assert_int_equal(w->a->engine->drops.malformed, before + 2);
	assert_sent_once_in_order(1);
}

static void a_timestamp_leaves_once_it_is_kept_and_data_does_not_wait(void **state)
{
	struct world *w = *state;
	struct engine *e = w->a->engine;

	e->clock.kept_ns = e->clock.last_ns - 1;
	assert_int_equal(engine_ping(e, sim_peer(w->a, w->b), 1, w->sim.now_ms), 0);
	assert_true(lane_drain(w->lane));
	assert_int_equal(sent_count, 0);
	give(w, 100, true);
	lane_on_tun(w->lane, w->sim.now_ms);
	assert_int_equal(sent_count, 1);
	e->clock.kept_ns = e->clock.last_ns;
	assert_true(lane_drain(w->lane));
	assert_int_equal(sent_count, 2);
	assert_false(lane_drain(w->lane));
}

/* From a's port to a visitor outside the overlay, as a superframe of TCP. */
static void give_answer(struct world *w, uint16_t port)
{
	static const uint8_t visitor[] = { 198, 18, 7, 7 };
	static uint8_t p[HEADERS + 2 * SIZE];
	const struct vnet v = { .flags = VNET_NEEDS_CSUM,
				.gso_type = VNET_GSO_TCP4,
				.gso_size = SIZE,
				.csum_start = 20,
				.csum_offset = VNET_TCP_OFFSET };
	uint8_t vnet[VNET_LEN];

	write_ip(p, sizeof p, w->a->engine->ip4.ip, visitor, 6);
	store_be16(p + 20, port);
	p[20 + 12] = 5 << 4;
	vnet_store(vnet, &v);
	assert_int_equal(tun_mock_inject(&w->tun, 0, vnet, p, sizeof p), 0);
}

/* One destination, but the port says by which gateway each flow goes: here there is one, and one has none. */
static void answers_to_one_visitor_go_each_by_its_own_port(void **state)
{
	struct world *w = *state;
	struct engine *e = w->a->engine;
	struct pass_entry entry = { .side = FORWARD_OWNER, .proto = FORWARD_TCP, .first = 12000, .count = 2 };
	static const uint16_t ports[] = { 12000, 12000, 12001, 12002, 12002, 12000 };

	memcpy(entry.peer, w->b->engine->ik_pk, 32);
	e->pass = pass_create();
	assert_int_equal(pass_set(e->pass, &entry, 1), 0);
	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++)
		give_answer(w, ports[i]);
	give_superframe(w);
	uint64_t before = e->drops.no_route;
	assert_int_equal(lane_on_tun(w->lane, w->sim.now_ms), 0);
	assert_int_equal(e->drops.no_route - before, 2 * 2);
	assert_sent_once_in_order(4 * 2 + 40);
	assert_int_equal(pass_set(e->pass, NULL, 0), 0);
	give_answer(w, 12000);
	lane_on_tun(w->lane, w->sim.now_ms);
	assert_int_equal(sent_count, 4 * 2 + 40);
	pass_destroy(e->pass);
	e->pass = NULL;
}

/* ---- in */

enum { PACKETS = 24, PACKET = 208, MESSAGE_MAX = PACKET + SEALER_OVERHEAD_MAX };

/* b's messages, one after the other, each packet with its number as its last byte. Returns the length of each. */
static size_t seal_all(struct world *w, uint8_t *out)
{
	struct ip_view ip;
	struct engine_burst burst = {
		.ip = &ip, .count = PACKETS, .largest = PACKET, .bytes = PACKETS * PACKET
	};
	struct engine_out begun;
	uint8_t packet[PACKET];
	size_t len = 0;

	write_ip(packet, sizeof packet, w->b->engine->ip4.ip, w->a->engine->ip4.ip, PROTOCOL);
	assert_true(ip_parse(&ip, packet, sizeof packet));
	burst.packet = packet;
	assert_int_equal(engine_out_begin(w->b->engine, &burst, w->sim.now_ms, &begun), 0);
	for (uint8_t i = 0; i < PACKETS; i++) {
		packet[PACKET - 1] = i;
		len = sealer_seal(&begun.sealer, out + i * len, packet, sizeof packet);
	}
	return len;
}

static void receive(struct world *w, uint8_t *data, size_t len, size_t stride)
{
	const struct udp_train t = { .data = data, .len = len, .stride = stride, .addr = w->b->inner };

	lane_on_train(w->lane, 0, &t, w->sim.now_ms);
}

/* The number of the next packet that came to the device; -1: there is none. */
static int taken(struct world *w)
{
	uint8_t packet[2000];
	ssize_t len = tun_mock_take(&w->tun, 0, NULL, packet, sizeof packet);

	assert_true(len == PACKET || len == -EAGAIN);
	return len == PACKET ? packet[PACKET - 1] : -1;
}

static void of_a_bad_train_the_good_ones_come_in_order(void **state)
{
	static uint8_t data[PACKETS * MESSAGE_MAX];
	struct world *w = *state;
	size_t each = seal_all(w, data);

	data[2 * each + 20] ^= 1;			 /* does not authenticate */
	memcpy(data + 9 * each, data + 8 * each, each);	 /* a replay */
	data[12 * each + 5] ^= 1;			 /* of no session: ends the run */
	data[15 * each] = 0x77;				 /* of no protocol */
	memcpy(data + 23 * each, data + 3 * each, each); /* a replay, in a later run */
	receive(w, data, PACKETS * each - 5, each);	 /* and that is cut short */
	lane_flush(w->lane, w->sim.now_ms);
	for (int i = 0; i < PACKETS - 1; i++)
		if (i != 2 && i != 9 && i != 12 && i != 15)
			assert_int_equal(taken(w), i);
	assert_int_equal(taken(w), -1);
}

static void runs_go_on_from_train_to_train_and_end_at_the_flush(void **state)
{
	static uint8_t data[PACKETS * MESSAGE_MAX];
	struct world *w = *state;
	size_t each = seal_all(w, data);

	for (size_t i = 0; i < PACKETS; i += 8)
		receive(w, data + i * each, 8 * each, each);
	lane_flush(w->lane, w->sim.now_ms);
	memset(data, 0, sizeof data); /* the memory is not the lane's any more */
	lane_flush(w->lane, w->sim.now_ms);
	for (int i = 0; i < PACKETS; i++)
		assert_int_equal(taken(w), i);
	assert_int_equal(taken(w), -1);
}

static void datagrams_without_sense_do_no_harm(void **state)
{
	struct world *w = *state;
	uint8_t data[256];

	for (size_t len = 0; len <= sizeof data; len++)
		for (int first = 0; first < 256; first++) {
			memset(data, 0, sizeof data);
			data[0] = (uint8_t)first;
			receive(w, data, len, len);
			if (len > 1)
				receive(w, data, len, (len + 1) / 2);
		}
	lane_flush(w->lane, w->sim.now_ms);
	assert_int_equal(taken(w), -1);
}

/* ---- over the link to the hub */

enum { SESSION = 7 };

static void go_by_link(struct world *w)
{
	struct engine_peer *ep = sim_peer(w->a, w->b);

	ep->peer.best = NULL;
	ep->relay_session = SESSION;
	w->a->engine->by_link = true;
}

static void a_superframe_becomes_runs_in_order(void **state)
{
	struct world *w = *state;
	struct relay_frame run;
	struct pkt *p;
	bool is_data;
	unsigned runs = 0;

	go_by_link(w);
	give_superframe(w);
	lane_on_tun(w->lane, w->sim.now_ms);
	assert_int_equal(calls, 0);
	for (; (p = engine_next_link_message(w->a->engine, &is_data)); runs += is_data) {
		if (is_data) {
			assert_true(relay_frame_read(&run, pkt_data(p), p->len));
			assert_int_equal(run.session, SESSION);
			for (size_t at = 0; at < run.len; at += run.stride)
				note(run.data + at, run.len - at < run.stride ? run.len - at : run.stride);
		}
		pkt_put(&w->sim.pool, p);
	}
	assert_sent_once_in_order(40);
	assert_in_range(runs, 3, 4);
	assert_int_equal(w->a->engine->link_bytes, 0);
}

static void a_queue_for_the_link_is_bounded(void **state)
{
	struct world *w = *state;
	struct engine *e = w->a->engine;

	go_by_link(w);
	for (int i = 0; i < 20; i++) {
		give_superframe(w);
		lane_on_tun(w->lane, w->sim.now_ms);
	}
	assert_in_range(e->link_bytes, ENGINE_LINK_BYTES / 2, ENGINE_LINK_BYTES);
	assert_true(e->drops.link_full > 0);
	assert_int_equal(engine_ping(e, sim_peer(w->a, w->b), 1, w->sim.now_ms), 0);
}

static void of_a_run_all_comes_in_and_bad_ones_are_counted(void **state)
{
	static uint8_t msg[RELAY_RUN_HEADER + PACKETS * MESSAGE_MAX];
	struct world *w = *state;
	struct engine *e = w->a->engine;
	size_t each = seal_all(w, msg + RELAY_RUN_HEADER), len = RELAY_RUN_HEADER + PACKETS * each;
	uint64_t before = e->drops.malformed;

	relay_client_run_header(msg, 0, each);
	lane_on_run(w->lane, &e->hub_link, msg, len, w->sim.now_ms);
	relay_client_run_header(msg, SESSION, 0);
	lane_on_run(w->lane, &e->hub_link, msg, len, w->sim.now_ms);
	relay_client_run_header(msg, SESSION, each);
	for (size_t n = 1; n <= RELAY_RUN_HEADER; n++)
		lane_on_run(w->lane, &e->hub_link, msg, n, w->sim.now_ms);
	assert_int_equal(e->drops.malformed, before + 2 + RELAY_RUN_HEADER);
	assert_int_equal(taken(w), -1);
	lane_on_run(w->lane, &e->hub_link, msg, len, w->sim.now_ms);
	lane_flush(w->lane, w->sim.now_ms);
	for (int i = 0; i < PACKETS; i++)
		assert_int_equal(taken(w), i);
	assert_int_equal(taken(w), -1);
}

/* Each run is a part of what was one superframe. */
static void runs_wait_for_the_others_of_their_turn(void **state)
{
	static uint8_t msg[RELAY_RUN_HEADER + PACKETS * MESSAGE_MAX];
	struct world *w = *state;
	struct engine *e = w->a->engine;
	size_t each = seal_all(w, msg + RELAY_RUN_HEADER);

	for (int i = 0; i < PACKETS; i++) {
		uint8_t *run = msg + (size_t)i * each; /* over what has gone already */
		relay_client_run_header(run, SESSION, each);
		lane_on_run(w->lane, &e->hub_link, run, RELAY_RUN_HEADER + each, w->sim.now_ms);
	}
	assert_int_equal(taken(w), -1);
	/* The memory they wait in is the one that frames are read to. */
	assert_int_equal(lane_on_tun(w->lane, w->sim.now_ms), 0);
	for (int i = 0; i < PACKETS; i++)
		assert_int_equal(taken(w), i);
	assert_int_equal(taken(w), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_full_socket_leaves_goes_later_and_nothing_goes_twice,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_read_while_the_socket_is_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_socket_that_never_takes_anything_holds_nothing_up, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(answers_to_one_visitor_go_each_by_its_own_port, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_too_big_for_the_path_does_not_overtake, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(frames_that_are_none_are_counted_and_passed_over, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_timestamp_leaves_once_it_is_kept_and_data_does_not_wait,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_a_bad_train_the_good_ones_come_in_order, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(runs_go_on_from_train_to_train_and_end_at_the_flush, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(datagrams_without_sense_do_no_harm, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_superframe_becomes_runs_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_queue_for_the_link_is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_a_run_all_comes_in_and_bad_ones_are_counted, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(runs_wait_for_the_others_of_their_turn, set_up, tear_down),
	};
	log_set_level(LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
