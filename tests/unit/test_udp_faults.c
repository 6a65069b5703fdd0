/* What the network and the kernel do to what is sent. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "udp_end.h"

/* --- A kernel that fails as the test says. */

static struct {
	int error;	  /* 0: none */
	bool trains_only; /* single datagrams pass */
	unsigned left;	  /* so often */
	unsigned calls;
} fault;

/* In place of the C library's, which asks the kernel. */
int sendmmsg(int fd, struct mmsghdr *m, unsigned count, int flags)
{
	unsigned pass = 0;

	fault.calls++;
	if (!fault.error || !fault.left)
		return (int)syscall(SYS_sendmmsg, fd, m, count, flags);
	while (pass < count && fault.trains_only && m[pass].msg_hdr.msg_controllen == 0)
		pass++;
	if (pass)
		return (int)syscall(SYS_sendmmsg, fd, m, pass, flags);
	fault.left--;
	errno = fault.error;
	return -1;
}

static void set_fault(int error, bool trains_only, unsigned times)
{
	fault.error = error;
	fault.trains_only = trains_only;
	fault.left = times;
	fault.calls = 0;
}

/* A train of three, one of one, and again one of three; each error may come to the first and the third only. */
static void each_error_has_its_remedy(void **state)
{
	(void)state;
	static const struct {
		int error;
		bool trains_only;
		unsigned times;
		unsigned done; /* trains */
		size_t arrive, lost, full;
		bool gso_after;
		unsigned narrow_after;
	} cases[] = {
		{ EIO, true, 99, 3, 7, 0, 0, false, 0 },
		{ EINVAL, true, 99, 3, 7, 0, 0, true, 1 },
		{ EMSGSIZE, true, 99, 3, 7, 0, 0, true, 1 },
		{ ENOBUFS, true, 1, 3, 4, 3, 0, true, 0 },
		{ EPERM, true, 99, 3, 1, 6, 0, true, 0 },
		{ EPERM, false, 99, 3, 0, 7, 0, true, 0 },
		{ EAGAIN, false, 1, 0, 0, 0, 1, true, 0 },
		{ EAGAIN, true, 99, 0, 0, 0, 1, true, 0 },
		{ ECONNREFUSED, false, 2, 3, 7, 0, 0, true, 0 },
		{ EHOSTUNREACH, true, 2, 3, 7, 0, 0, true, 0 },
		{ ENETUNREACH, false, 3, 3, 4, 3, 0, true, 0 },
		{ EINTR, false, 1, 3, 7, 0, 0, true, 0 },
		{ EIO, false, 99, 3, 0, 7, 0, false, 0 },
		{ EMSGSIZE, false, 99, 3, 0, 7, 0, true, 1 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pair p = pair_begin(4, UDP_OFFLOAD_GSO, UDP_OFFLOAD_NONE);
		struct udp_train t[] = { train(2500, 1000), train(500, 500), train(3000, 1000) };
		a.sock.gso = true;
		set_fault(cases[i].error, cases[i].trains_only, cases[i].times);
		assert_int_equal(udp_send_trains(&a.sock, t, 3), cases[i].done);
		set_fault(0, false, 0);
		if (cases[i].arrive)
			end_await(&b, cases[i].arrive);
		assert_int_equal(a.sock.stats.tx, cases[i].arrive);
		assert_int_equal(a.sock.stats.tx_errors, cases[i].lost);
		assert_int_equal(a.sock.stats.tx_full, cases[i].full);
		assert_int_equal(a.sock.gso, cases[i].gso_after);
		assert_int_equal(a.sock.narrow_count, cases[i].narrow_after);
		pair_end(&p);
	}
}

/* After the first failure no further system call is spent on trying again, until there are too many such destinations:
 * then the one that was found first is tried again. */
static void narrow_destinations_are_remembered_and_bounded(void **state)
{
	(void)state;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GSO, UDP_OFFLOAD_NONE);
	struct addr to = b.sock.local;

	a.sock.gso = true;
	for (int round = 0; round < 2; round++)
		for (uint8_t i = 0; i < UDP_NARROW + 1; i++) {
			struct udp_train t = train(30, 10);
			to.ip[3] = (uint8_t)(1 + i);
			t.addr = to;
			set_fault(EMSGSIZE, true, 1);
			assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
			assert_int_equal(fault.calls, 2);
			set_fault(EMSGSIZE, true, 1);
			t = train(30, 10);
			t.addr = to;
			assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
			assert_int_equal(fault.calls, 1);
			/* What is smaller may pass. */
			set_fault(EPERM, true, 1);
			t = train(27, 9);
			t.addr = to;
			assert_int_equal(udp_send_trains(&a.sock, &t, 1), 1);
			assert_int_equal(fault.left, 0);
			assert_true(a.sock.narrow_count <= UDP_NARROW);
		}
	set_fault(0, false, 0);
	pair_end(&p);
}

/* --- The kernel as it is. */

/* The kernel says EINVAL to a train of a socket that makes no checksums. */
static void what_takes_no_trains_is_sent_one_by_one(void **state)
{
	(void)state;
	int on = 1;
	struct pair p = pair_begin(4, UDP_OFFLOAD_GSO, UDP_OFFLOAD_NONE);

	if (!a.sock.gso) {
		print_message("this kernel has no UDP GSO\n");
		pair_end(&p);
		skip();
	}
	assert_int_equal(setsockopt(a.sock.fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
	struct udp_train t[] = { train(3000, 1000), train(500, 500), train(2500, 1000) };
	assert_int_equal(udp_send_trains(&a.sock, t, 3), 3);
	end_await(&b, 7);
	assert_int_equal(a.sock.stats.tx_errors, 0);
	assert_int_equal(a.sock.stats.tx_trains, 7);
	assert_int_equal(a.sock.narrow_count, 1);
	pair_end(&p);
}

static bool set_interface(const char *name, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(ifr->ifr_name, name);
	bool ok = ioctl(fd, request, ifr) == 0;
	close(fd);
	return ok;
}

static bool own_network(void)
{
	bool ok = unshare(CLONE_NEWNET) == 0;

	if (!ok)
		print_message("a network of our own needs root\n");
	return ok;
}

/* In a network of our own, whose loopback takes IP packets of so many bytes. False without the right to make one. */
static bool narrow_loopback(int mtu)
{
	return own_network() && set_interface("lo", SIOCSIFMTU, &(struct ifreq) { .ifr_mtu = mtu }) &&
	       set_interface("lo", SIOCSIFFLAGS, &(struct ifreq) { .ifr_flags = IFF_UP });
}

static void send_long(bool dont_fragment, int outcome)
{
	static struct pkt p;

	p = (struct pkt) {
		.addr = b.sock.local, .dont_fragment = dont_fragment, .off = PKT_HEADROOM, .len = 1400
	};
	assert_int_equal(udp_send(&a.sock, &p), outcome);
}

static void datagrams_are_split_unless_they_ask_not_to_be(void **state)
{
	(void)state;
	if (!narrow_loopback(1300))
		skip();
	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		send_long(true, -EMSGSIZE);
		send_long(false, 0);
		send_long(true, -EMSGSIZE);
		assert_int_equal(udp_send_bytes(&a.sock, "short", 5, &b.sock.local), 0);
		end_await(&b, 2);
		assert_int_equal(b.got[0].len, 1400);
		assert_int_equal(a.sock.stats.tx_errors, 2);
		pair_end(&p);
	}
}

static void a_train_too_wide_for_its_route_is_sent_one_by_one(void **state)
{
	(void)state;
	if (!narrow_loopback(1300))
		skip();
	for (int family = 4; family <= 6; family += 2) {
		struct pair p = pair_begin(family, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
		struct udp_train t[] = { train(5000, 1000), train(3 * 1400 + 5, 1400), train(5000, 1000) };
		assert_int_equal(udp_send_trains(&a.sock, t, 3), 3);
		end_await(&b, 14);
		assert_memory_equal(b.bytes + 5000, buf, 3 * 1400 + 5);
		assert_int_equal(a.sock.stats.tx_errors, 0);
		assert_int_equal(a.sock.narrow_count, a.sock.gso);
		/* Remembered for what is too wide, and for nothing else. */
		uint64_t before = a.sock.stats.tx_trains;
		t[0] = train(2 * 1401, 1401);
		t[1] = train(2 * 1399, 1000);
		assert_int_equal(udp_send_trains(&a.sock, t, 2), 2);
		end_await(&b, 19);
		assert_int_equal(a.sock.stats.tx_trains - before, a.sock.gso ? 3 : 5);
		/* What must not be split is lost. */
		t[0] = train(3 * 1300, 1300);
		t[0].dont_fragment = true;
		t[1] = train(3 * 1200, 1200);
		t[1].dont_fragment = true;
		assert_int_equal(udp_send_trains(&a.sock, t, 2), 2);
		end_await(&b, 22);
		assert_int_equal(a.sock.stats.tx_errors, 3);
		pair_end(&p);
	}
}

/* A link of a network of our own, whose far end nobody is at: what is sent to there waits in the kernel until its
 * hardware address is known. */
static int open_link(struct addr *near, struct addr *far)
{
	struct ifreq ifr = { .ifr_name = "link", .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct sockaddr_storage sa;
	int fd = own_network() ? open("/dev/net/tun", O_RDWR | O_NONBLOCK) : -1;

	if (fd < 0)
		return -1;
	assert_int_equal(addr_parse(near, "10.9.9.1", 0), 0);
	assert_int_equal(addr_parse(far, "10.9.9.2", 9), 0);
	addr_to_sockaddr(near, &sa);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	memcpy(&ifr.ifr_addr, &sa, sizeof ifr.ifr_addr);
	assert_true(set_interface("link", SIOCSIFADDR, &ifr));
	assert_true(set_interface("link", SIOCSIFFLAGS, &(struct ifreq) { .ifr_flags = IFF_UP }));
	return fd;
}

static void tell_hardware_address(const struct addr *far)
{
	struct arpreq arp = { .arp_flags = ATF_COM,
			      .arp_ha = { ARPHRD_ETHER, "\x02\1\2\3\4\5" },
			      .arp_dev = "link" };
	struct sockaddr_storage sa;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	addr_to_sockaddr(far, &sa);
	((struct sockaddr_in *)&sa)->sin_port = 0;
	memcpy(&arp.arp_pa, &sa, sizeof arp.arp_pa);
	assert_int_equal(ioctl(fd, SIOCSARP, &arp), 0);
	close(fd);
}

/* The payload of the next UDP datagram on the link. */
static size_t next_payload(int link, uint8_t *out)
{
	enum { HEADERS = 14 + 20 + 8 };
	uint8_t frame[2048];
	ssize_t n;

	do
		n = read(link, frame, sizeof frame);
	while (n > 0 && (n < HEADERS || frame[12] != 8 || frame[13] != 0 || frame[23] != IPPROTO_UDP));
	assert_true(n > 0);
	memcpy(out, frame + HEADERS, (size_t)n - HEADERS);
	return (size_t)n - HEADERS;
}

/* What is left then is the caller's, to the datagram, and goes on once the kernel got rid of what it had. */
static void a_full_buffer_stops_between_datagrams(void **state)
{
	(void)state;
	enum { TRAINS = 8, EACH = 4, LEN = 1000 };
	static uint8_t got[2048];
	int least = 1; /* the kernel rounds it up to its own minimum */

	for (int rung = UDP_OFFLOAD_NONE; rung <= UDP_OFFLOAD_GSO; rung++) {
		struct udp_train t[TRAINS];
		struct addr near, far;
		int link = open_link(&near, &far);
		if (link < 0)
			skip();
		struct pair p = { loop_create(), udp_slab_create() };
		end_prepare(&a, p.loop, p.slab);
		assert_int_equal(
			udp_open(&a.sock, p.loop, p.slab, (enum udp_offload)rung, &near, &end_handler, &a),
			0);
		assert_int_equal(setsockopt(a.sock.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
		for (unsigned i = 0; i < TRAINS; i++)
			t[i] = (struct udp_train) {
				.data = buf + i * EACH * LEN, .len = EACH * LEN, .stride = LEN, .addr = far
			};
		unsigned n = udp_send_trains(&a.sock, t, TRAINS);
		assert_true(n < TRAINS);
		assert_int_equal(a.sock.stats.tx_full, 1);
		assert_in_range(a.sock.stats.tx, n * EACH, n * EACH + EACH - 1);
		assert_ptr_equal(t[n].data, buf + a.sock.stats.tx * LEN);
		assert_ptr_equal(t[n].data + t[n].len, buf + (n + 1) * EACH * LEN);
		tell_hardware_address(&far);
		a.stop_on_writable = true;
		while (n < TRAINS) {
			assert_int_equal(udp_want_writable(&a.sock), 0);
			end_run(p.loop);
			n += udp_send_trains(&a.sock, t + n, TRAINS - n);
		}
		assert_int_equal(a.sock.stats.tx, TRAINS * EACH);
		assert_int_equal(a.sock.stats.tx_errors, 0);
		for (size_t i = 0; i < TRAINS * EACH; i++) {
			assert_int_equal(next_payload(link, got), LEN);
			assert_memory_equal(got, buf + i * LEN, LEN);
		}
		close(link);
		pair_end(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_error_has_its_remedy),
		cmocka_unit_test(narrow_destinations_are_remembered_and_bounded),
		cmocka_unit_test(what_takes_no_trains_is_sent_one_by_one),
		/* Last: they stay in the networks that they make. */
		cmocka_unit_test(datagrams_are_split_unless_they_ask_not_to_be),
		cmocka_unit_test(a_train_too_wide_for_its_route_is_sent_one_by_one),
		cmocka_unit_test(a_full_buffer_stops_between_datagrams),
	};
	end_fill(buf, sizeof buf);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
