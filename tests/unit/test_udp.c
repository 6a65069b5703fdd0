#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bytes.h"
#include "udp_end.h"

static uint8_t want[UDP_SLOT];

enum { MANY = 3 * UDP_BUDGET };

static int send_text(struct end *from, const struct end *to, const char *text, uint8_t ttl)
{
	static struct pkt p;

	p = (struct pkt) {
		.addr = to->sock.local, .ttl = ttl, .off = PKT_HEADROOM, .len = (uint32_t)strlen(text)
	};
	memcpy(pkt_data(&p), text, p.len);
	return udp_send(&from->sock, &p);
}

/* --- Single datagrams. */

static void a_datagram_arrives_with_its_source(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		assert_int_equal(send_text(&a, &b, "hello", 0), 0);
		end_await(&b, 1);
		assert_int_equal(b.got[0].len, 5);
		assert_int_equal(b.got[0].stride, 5);
		assert_memory_equal(b.bytes, "hello", 5);
		assert_true(addr_equal(&b.got[0].addr, &a.sock.local));
		assert_int_equal(b.sock.stats.rx, 1);
		assert_int_equal(a.sock.stats.tx, 1);
		pair_end(&p);
	}
}

static void an_empty_datagram_is_one(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		struct udp_train t[] = { train(3, 3), train(0, 0), train(2, 2) };
		assert_int_equal(udp_send_trains(&a.sock, t, 3), 3);
		assert_int_equal(udp_send_bytes(&a.sock, "", 0, &b.sock.local), 0);
		end_await(&b, 4);
		assert_int_equal(b.count, 4);
		assert_int_equal(b.got[1].len, 0);
		assert_int_equal(b.got[2].len, 2);
		assert_int_equal(b.got[3].len, 0);
		assert_int_equal(b.sock.stats.rx, 4);
		assert_int_equal(a.sock.stats.tx, 4);
		pair_end(&p);
	}
}

/* Bound to all addresses, and asked at one that the system would not choose itself (IPv6 has but one on loopback). */
static void the_address_that_was_asked_is_known_and_answers(void **state)
{
	(void)state;
	static const char *const asked[] = { "127.0.0.9", "::1" };

	for (size_t i = 0; i < 2; i++) {
		int family = i ? 6 : 4;
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		struct addr any = { .family = (uint8_t)family }, at;
		udp_close(&b.sock);
		assert_int_equal(udp_open(&b.sock, p.loop, p.slab, UDP_OFFLOAD_GRO, &any, &end_handler, &b),
				 0);
		assert_int_equal(udp_want_local(&b.sock), 0);
		assert_int_equal(addr_parse(&at, asked[i], b.sock.local.port), 0);

		struct udp_train t = { .data = buf, .len = 2500, .stride = 1000, .addr = at };
		assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
		end_await(&b, 3);
		assert_true(addr_equal(&b.got[0].local, &at));
		/* All control messages at once. */
		t.addr = a.sock.local;
		t.local = at;
		t.ttl = 64;
		assert_int_equal(udp_send_trains(&b.sock, &t, 1), 1);
		assert_int_equal(udp_send_bytes_from(&b.sock, &at, "I", 1, &a.sock.local), 0);
		end_await(&a, 4);
		assert_true(addr_equal(&a.got[0].addr, &at));
		assert_true(addr_equal(&a.got[a.count - 1].addr, &at));
		assert_int_equal(a.got[0].local.family, ADDR_NONE); /* it did not ask */

		at.family = family == 4 ? ADDR_V6 : ADDR_V4;
		assert_int_equal(udp_send_bytes_from(&b.sock, &at, "I", 1, &a.sock.local), -EAFNOSUPPORT);
		udp_close(&b.sock);
		assert_int_equal(udp_want_local(&b.sock), -EBADF);
		pair_end(&p);
	}
}

/* The TTL that a datagram came with, by a socket of our own that asks for it. */
static int ttl_seen(int family, uint8_t ttl, bool as_train)
{
	int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), on = 1, got = -1;
	struct sockaddr_storage sa;
	struct addr local = end_loopback(family);
	socklen_t len = addr_to_sockaddr(&local, &sa);
	char byte, control[64];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	static struct end to;

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = sizeof sa;
	getsockname(fd, (struct sockaddr *)&sa, &len);
	if (family == 6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on);
	else
		setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
	to.sock.local = addr_from_sockaddr((struct sockaddr *)&sa);
	struct udp_train t = { .data = buf, .len = 3, .stride = 1, .addr = to.sock.local, .ttl = ttl };
	if (as_train)
		assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
	else
		assert_int_equal(send_text(&a, &to, "x", ttl), 0);
	assert_int_equal(recvmsg(fd, &m, 0), 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
	close(fd);
	return got;
}

static void what_is_sent_carries_its_own_ttl(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GSO, UDP_OFFLOAD_NONE);
		int usual = ttl_seen(family, 0, false);
		assert_int_equal(ttl_seen(family, 4, false), 4);
		assert_int_equal(ttl_seen(family, 7, true), 7);
		assert_int_equal(ttl_seen(family, 0, true), usual);
		assert_true(usual > 7);
		pair_end(&p);
	}
}

/* --- Trains. */

static const struct {
	size_t len, stride, datagrams;
} shapes[] = {
	{ 1200, 1200, 1 },	 { 700, 1200, 1 },	  { 2400, 1200, 2 },
	{ 1201, 1200, 2 },	 { 45 * 1440, 1440, 45 }, { 44 * 1440 + 7, 1440, 45 },
	{ 64 * 1000, 1000, 64 }, { 63 * 33 + 1, 33, 64 }, { UDP_TRAIN_BYTES, 1472, 45 },
	{ 64, 1, 64 },
};

/* Each shape once, and what came in the same bytes and order. Returns how many trains it came as. */
static size_t exchange_shapes(int family, enum udp_offload from, enum udp_offload to)
{
	struct pair p = pair_begin(family, from, to);
	size_t at = 0, got = 0, count;

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		struct udp_train t = train(shapes[i].len, shapes[i].stride);
		size_t before = b.datagrams;
		assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
		end_await(&b, before + shapes[i].datagrams);
		assert_memory_equal(b.bytes + at, buf, shapes[i].len);
		at += shapes[i].len;
		assert_int_equal(b.total, at);
		for (size_t left = shapes[i].len; left; got++) {
			assert_true(b.got[got].stride == shapes[i].stride ||
				    b.got[got].len == b.got[got].stride);
			left -= b.got[got].len;
		}
		assert_int_equal(got, b.count);
	}
	assert_int_equal(a.sock.stats.tx, b.datagrams);
	assert_int_equal(b.sock.stats.rx, b.datagrams);
	assert_int_equal(b.sock.stats.rx_trains, b.count);
	assert_int_equal(a.sock.stats.tx_errors, 0);
	assert_int_equal(a.sock.stats.tx_trains,
			 from == UDP_OFFLOAD_NONE ? b.datagrams : sizeof shapes / sizeof *shapes);
	count = b.count;
	pair_end(&p);
	return count;
}

static void every_shape_passes_on_every_rung(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2)
		for (int from = UDP_OFFLOAD_NONE; from <= UDP_OFFLOAD_GRO; from++)
			for (int to = UDP_OFFLOAD_NONE; to <= UDP_OFFLOAD_GRO; to++)
				exchange_shapes(family, (enum udp_offload)from, (enum udp_offload)to);
}

static void a_train_arrives_whole_where_both_ends_can(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
	bool able = a.sock.gso && b.sock.gro;

	pair_end(&p);
	if (!able) {
		print_message("this kernel has no UDP GSO or GRO\n");
		skip();
	}
	for (int family = 4; family <= 6; family += 2)
		assert_int_equal(exchange_shapes(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO),
				 sizeof shapes / sizeof *shapes);
}

static void what_may_not_be_used_is_not(void **state)
{
	(void)state;
	static const struct {
		enum udp_offload most;
		bool gso, gro;
	} cases[] = { { UDP_OFFLOAD_NONE, false, false },
		      { UDP_OFFLOAD_GSO, true, false },
		      { UDP_OFFLOAD_GRO, true, true } };

	for (size_t i = 0; i < 3; i++) {
		struct pair p = pair_begin(4, cases[i].most, cases[i].most);
		assert_true(a.sock.gso <= cases[i].gso);
		assert_true(a.sock.gro <= cases[i].gro);
		pair_end(&p);
	}
}

/* More than a system call holds, with datagrams that cannot be sent among them. */
static void many_trains_keep_their_order(void **state)
{
	(void)state;
	enum { TRAINS = 150 };
	static struct udp_train t[TRAINS];

	for (int rung = UDP_OFFLOAD_NONE; rung <= UDP_OFFLOAD_GRO; rung++) {
		struct pair p = pair_begin(4, (enum udp_offload)rung, (enum udp_offload)rung);
		size_t datagrams = 0, total = 0, lost = 0;
		for (unsigned i = 0; i < TRAINS; i++) {
			size_t stride = 20 + i % 5, len = stride * (1 + i % 4) - i % 3;
			t[i] = train(len, stride);
			t[i].data = buf + total;
			t[i].dont_fragment = i / 10 % 2;
			if (i % 50 == 7) {
				t[i].addr = end_loopback(6);
				lost += 1 + i % 4;
				continue;
			}
			memcpy(want + total, t[i].data, len);
			datagrams += 1 + i % 4;
			total += len;
		}
		assert_int_equal(udp_send_trains(&a.sock, t, TRAINS), TRAINS);
		end_await(&b, datagrams);
		assert_int_equal(b.total, total);
		assert_memory_equal(b.bytes, want, total);
		assert_int_equal(a.sock.stats.tx_errors, lost);
		pair_end(&p);
	}
}

/* --- Turns. */

/* Two sockets have more waiting than a wake-up takes: neither has more than its budget until the other has a turn. */
static void measure_turns(struct pair *p, size_t len, size_t stride, unsigned trains)
{
	static struct end c;
	struct end *turn = NULL;
	struct udp_train t;

	end_open(&c, p->loop, p->slab, 4, UDP_OFFLOAD_GRO);
	b.turn = c.turn = &turn;
	for (unsigned i = 0; i < trains; i++) {
		t = train(len, stride);
		assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
		t.addr = c.sock.local;
		assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
	}
	size_t all = trains * ((len + stride - 1) / stride);
	b.awaited = c.awaited = SIZE_MAX;
	while (b.datagrams < all || c.datagrams < all) {
		b.awaited = b.datagrams < all ? all : SIZE_MAX;
		c.awaited = c.datagrams < all ? all : SIZE_MAX;
		end_run(p->loop);
	}
	udp_close(&c.sock);
}

static void one_wake_up_takes_at_most_its_budget(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);

	measure_turns(&p, 1, 1, MANY);
	assert_int_equal(b.longest_trains, UDP_BUDGET);
	assert_true(b.batches >= MANY / UDP_SLOTS);
	pair_end(&p);
	p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
	if (a.sock.gso && b.sock.gro) {
		measure_turns(&p, 64 * 1000, 1000, 20);
		assert_in_range(b.longest_bytes, UDP_BUDGET_BYTES / 2, UDP_BUDGET_BYTES + 2 * UDP_SLOT);
	}
	pair_end(&p);
}

static void it_tells_whether_more_waits(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);

	for (int i = 0; i < UDP_BUDGET + 1; i++)
		assert_int_equal(send_text(&a, &b, "x", 0), 0);
	end_run(p.loop);
	assert_int_equal(b.datagrams, UDP_BUDGET);
	assert_true(udp_has_more(&b.sock));
	end_await(&b, UDP_BUDGET + 1);
	assert_false(udp_has_more(&b.sock));
	pair_end(&p);
}

/* A datagram with a wrong checksum, by a raw socket. One of up to 76 bytes would not get as far as to the socket. */
static void send_damaged(int raw, const struct addr *to)
{
	struct sockaddr_storage sa;
	struct addr at = *to;
	uint8_t packet[20 + 208] = { [0] = 0x45, [8] = 64, [9] = IPPROTO_UDP };

	memcpy(packet + 12, to->ip, 4);
	memcpy(packet + 16, to->ip, 4);
	/* The ports' sum, and with it what the right checksum is, are the same each time. */
	store_be16(packet + 20, UINT16_MAX - to->port);
	store_be16(packet + 22, to->port);
	store_be16(packet + 24, sizeof packet - 20);
	store_be16(packet + 26, 0xbad);
	at.port = 0;
	socklen_t len = addr_to_sockaddr(&at, &sa);
	assert_int_equal(sendto(raw, packet, sizeof packet, 0, (struct sockaddr *)&sa, len), sizeof packet);
}

static void a_wake_up_that_brings_nothing_is_told(void **state)
{
	(void)state;
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW); /* root's */
	if (raw < 0)
		skip();
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);

	b.stop_on_batch = true;
	send_damaged(raw, &b.sock.local);
	end_run(p.loop);
	assert_int_equal(b.count, 0);
	assert_int_equal(b.batches, 1);
	assert_int_equal(b.sock.stats.rx_errors, 0);
	pair_end(&p);
	close(raw);
}

static void closing_in_a_callback_ends_it(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);

	b.close_on_train = true;
	for (int i = 0; i < 5; i++)
		assert_int_equal(send_text(&a, &b, "x", 0), 0);
	end_run(p.loop);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.batches, 0);
	assert_int_equal(b.sock.stats.rx, 1);
	pair_end(&p);

	p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
	b.close_on_batch = true;
	for (int i = 0; i < MANY; i++)
		assert_int_equal(send_text(&a, &b, "x", 0), 0);
	end_run(p.loop);
	assert_int_equal(b.batches, 1);
	assert_in_range(b.count, 1, UDP_SLOTS);
	pair_end(&p);
}

/* The socket's memory is gone as soon as it is closed. */
struct fleeting {
	struct udp_socket sock;
	struct loop *loop;
	bool in_train;
};

static void vanish(struct fleeting *f)
{
	struct loop *l = f->loop;

	udp_close(&f->sock);
	free(f);
	loop_stop(l);
}

static void vanish_in_train(void *arg, const struct udp_train *t)
{
	struct fleeting *f = arg;

	(void)t;
	if (f->in_train)
		vanish(f);
}

static void vanish_in_batch(void *arg)
{
	vanish(arg);
}

static void a_socket_may_be_released_in_a_callback(void **state)
{
	(void)state;
	static const struct udp_handler handler = { vanish_in_train, vanish_in_batch, vanish_in_batch };
	static const struct {
		bool in_train, data;
	} cases[] = { { true, true }, { false, true }, { false, false } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		struct fleeting *f = calloc(1, sizeof *f);
		struct addr local = end_loopback(4);
		f->loop = p.loop;
		f->in_train = cases[i].in_train;
		assert_int_equal(udp_open(&f->sock, p.loop, p.slab, UDP_OFFLOAD_GRO, &local, &handler, f), 0);
		for (int k = 0; cases[i].data && k < 5; k++)
			assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &f->sock.local), 0);
		if (!cases[i].data)
			assert_int_equal(udp_want_writable(&f->sock), 0);
		end_run(p.loop);
		pair_end(&p);
	}
}

/* --- What goes wrong. */

static void a_refused_send_leaves_the_socket_working(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		struct addr away = b.sock.local;
		udp_close(&b.sock);
		for (int i = 0; i < 20; i++) {
			struct udp_train t = { .data = buf, .len = 30, .stride = 10, .addr = away };
			assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &away), 0);
			assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
		}
		assert_int_equal(a.sock.stats.tx, 80);
		end_open(&b, p.loop, p.slab, family, UDP_OFFLOAD_GRO);
		assert_int_equal(send_text(&a, &b, "there", 0), 0);
		end_await(&b, 1);
		assert_int_equal(send_text(&b, &a, "and back", 0), 0);
		end_await(&a, 1);
		pair_end(&p);
	}
}

static void what_cannot_be_sent_says_why_and_is_counted(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
	struct addr v6 = end_loopback(6);
	static const char big[70000];

	assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &v6), -EAFNOSUPPORT);
	assert_int_equal(udp_send_bytes(&a.sock, big, sizeof big, &b.sock.local), -EMSGSIZE);
	assert_int_equal(a.sock.stats.tx_errors, 2);
	struct udp_train t[] = { train(30, 10), train(30, 0), train(30, 10) };
	assert_int_equal(udp_send_trains(&a.sock, t, 3), 3);
	assert_int_equal(a.sock.stats.tx_errors, 3);
	assert_int_equal(a.sock.stats.tx, 6);
	udp_close(&a.sock);
	assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &v6), -EBADF);
	assert_int_equal(udp_send_trains(&a.sock, t, 1), 1);
	assert_int_equal(a.sock.stats.tx_errors, 7);
	assert_int_equal(udp_want_writable(&a.sock), -EBADF);
	pair_end(&p);
}

static void a_port_in_use_is_named_so(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
	struct udp_socket second, third;

	assert_int_equal(udp_open(&second, p.loop, p.slab, UDP_OFFLOAD_GRO, &a.sock.local, &end_handler, &a),
			 -EADDRINUSE);
	assert_false(udp_is_open(&second));
	udp_close(&second);
	assert_int_equal(udp_open_beside(&second, p.loop, p.slab, UDP_OFFLOAD_GRO, &a.sock, &end_handler, &a),
			 0);
	assert_int_equal(udp_open(&third, p.loop, p.slab, UDP_OFFLOAD_GRO, &a.sock.local, &end_handler, &a),
			 -EADDRINUSE);
	udp_close(&second);
	pair_end(&p);
}

static void sockets_of_one_port_share_the_senders(void **state)
{
	(void)state;
	enum { SENDERS = 64 };
	static struct end beside;

	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		struct udp_socket from[SENDERS];
		struct addr local = end_loopback(family);
		end_prepare(&beside, p.loop, p.slab);
		assert_int_equal(udp_open_beside(&beside.sock, p.loop, p.slab, UDP_OFFLOAD_GRO, &b.sock,
						 &end_handler, &beside),
				 0);
		assert_true(addr_equal(&beside.sock.local, &b.sock.local));
		b.awaited = beside.awaited = SIZE_MAX;
		for (int i = 0; i < SENDERS; i++)
			assert_int_equal(
				udp_open(&from[i], p.loop, p.slab, UDP_OFFLOAD_GRO, &local, &end_handler, &a),
				0);
		for (int i = 0; i < 2 * SENDERS; i++)
			assert_int_equal(udp_send_bytes(&from[i % SENDERS], "x", 1, &b.sock.local), 0);
		/* Whoever has the last of them by this port: an end of its own, that comes after all. */
		assert_int_equal(send_text(&b, &a, "end", 0), 0);
		while (b.datagrams + beside.datagrams < 2 * SENDERS) {
			b.awaited = b.datagrams + 1;
			beside.awaited = beside.datagrams + 1;
			end_run(p.loop);
		}
		assert_true(b.datagrams > 0 && beside.datagrams > 0);
		assert_int_equal(b.datagrams % 2, 0);
		for (size_t i = 0; i < b.count; i++)
			for (size_t k = 0; k < beside.count; k++)
				assert_false(addr_equal(&b.got[i].addr, &beside.got[k].addr));
		for (int i = 0; i < SENDERS; i++)
			udp_close(&from[i]);
		udp_close(&beside.sock);
		pair_end(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_datagram_arrives_with_its_source),
		cmocka_unit_test(an_empty_datagram_is_one),
		cmocka_unit_test(the_address_that_was_asked_is_known_and_answers),
		cmocka_unit_test(what_is_sent_carries_its_own_ttl),
		cmocka_unit_test(every_shape_passes_on_every_rung),
		cmocka_unit_test(a_train_arrives_whole_where_both_ends_can),
		cmocka_unit_test(what_may_not_be_used_is_not),
		cmocka_unit_test(many_trains_keep_their_order),
		cmocka_unit_test(one_wake_up_takes_at_most_its_budget),
		cmocka_unit_test(it_tells_whether_more_waits),
		cmocka_unit_test(a_wake_up_that_brings_nothing_is_told),
		cmocka_unit_test(closing_in_a_callback_ends_it),
		cmocka_unit_test(a_socket_may_be_released_in_a_callback),
		cmocka_unit_test(a_refused_send_leaves_the_socket_working),
		cmocka_unit_test(what_cannot_be_sent_says_why_and_is_counted),
		cmocka_unit_test(a_port_in_use_is_named_so),
		cmocka_unit_test(sockets_of_one_port_share_the_senders),
	};
	end_fill(buf, sizeof buf);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
