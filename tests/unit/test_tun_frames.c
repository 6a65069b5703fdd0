/* Superframes through devices of the real kernel, in network namespaces of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/addr.h"
#include "core/bytes.h"
#include "tun/device.h"
#include "tun/netif.h"
#include "tun/route.h"

enum {
	EXIT_SKIPPED = 77,
	MTU = 1392,
	DATAGRAM = 1000,
	DATAGRAMS = 9,
	TAIL = 500,
	BULK = DATAGRAMS * DATAGRAM + TAIL,
	FRAME_MAX = 65536,
	/* Of the vnet header: virtio 1.2 section 5.1.6. */
	NEEDS_CSUM = 1,
	GSO_NONE = 0,
	GSO_TCP4 = 1,
	GSO_TCP6 = 4,
	GSO_UDP = 5,
};

static const enum tun_offload rungs[] = { TUN_PLAIN, TUN_TSO, TUN_USO };

struct frame {
	uint8_t vnet[TUN_VNET], packet[FRAME_MAX];
	size_t len;
};

static struct frame frame;

static struct addr ip(const char *text, uint16_t port)
{
	struct addr a;
	assert_int_equal(addr_parse(&a, text, 0), 0);
	a.port = port;
	return a;
}

/* The kernel gives an IPv6 address its route after the call that added it has returned. */
static void wait_for_route(const struct addr *a)
{
	struct route_clash route;
	int tries = 10000;

	while (route_find_clash(a, 128, 0, &route) == 0 && --tries)
		poll(NULL, 0, 1);
	assert_int_not_equal(tries, 0);
}

static void open_device(struct tun_device *d, unsigned queues, enum tun_offload most, const char *v4,
			const char *v6)
{
	struct addr a4 = ip(v4, 0), a6 = ip(v6, 0);

	assert_int_equal(tun_open(d, "t0", queues, most), 0);
	assert_int_equal(netif_up(d->ifindex, MTU), 0);
	assert_int_equal(netif_add_addr(d->ifindex, &a4, 16), 0);
	assert_int_equal(netif_add_addr(d->ifindex, &a6, 64), 0);
	wait_for_route(&a6);
}

static void open_t0(struct tun_device *d, unsigned queues, enum tun_offload most)
{
	open_device(d, queues, most, "10.77.0.1", "fd00:77::1");
}

static int bound_socket(int type, const char *text, uint16_t port)
{
	struct sockaddr_storage ss;
	struct addr a = ip(text, port);
	int one = 1, fd = socket(a.family == ADDR_V4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, addr_to_sockaddr(&a, &ss)), 0);
	return fd;
}

static int connect_to(int fd, const char *text, uint16_t port)
{
	struct sockaddr_storage ss;
	struct addr a = ip(text, port);

	return connect(fd, (struct sockaddr *)&ss, addr_to_sockaddr(&a, &ss));
}

static void fill(uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7 + i / 251);
}

/* The next frame that is no discovery of the kernel's own. */
static bool read_frame(struct tun_device *d, unsigned queue, uint8_t protocol)
{
	ssize_t n;

	while ((n = tun_read(d, queue, frame.vnet, frame.packet, sizeof frame.packet)) > 0) {
		frame.len = (size_t)n;
		if (frame.packet[frame.packet[0] >> 4 == 4 ? 9 : 6] == protocol)
			return true;
	}
	assert_int_equal(n, -EAGAIN);
	return false;
}

/* Ones' complement sum as 16 bits, RFC 1071. */
static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		s += load_be16(p + i);
	if (len & 1)
		s += (uint32_t)p[len - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

/* Of the UDP packet in `frame`. */
static uint16_t pseudo_header(bool v6, size_t udp_len)
{
	const uint8_t *addresses = frame.packet + (v6 ? 8 : 12);

	return fold(sum(addresses, v6 ? 32 : 8) + IPPROTO_UDP + (uint32_t)udp_len);
}

static const struct {
	const char *from, *to;
	bool v6;
	size_t header;
} families[] = {
	{ "10.77.0.1", "10.77.0.2", false, 20 },
	{ "fd00:77::1", "fd00:77::2", true, 40 },
};

static void send_bulk(int fd)
{
	int size = DATAGRAM;
	uint8_t bulk[BULK];

	fill(bulk, BULK);
	assert_int_equal(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size), 0);
	assert_int_equal(send(fd, bulk, BULK, 0), BULK);
}

static void expect_superframe(bool v6, size_t header)
{
	uint8_t bulk[BULK];

	fill(bulk, BULK);
	assert_int_equal(frame.len, header + 8 + BULK);
	assert_int_equal(frame.vnet[0], NEEDS_CSUM);
	assert_int_equal(frame.vnet[1], GSO_UDP);
	assert_int_equal(load_le16(frame.vnet + 4), DATAGRAM);
	assert_int_equal(load_le16(frame.vnet + 6), header);
	assert_int_equal(load_le16(frame.vnet + 8), 6);
	assert_int_equal(load_be16(frame.packet + header + 6), pseudo_header(v6, 8 + BULK));
	assert_memory_equal(frame.packet + header + 8, bulk, BULK);
}

/* Each datagram by itself. Its checksum is the kernel's on a plain device, else it may be left to us. */
static void expect_datagram(enum tun_offload rung, bool v6, size_t header, size_t at)
{
	uint8_t bulk[BULK];
	size_t len = at + DATAGRAM < BULK ? DATAGRAM : BULK - at;
	const uint8_t *udp = frame.packet + header;

	fill(bulk, BULK);
	assert_int_equal(frame.len, header + 8 + len);
	assert_int_equal(frame.vnet[1], GSO_NONE);
	assert_memory_equal(udp + 8, bulk + at, len);
	if (rung == TUN_PLAIN)
		assert_int_equal(frame.vnet[0], 0);
	if (!(frame.vnet[0] & NEEDS_CSUM))
		assert_int_equal(fold(pseudo_header(v6, 8 + len) + sum(udp, 8 + len)), 0xffff);
}

static void what_a_udp_socket_sends_in_bulk_is_read_as_each_rung_has_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct tun_device d;
		open_t0(&d, 1, rungs[i]);
		assert_int_equal(d.offload, rungs[i]);
		for (size_t f = 0; f < 2; f++) {
			int fd = bound_socket(SOCK_DGRAM, families[f].from, 5001);
			size_t frames = rungs[i] == TUN_USO ? 1 : DATAGRAMS + 1;
			assert_int_equal(connect_to(fd, families[f].to, 5002), 0);
			send_bulk(fd);
			for (size_t n = 0; n < frames; n++) {
				assert_true(read_frame(&d, 0, IPPROTO_UDP));
				if (rungs[i] == TUN_USO)
					expect_superframe(families[f].v6, families[f].header);
				else
					expect_datagram(rungs[i], families[f].v6, families[f].header,
							n * DATAGRAM);
			}
			assert_false(read_frame(&d, 0, IPPROTO_UDP));
			close(fd);
		}
		tun_close(&d);
	}
}

/* What was read goes back to its sender: addresses and ports change places, which no checksum notices. */
static void turn_round(bool v6, size_t header)
{
	uint8_t tmp[16], *src = frame.packet + (v6 ? 8 : 12), *ports = frame.packet + header;
	size_t n = v6 ? 16 : 4;

	memcpy(tmp, src, n);
	memcpy(src, src + n, n);
	memcpy(src + n, tmp, n);
	memcpy(tmp, ports, 2);
	memcpy(ports, ports + 2, 2);
	memcpy(ports + 2, tmp, 2);
}

static int write_frame(struct tun_device *d, unsigned queue)
{
	const struct iovec iov[] = { { frame.vnet, TUN_VNET },
				     { frame.packet, 30 },
				     { frame.packet + 30, frame.len - 30 } };

	return tun_write(d, queue, iov, 3);
}

/* What was written gets to its socket by the kernel's leave, at once only on an idle machine. */
static ssize_t receive(int fd, void *buf, size_t cap)
{
	struct pollfd readable = { fd, POLLIN, 0 };

	assert_int_equal(poll(&readable, 1, 10000), 1);
	return recv(fd, buf, cap, 0);
}

static void expect_bulk(int fd)
{
	uint8_t bulk[BULK], got[DATAGRAM + 1];

	fill(bulk, BULK);
	for (size_t at = 0; at < BULK; at += DATAGRAM) {
		size_t len = at + DATAGRAM < BULK ? DATAGRAM : BULK - at;
		assert_int_equal(receive(fd, got, sizeof got), len);
		assert_memory_equal(got, bulk + at, len);
	}
	assert_int_equal(recv(fd, got, sizeof got, 0), -1);
}

static void a_udp_superframe_that_is_written_arrives_as_its_datagrams(void **state)
{
	struct tun_device d;
	(void)state;

	open_t0(&d, 1, TUN_USO);
	for (size_t f = 0; f < 2; f++) {
		int fd = bound_socket(SOCK_DGRAM, families[f].from, 5001);
		assert_int_equal(connect_to(fd, families[f].to, 5002), 0);
		send_bulk(fd);
		assert_true(read_frame(&d, 0, IPPROTO_UDP));
		turn_round(families[f].v6, families[f].header);
		assert_int_equal(write_frame(&d, 0), 0);
		expect_bulk(fd);
		close(fd);
	}
	assert_int_equal(d.offload, TUN_USO);
	tun_close(&d);
}

static void packets_are_written_on_every_rung(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct tun_device d;
		char reply[8];
		open_t0(&d, 1, rungs[i]);
		int fd = bound_socket(SOCK_DGRAM, "10.77.0.1", 5001);
		assert_int_equal(connect_to(fd, "10.77.0.2", 5002), 0);
		for (int whole = 0; whole < 2; whole++) {
			assert_int_equal(send(fd, "ping", 4, 0), 4);
			assert_true(read_frame(&d, 0, IPPROTO_UDP));
			turn_round(false, 20);
			store_be16(frame.packet + 26, 0); /* IPv4: none */
			memset(frame.vnet, 0, TUN_VNET);
			assert_int_equal(whole ? tun_write_packet(&d, 0, frame.packet, frame.len)
					       : write_frame(&d, 0),
					 0);
			assert_int_equal(receive(fd, reply, sizeof reply), 4);
		}
		close(fd);
		tun_close(&d);
	}
}

static void a_refused_superframe_lowers_the_device_and_a_refused_packet_does_not(void **state)
{
	static const struct {
		uint8_t gso_type;
		enum tun_offload left;
	} cases[] = {
		{ GSO_NONE, TUN_USO },	 { GSO_UDP, TUN_TSO },	 { GSO_NONE, TUN_TSO },
		{ GSO_TCP6, TUN_PLAIN }, { GSO_UDP, TUN_PLAIN },
	};
	struct tun_device d;
	(void)state;

	open_t0(&d, 1, TUN_USO);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* The checksum lies beyond the packet. */
		frame = (struct frame) { .vnet = { NEEDS_CSUM, cases[i].gso_type },
					 .packet = { 0x45 },
					 .len = 200 };
		store_le16(frame.vnet + 4, 100);
		store_le16(frame.vnet + 6, 300);
		assert_int_equal(write_frame(&d, 0), -EINVAL);
		assert_int_equal(d.offload, cases[i].left);
	}
	/* It still has the header on the wire. */
	int fd = bound_socket(SOCK_DGRAM, "10.77.0.1", 5001);
	assert_int_equal(connect_to(fd, "10.77.0.2", 5002), 0);
	send_bulk(fd);
	assert_true(read_frame(&d, 0, IPPROTO_UDP));
	expect_superframe(false, 20);
	close(fd);
	tun_close(&d);
}

/* What tun_open's probe relies on. */
static void a_device_that_is_down_tells_a_bad_header_from_a_good_one(void **state)
{
	struct tun_device d;
	(void)state;

	open_t0(&d, 1, TUN_USO);
	int fd = bound_socket(SOCK_DGRAM, "10.77.0.1", 5001);
	assert_int_equal(connect_to(fd, "10.77.0.2", 5002), 0);
	send_bulk(fd);
	assert_true(read_frame(&d, 0, IPPROTO_UDP));
	close(fd);
	tun_close(&d);
	assert_int_equal(tun_open(&d, "t0", 1, TUN_USO), 0);
	assert_int_equal(write_frame(&d, 0), -EIO);
	assert_int_equal(d.offload, TUN_USO);
	frame.vnet[1] = 7; /* no type */
	assert_int_equal(write_frame(&d, 0), -EINVAL);
	tun_close(&d);
}

static void a_flow_is_read_from_the_queue_it_was_written_to(void **state)
{
	struct tun_device d;
	char reply[8];
	(void)state;

	open_t0(&d, 2, TUN_USO);
	assert_int_equal(d.queue_count, 2);
	for (uint16_t port = 6000; port < 6016; port++) {
		unsigned at = 0, other;
		int fd = bound_socket(SOCK_DGRAM, "10.77.0.1", port);
		assert_int_equal(connect_to(fd, "10.77.0.2", 5002), 0);
		assert_int_equal(send(fd, "ping", 4, 0), 4);
		if (!read_frame(&d, 0, IPPROTO_UDP)) {
			assert_true(read_frame(&d, 1, IPPROTO_UDP));
			at = 1;
		}
		turn_round(false, 20);
		other = 1 - at;
		assert_int_equal(write_frame(&d, other), 0);
		assert_int_equal(receive(fd, reply, sizeof reply), 4);
		assert_int_equal(send(fd, "ping", 4, 0), 4);
		assert_false(read_frame(&d, at, IPPROTO_UDP));
		assert_true(read_frame(&d, other, IPPROTO_UDP));
		close(fd);
	}
	tun_close(&d);
}

static void a_device_has_as_many_queues_as_asked_for(void **state)
{
	static const struct {
		unsigned queues;
		int rc;
	} cases[] = { { 0, -EINVAL }, { 1, 0 }, { TUN_QUEUES, 0 }, { TUN_QUEUES + 1, -EINVAL } };
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t r = 0; r < 3; r++) {
			struct tun_device d;
			assert_int_equal(tun_open(&d, NULL, cases[i].queues, rungs[r]), cases[i].rc);
			assert_int_equal(d.queue_count, cases[i].rc ? 0 : cases[i].queues);
			tun_close(&d);
		}
	}
}

/* --- TCP between two namespaces, frames handed over as they are. */

struct pair {
	struct tun_device a, b;
	int listener, client, server;
	size_t largest;
	bool gso[8];
};

static void open_pair(struct pair *p, enum tun_offload rung, unsigned gso_max, const char *a, const char *b)
{
	*p = (struct pair) { .server = -1 };
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	open_device(&p->a, 1, rung, "10.77.0.2", "fd00:77::2");
	p->listener = bound_socket(SOCK_STREAM, a, 7000);
	assert_int_equal(listen(p->listener, 1), 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	open_device(&p->b, 1, rung, "10.77.0.1", "fd00:77::1");
	assert_int_equal(netif_set_gso_max(p->b.ifindex, gso_max), 0);
	p->client = bound_socket(SOCK_STREAM, b, 0);
	assert_int_equal(connect_to(p->client, a, 7000), -1);
	assert_int_equal(errno, EINPROGRESS);
}

static void close_pair(struct pair *p)
{
	close(p->client);
	close(p->server);
	close(p->listener);
	tun_close(&p->a);
	tun_close(&p->b);
}

static void carry(struct pair *p, struct tun_device *from, struct tun_device *to)
{
	while (read_frame(from, 0, IPPROTO_TCP)) {
		if (frame.len > p->largest)
			p->largest = frame.len;
		p->gso[frame.vnet[1] & 7] = true;
		assert_int_equal(write_frame(to, 0), 0);
	}
}

/* Sends `total` bytes whose values the place tells. */
static void transfer(struct pair *p, size_t total)
{
	static uint8_t out[1 << 20], in[1 << 16];
	size_t sent = 0, received = 0;

	fill(out, sizeof out);
	while (received < total) {
		struct pollfd any[] = { { p->a.queues[0], POLLIN, 0 },
					{ p->b.queues[0], POLLIN, 0 },
					{ p->server < 0 ? p->listener : p->server, POLLIN, 0 } };
		ssize_t n = sent < total ? send(p->client, out + sent, total - sent, MSG_NOSIGNAL) : 0;
		sent += n > 0 ? (size_t)n : 0;
		assert_true(poll(any, 3, 10000) > 0);
		carry(p, &p->b, &p->a);
		carry(p, &p->a, &p->b);
		if (p->server < 0)
			p->server = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK);
		while (p->server >= 0 && (n = recv(p->server, in, sizeof in, 0)) > 0) {
			assert_memory_equal(in, out + received, n);
			received += (size_t)n;
		}
	}
}

static void tcp_goes_through_on_every_rung_and_fills_its_superframes(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t f = 0; f < 2; f++) {
			struct pair p;
			open_pair(&p, rungs[i], 65536, families[f].to, families[f].from);
			transfer(&p, 1 << 20);
			assert_int_equal(p.gso[families[f].v6 ? GSO_TCP6 : GSO_TCP4], rungs[i] != TUN_PLAIN);
			if (rungs[i] == TUN_PLAIN)
				assert_int_equal(p.largest, MTU);
			else
				assert_in_range(p.largest, 32768, 65535);
			close_pair(&p);
		}
	}
}

static void superframes_stay_below_the_limit_that_was_set(void **state)
{
	static const unsigned limits[] = { 10000, 30000, 60800 };
	(void)state;

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		for (size_t f = 0; f < 2; f++) {
			struct pair p;
			open_pair(&p, TUN_USO, limits[i], families[f].to, families[f].from);
			transfer(&p, 1 << 20);
			assert_in_range(p.largest, limits[i] - 2 * MTU, limits[i]);
			close_pair(&p);
		}
	}
}

static void a_short_queue_holds_no_more_than_was_set(void **state)
{
	struct tun_device d;
	unsigned count = 0;
	(void)state;

	open_t0(&d, 1, TUN_USO);
	assert_int_equal(netif_set_queue(d.ifindex, 16), 0);
	int fd = bound_socket(SOCK_DGRAM, "10.77.0.1", 5001);
	assert_int_equal(connect_to(fd, "10.77.0.2", 5002), 0);
	for (int i = 0; i < 100; i++)
		send(fd, "ping", 4, 0);
	while (read_frame(&d, 0, IPPROTO_UDP))
		count++;
	assert_int_equal(count, 16);
	close(fd);
	tun_close(&d);
	assert_int_equal(netif_set_queue(4711, 16), -ENODEV);
	assert_int_equal(netif_set_gso_max(4711, 60000), -ENODEV);
}

static bool can_run(void)
{
	struct tun_device d;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		fprintf(stderr, "SKIPPED: test_tun_frames needs root (network namespaces of its own)\n");
		return false;
	}
	int rc = tun_open(&d, NULL, 1, TUN_USO);
	enum tun_offload got = d.offload;
	tun_close(&d);
	if (rc == 0 && got == TUN_USO)
		return true;
	fprintf(stderr, "SKIPPED: test_tun_frames needs /dev/net/tun with UDP superframes (Linux 6.2)\n");
	return false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_udp_socket_sends_in_bulk_is_read_as_each_rung_has_it),
		cmocka_unit_test(a_udp_superframe_that_is_written_arrives_as_its_datagrams),
		cmocka_unit_test(packets_are_written_on_every_rung),
		cmocka_unit_test(a_refused_superframe_lowers_the_device_and_a_refused_packet_does_not),
		cmocka_unit_test(a_device_that_is_down_tells_a_bad_header_from_a_good_one),
		cmocka_unit_test(a_flow_is_read_from_the_queue_it_was_written_to),
		cmocka_unit_test(a_device_has_as_many_queues_as_asked_for),
		cmocka_unit_test(tcp_goes_through_on_every_rung_and_fills_its_superframes),
		cmocka_unit_test(superframes_stay_below_the_limit_that_was_set),
		cmocka_unit_test(a_short_queue_holds_no_more_than_was_set),
	};
	return can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_SKIPPED;
}
