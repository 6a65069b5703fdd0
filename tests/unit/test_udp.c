#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/udp.h"

enum { GUARD_MS = 20000, MANY = 3 * UDP_BUDGET };

struct end {
	struct udp_socket sock;
	struct pkt_pool pool;
	struct loop *loop;
	struct pkt_list got;
	size_t awaited; /* the loop stops once so many came */
	unsigned batches, largest_batch, batch;
	bool close_on_packet;
	uint64_t seen_awaited; /* or once so many came or were dropped */
};

static void on_packet(void *arg, struct pkt *p)
{
	struct end *e = arg;

	pkt_list_push(&e->got, p);
	e->batch++;
	if (e->close_on_packet)
		udp_close(&e->sock);
	if (e->got.count >= e->awaited)
		loop_stop(e->loop);
}

static void on_batch(void *arg)
{
	struct end *e = arg;

	e->batches++;
	if (e->batch > e->largest_batch)
		e->largest_batch = e->batch;
	e->batch = 0;
	if (e->seen_awaited && e->sock.stats.rx + e->sock.stats.rx_no_buffer >= e->seen_awaited)
		loop_stop(e->loop);
}

static const struct udp_handler handler = { on_packet, on_batch };

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct loop *l)
{
	struct loop_timer *guard = loop_timer_create(l, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_MS);
	loop_run(l);
	loop_timer_destroy(guard);
}

static struct addr loopback(int family, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, family == 6 ? "::1" : "127.0.0.1", port), 0);
	a.port = port;
	return a;
}

static void open_end(struct end *e, struct loop *l, int family, size_t buffers)
{
	struct addr local = loopback(family, 0);

	memset(e, 0, sizeof *e);
	e->loop = l;
	e->awaited = 1;
	assert_int_equal(pkt_pool_init(&e->pool, buffers), 0);
	assert_int_equal(udp_open(&e->sock, l, &e->pool, &local, &handler, e), 0);
	assert_int_not_equal(e->sock.local.port, 0);
}

static void close_end(struct end *e)
{
	udp_close(&e->sock);
	pkt_list_clear(&e->got, &e->pool);
	assert_int_equal(e->pool.in_use, 0);
	pkt_pool_free(&e->pool);
}

static void send_text(struct end *from, const struct end *to, const char *text, uint8_t ttl)
{
	struct pkt *p = pkt_get(&from->pool);

	p->addr = to->sock.local;
	p->ttl = ttl;
	p->len = (uint32_t)strlen(text);
	memcpy(pkt_data(p), text, p->len);
	assert_int_equal(udp_send(&from->sock, p), 0);
	pkt_put(&from->pool, p);
}

static void a_datagram_arrives_with_its_source(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		struct loop *l = loop_create();
		struct end a, b;
		open_end(&a, l, family, 4);
		open_end(&b, l, family, 40);
		send_text(&a, &b, "hello", 0);
		run(l);
		struct pkt *p = b.got.head;
		assert_int_equal(p->len, 5);
		assert_memory_equal(pkt_data(p), "hello", 5);
		assert_true(addr_equal(&p->addr, &a.sock.local));
		assert_int_equal(b.sock.stats.rx, 1);
		assert_int_equal(a.sock.stats.tx, 1);
		close_end(&a);
		close_end(&b);
		loop_destroy(l);
	}
}

/* Bound to all addresses, and asked at one that the system would not choose itself (IPv6 has but one on loopback). */
static void the_address_that_was_asked_is_known_and_answers(void **state)
{
	(void)state;
	static const char *const asked[] = { "127.0.0.9", "::1" };

	for (size_t i = 0; i < 2; i++) {
		struct loop *l = loop_create();
		int family = i ? 6 : 4;
		struct end a, b;
		struct addr any = { .family = (uint8_t)family }, at;
		open_end(&a, l, family, 4);
		memset(&b, 0, sizeof b);
		b.loop = l;
		b.awaited = 1;
		assert_int_equal(pkt_pool_init(&b.pool, 40), 0);
		assert_int_equal(udp_open(&b.sock, l, &b.pool, &any, &handler, &b), 0);
		assert_int_equal(udp_want_local(&b.sock), 0);
		assert_int_equal(addr_parse(&at, asked[i], b.sock.local.port), 0);
		at.port = b.sock.local.port;

		assert_int_equal(udp_send_bytes(&a.sock, "who?", 4, &at), 0);
		run(l);
		struct pkt *p = b.got.head;
		assert_true(addr_equal(&p->local, &at));
		p->ttl = 64; /* both control messages at once */
		assert_int_equal(udp_send(&b.sock, p), 0);
		assert_int_equal(udp_send_bytes_from(&b.sock, &at, "I", 1, &a.sock.local), 0);
		a.awaited = 2;
		run(l);
		assert_true(addr_equal(&a.got.head->addr, &at));
		assert_true(addr_equal(&a.got.head->next->addr, &at));
		assert_int_equal(a.got.head->local.family, ADDR_NONE); /* it did not ask */

		at.family = family == 4 ? ADDR_V6 : ADDR_V4;
		assert_int_equal(udp_send_bytes_from(&b.sock, &at, "I", 1, &a.sock.local), -EAFNOSUPPORT);
		close_end(&a);
		close_end(&b);
		assert_int_equal(udp_want_local(&b.sock), -EBADF);
		loop_destroy(l);
	}
}

/* The TTL that a datagram came with, by a socket of our own that asks for it. */
static int ttl_seen(struct end *from, int family, uint8_t ttl)
{
	int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), on = 1, got = -1;
	struct sockaddr_storage sa;
	struct addr local = loopback(family, 0);
	socklen_t len = addr_to_sockaddr(&local, &sa);
	char byte, control[64];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	struct end to;

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = sizeof sa;
	getsockname(fd, (struct sockaddr *)&sa, &len);
	if (family == 6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on);
	else
		setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
	to.sock.local = addr_from_sockaddr((struct sockaddr *)&sa);
	send_text(from, &to, "x", ttl);
	assert_int_equal(recvmsg(fd, &m, 0), 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
	close(fd);
	return got;
}

static void a_packet_carries_its_own_ttl(void **state)
{
	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		struct loop *l = loop_create();
		struct end a;
		open_end(&a, l, family, 4);
		int usual = ttl_seen(&a, family, 0);
		assert_int_equal(ttl_seen(&a, family, 4), 4);
		assert_int_equal(ttl_seen(&a, family, 7), 7);
		assert_int_equal(ttl_seen(&a, family, 0), usual);
		assert_true(usual > 7);
		close_end(&a);
		loop_destroy(l);
	}
}

static void one_wake_up_takes_at_most_its_budget(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct end a, b;

	open_end(&a, l, 4, 4);
	open_end(&b, l, 4, MANY + UDP_BATCH);
	for (int i = 0; i < MANY; i++)
		send_text(&a, &b, "x", 0);
	b.awaited = MANY;
	run(l);
	assert_int_equal(b.got.count, MANY);
	assert_int_equal(b.largest_batch, UDP_BUDGET);
	close_end(&a);
	close_end(&b);
	loop_destroy(l);
}

static void without_buffers_datagrams_are_dropped_and_counted(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct end a, b;

	open_end(&a, l, 4, 4);
	open_end(&b, l, 4, 1);
	for (int i = 0; i < 5; i++)
		send_text(&a, &b, "x", 0);
	b.awaited = SIZE_MAX;
	b.seen_awaited = 5;
	run(l);
	assert_int_equal(b.sock.stats.rx, 1);
	assert_int_equal(b.sock.stats.rx_no_buffer, 4);
	pkt_list_clear(&b.got, &b.pool);
	send_text(&a, &b, "again", 0);
	b.seen_awaited = 6;
	run(l);
	assert_int_equal(b.got.count, 1);
	close_end(&a);
	close_end(&b);
	loop_destroy(l);
}

static void a_refused_send_leaves_the_socket_working(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct end a, b, gone;
	struct addr away;

	open_end(&a, l, 4, 40);
	open_end(&b, l, 4, 40);
	open_end(&gone, l, 4, 40);
	away = gone.sock.local;
	close_end(&gone);
	for (int i = 0; i < 20; i++)
		assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &away), 0);
	send_text(&a, &b, "there", 0);
	run(l);
	send_text(&b, &a, "and back", 0);
	run(l);
	assert_int_equal(a.got.count, 1);
	assert_int_equal(b.got.count, 1);
	close_end(&a);
	close_end(&b);
	loop_destroy(l);
}

static void what_cannot_be_sent_says_why_and_is_counted(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct end a;
	struct addr v6 = loopback(6, 9);
	static const char big[70000];

	open_end(&a, l, 4, 4);
	assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &v6), -EAFNOSUPPORT);
	assert_int_equal(udp_send_bytes(&a.sock, big, sizeof big, &a.sock.local), -EMSGSIZE);
	assert_int_equal(a.sock.stats.tx_errors, 2);
	udp_close(&a.sock);
	assert_int_equal(udp_send_bytes(&a.sock, "x", 1, &v6), -EBADF);
	close_end(&a);
	loop_destroy(l);
}

static void a_port_in_use_is_named_so(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct end a;
	struct udp_socket second;

	open_end(&a, l, 4, 4);
	assert_int_equal(udp_open(&second, l, &a.pool, &a.sock.local, &handler, &a), -EADDRINUSE);
	assert_false(udp_is_open(&second));
	udp_close(&second);
	close_end(&a);
	loop_destroy(l);
}

static void closing_in_the_callback_gives_the_rest_of_the_batch_back(void **state)
{
	(void)state;
	struct loop *l = loop_create();
	struct end a, b;

	open_end(&a, l, 4, 4);
	open_end(&b, l, 4, 40);
	b.close_on_packet = true;
	for (int i = 0; i < 5; i++)
		send_text(&a, &b, "x", 0);
	run(l);
	assert_int_equal(b.got.count, 1);
	assert_int_equal(b.pool.in_use, 1);
	close_end(&a);
	close_end(&b);
	loop_destroy(l);
}

/* In a network of our own, whose loopback takes IP packets of so many bytes. False without the right to make one. */
static bool narrow_loopback(int mtu)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_mtu = mtu };
	bool ok = unshare(CLONE_NEWNET) == 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	ok = ok && ioctl(fd, SIOCSIFMTU, &ifr) == 0;
	ifr.ifr_flags = IFF_UP;
	ok = ok && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
	close(fd);
	return ok;
}

static void send_long(struct end *from, const struct end *to, bool dont_fragment, int outcome)
{
	struct pkt *p = pkt_get(&from->pool);

	p->addr = to->sock.local;
	p->dont_fragment = dont_fragment;
	p->len = 1400;
	memset(pkt_data(p), 'x', p->len);
	assert_int_equal(udp_send(&from->sock, p), outcome);
	pkt_put(&from->pool, p);
}

static void datagrams_are_split_unless_they_ask_not_to_be(void **state)
{
	(void)state;
	if (!narrow_loopback(1300))
		skip();
	for (int family = 4; family <= 6; family += 2) {
		struct loop *l = loop_create();
		struct end a, b;
		open_end(&a, l, family, 4);
		open_end(&b, l, family, 40);
		send_long(&a, &b, true, -EMSGSIZE);
		send_long(&a, &b, false, 0);
		send_long(&a, &b, true, -EMSGSIZE);
		send_text(&a, &b, "short", 0);
		b.awaited = 2;
		run(l);
		assert_int_equal(b.got.count, 2);
		assert_int_equal(b.got.head->len, 1400);
		assert_int_equal(a.sock.stats.tx_errors, 2);
		close_end(&a);
		close_end(&b);
		loop_destroy(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_datagram_arrives_with_its_source),
		cmocka_unit_test(the_address_that_was_asked_is_known_and_answers),
		cmocka_unit_test(a_packet_carries_its_own_ttl),
		cmocka_unit_test(one_wake_up_takes_at_most_its_budget),
		cmocka_unit_test(without_buffers_datagrams_are_dropped_and_counted),
		cmocka_unit_test(a_refused_send_leaves_the_socket_working),
		cmocka_unit_test(what_cannot_be_sent_says_why_and_is_counted),
		cmocka_unit_test(a_port_in_use_is_named_so),
		cmocka_unit_test(closing_in_the_callback_gives_the_rest_of_the_batch_back),
		cmocka_unit_test(
			datagrams_are_split_unless_they_ask_not_to_be), /* last: it stays in that network */
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
