/* Which of the sockets of one port a datagram goes to: udp_steer(). */
#include "core/bytes.h"
#include "core/sealer.h"
#include "relay/relay_wire.h"
#include "tests/unit/udp_end.h"

enum { OTHERS = 3, SOCKETS = 1 + OTHERS, LEN = 64, DATA = 4 };

static struct end sender, ends[SOCKETS];
static struct loop *loop;
static struct udp_slab *slab;

static void open_all(int family)
{
	loop = loop_create();
	slab = udp_slab_create();
	end_open(&sender, loop, slab, family, UDP_OFFLOAD_GRO);
	end_open(&ends[0], loop, slab, family, UDP_OFFLOAD_GRO);
	for (int i = 1; i < SOCKETS; i++) {
		end_prepare(&ends[i], loop, slab);
		assert_int_equal(udp_open_beside(&ends[i].sock, loop, slab, UDP_OFFLOAD_GRO, &ends[0].sock,
						 &end_handler, &ends[i]),
				 0);
		assert_int_equal(ends[i].sock.local.port, ends[0].sock.local.port);
	}
	assert_int_equal(udp_steer(&ends[0].sock, OTHERS), 0);
}

static void close_all(void)
{
	udp_close(&sender.sock);
	for (int i = 0; i < SOCKETS; i++)
		udp_close(&ends[i].sock);
	udp_slab_destroy(slab);
	loop_destroy(loop);
}

/* A message of `len` bytes at least, in front of it the relay's header if there is a session. */
static size_t message(uint8_t *out, uint8_t type, uint32_t receiver, uint32_t session, size_t len)
{
	size_t header = session ? RELAY_HEADER : 0;

	memset(out, 0, len);
	if (session) {
		store_le32(out, RELAY_DATA);
		store_le32(out + 4, session);
	}
	store_le32(out + header, type);
	if (len >= header + 8)
		store_le32(out + header + 4, receiver);
	return len;
}

/* Waits until one of them has the datagrams, and says which. */
static int who_gets(const uint8_t *data, size_t len, size_t stride)
{
	struct udp_train t = { .data = (uint8_t *)data, .len = len, .stride = stride };
	size_t count = (len + stride - 1) / stride;
	int who = -1;

	t.addr = end_loopback(sender.sock.local.family == ADDR_V6 ? 6 : 4);
	t.addr.port = ends[0].sock.local.port;
	for (int i = 0; i < SOCKETS; i++) {
		ends[i].awaited = ends[i].datagrams + count;
		ends[i].count = ends[i].total = 0;
	}
	assert_int_equal(udp_send_trains(&sender.sock, &t, 1), 1);
	end_run(loop);
	for (int i = 0; i < SOCKETS; i++)
		if (ends[i].datagrams == ends[i].awaited)
			who = i;
	return who;
}

static void check_data(int family)
{
	static const uint8_t types[] = { DATA, SEALER_FIRST_BYTE_AEGIS };
	uint8_t msg[LEN];

	open_all(family);
	for (uint32_t low = 0; low < 256; low += 5)
		for (size_t i = 0; i < sizeof types; i++) {
			uint32_t receiver = 0xabcdef00 | low;
			message(msg, types[i], receiver, 0, LEN);
			assert_int_equal(who_gets(msg, LEN, LEN), 1 + low % OTHERS);
			message(msg, types[i], receiver, 0x01020304, LEN);
			assert_int_equal(who_gets(msg, LEN, LEN), 1 + low % OTHERS);
		}
	close_all();
}

static void data_goes_by_the_lowest_byte_of_its_receiver(void **state)
{
	(void)state;
	check_data(4);
	check_data(6);
}

/* Beginnings of what is no data, or too short to tell whose it is. */
static const struct {
	uint8_t bytes[16];
	size_t len;
} others[] = {
	{ { 1, 0, 0, 0, 1, 1, 1, 1 }, LEN }, /* handshakes, a cookie */
	{ { 2, 0, 0, 0, 1, 1, 1, 1 }, LEN },
	{ { 3, 0, 0, 0, 1, 1, 1, 1 }, LEN },
	{ { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42 }, LEN }, /* STUN */
	{ { 0x80, 0, 0, 0, 1, 1, 1, 1 }, LEN },
	{ { 0x82, 0, 0, 0, 1, 1, 1, 1 }, LEN },
	{ { 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1 }, LEN },
	{ { DATA }, 1 },
	{ { DATA, 0, 0, 0 }, 4 },
	{ { SEALER_FIRST_BYTE_AEGIS, 0, 0 }, 3 },
	{ { RELAY_DATA }, 1 },
	{ { RELAY_DATA, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0 }, 12 },
};

static void check_others(int family)
{
	uint8_t msg[LEN];

	open_all(family);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		memset(msg, 1, sizeof msg);
		memcpy(msg, others[i].bytes, others[i].len < 16 ? others[i].len : 8);
		assert_int_equal(who_gets(msg, others[i].len, others[i].len), 0);
	}
	close_all();
}

static void all_else_goes_to_the_first_as_does_what_is_too_short(void **state)
{
	(void)state;
	check_others(4);
	check_others(6);
}

static void check_trains(int family)
{
	enum { COUNT = 40 };
	static uint8_t train[COUNT * LEN];

	open_all(family);
	for (uint32_t low = 0; low < 2 * OTHERS; low++) {
		for (size_t i = 0; i < COUNT; i++)
			message(train + i * LEN, SEALER_FIRST_BYTE_AEGIS, low, 0, LEN);
		int who = who_gets(train, sizeof train - 10, LEN);
		assert_int_equal(who, 1 + low % OTHERS);
		assert_memory_equal(ends[who].bytes, train, sizeof train - 10);
	}
	close_all();
}

static void a_train_goes_as_one(void **state)
{
	(void)state;
	check_trains(4);
	check_trains(6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_goes_by_the_lowest_byte_of_its_receiver),
		cmocka_unit_test(all_else_goes_to_the_first_as_does_what_is_too_short),
		cmocka_unit_test(a_train_goes_as_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
