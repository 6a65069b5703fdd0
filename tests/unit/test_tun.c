/* Device, addresses and routes against the real kernel, in a network namespace of the test's own. */
#include <errno.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/addr.h"
#include "tun/device.h"
#include "tun/netif.h"
#include "tun/route.h"

enum { EXIT_SKIPPED = 77 };

static struct addr ip(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static void open_with_addr(struct tun_device *d, const char *name, const char *text, unsigned bits)
{
	struct addr a = ip(text);

	assert_int_equal(tun_open(d, name, 1, TUN_PLAIN), 0);
	assert_int_equal(netif_up(d->ifindex, 1380), 0);
	assert_int_equal(netif_add_addr(d->ifindex, &a, bits), 0);
}

static bool listed(const char *text, unsigned bits, unsigned ifindex, unsigned skip)
{
	struct netif_addr list[32];
	struct addr want = ip(text);
	int n = netif_list(list, 32, skip);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		if (addr_equal(&list[i].addr, &want) && list[i].bits == bits && list[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static int find_clash(const char *text, unsigned bits, unsigned own, struct route_clash *clash)
{
	struct addr prefix = ip(text);
	return route_find_clash(&prefix, bits, own, clash);
}

static void the_first_free_name_is_found(void **state)
{
	struct tun_device a, b;
	(void)state;

	assert_int_equal(tun_open(&a, NULL, 1, TUN_PLAIN), 0);
	assert_int_equal(tun_open(&b, "", 1, TUN_PLAIN), 0);
	assert_string_equal(a.name, "p2pd0");
	assert_string_equal(b.name, "p2pd1");
	assert_int_equal(a.ifindex, if_nametoindex("p2pd0"));
	tun_close(&a);
	tun_close(&b);
	assert_int_equal(if_nametoindex("p2pd0"), 0);
}

static void a_bad_name_is_refused(void **state)
{
	static const struct {
		const char *name;
		int rc;
	} cases[] = {
		{ "lo", -EBUSY },
		{ "taken", -EBUSY },
		{ "sixteen-is-a-lot", -ENAMETOOLONG },
		{ "a/b", -EINVAL },
	};
	struct tun_device taken, d;
	(void)state;

	assert_int_equal(tun_open(&taken, "taken", 1, TUN_PLAIN), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(tun_open(&d, cases[i].name, 1, TUN_PLAIN), cases[i].rc);
		assert_int_equal(d.queue_count, 0);
	}
	tun_close(&taken);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	syscall(SYS_capset, &head, none);
}

static void become_nobody(void)
{
	if (setuid(65534) != 0)
		_exit(1);
}

/* The device node may be open to all or to root alone: two places where the kernel says no, one answer. */
static void without_rights_it_says_eperm(void **state)
{
	static void (*const give_up[])(void) = { drop_capabilities, become_nobody };
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		struct tun_device d;
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			give_up[i]();
			_exit(-tun_open(&d, "nope", 1, TUN_PLAIN));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), EPERM);
	}
}

static void addresses_are_added_and_listed(void **state)
{
	struct addr ll = ip("fe80::7"), v6 = ip("fd00:77::1");
	struct netif_addr one;
	struct tun_device d;
	(void)state;

	open_with_addr(&d, "t0", "10.77.0.1", 16);
	assert_int_equal(netif_add_addr(d.ifindex, &v6, 64), 0);
	assert_int_equal(netif_add_addr(d.ifindex, &v6, 64), -EEXIST);
	assert_int_equal(netif_add_addr(d.ifindex, &ll, 64), 0);
	assert_true(listed("10.77.0.1", 16, d.ifindex, 0));
	assert_true(listed("fd00:77::1", 64, d.ifindex, 0));
	assert_true(listed("fe80::7%t0", 64, d.ifindex, 0));
	assert_false(listed("10.77.0.1", 16, d.ifindex, d.ifindex));
	assert_int_equal(netif_list(&one, 1, 0), 1);
	tun_close(&d);
	assert_false(listed("10.77.0.1", 16, d.ifindex, 0));
}

static void an_interface_that_is_down_is_not_listed(void **state)
{
	struct addr a = ip("10.77.0.1");
	struct tun_device d;
	(void)state;

	assert_int_equal(tun_open(&d, "t0", 1, TUN_PLAIN), 0);
	assert_int_equal(netif_add_addr(d.ifindex, &a, 16), 0);
	assert_false(listed("10.77.0.1", 16, d.ifindex, 0));
	assert_int_equal(netif_up(d.ifindex, 1380), 0);
	assert_true(listed("10.77.0.1", 16, d.ifindex, 0));
	tun_close(&d);
}

static void the_device_is_silent_and_has_only_what_it_is_given(void **state)
{
	struct netif_addr list[8];
	struct tun_device d;
	uint8_t vnet[TUN_VNET], packet[2048];
	(void)state;

	assert_int_equal(tun_open(&d, "t0", 1, TUN_PLAIN), 0);
	assert_int_equal(netif_up(d.ifindex, 1380), 0);
	int n = netif_list(list, 8, 0);
	for (int i = 0; i < n; i++)
		assert_int_not_equal(list[i].ifindex, d.ifindex);
	assert_int_equal(tun_read(&d, 0, vnet, packet, sizeof packet), -EAGAIN);
	tun_close(&d);
}

static void what_is_no_interface_is_enodev(void **state)
{
	struct addr a = ip("10.77.0.1");
	(void)state;

	assert_int_equal(netif_up(4711, 1380), -ENODEV);
	assert_int_equal(netif_add_addr(4711, &a, 16), -ENODEV);
	assert_int_equal(route_add(4711, &a, 32), -ENODEV);
}

static void a_route_is_added_and_deleted(void **state)
{
	static const struct {
		const char *prefix;
		unsigned bits;
	} cases[] = { { "10.88.0.0", 16 }, { "192.0.2.9", 32 }, { "fd00:88::", 48 } };
	struct route_clash clash;
	struct tun_device d;
	(void)state;

	open_with_addr(&d, "t0", "10.77.0.1", 16);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr prefix = ip(cases[i].prefix);
		assert_int_equal(find_clash(cases[i].prefix, cases[i].bits, 0, &clash), 0);
		assert_int_equal(route_add(d.ifindex, &prefix, cases[i].bits), 0);
		assert_int_equal(find_clash(cases[i].prefix, cases[i].bits, 0, &clash), 1);
		assert_string_equal(clash.ifname, "t0");
		assert_int_equal(route_del(d.ifindex, &prefix, cases[i].bits), 0);
		assert_int_equal(find_clash(cases[i].prefix, cases[i].bits, 0, &clash), 0);
		assert_true(route_del(d.ifindex, &prefix, cases[i].bits) < 0);
	}
	tun_close(&d);
}

static void the_kernels_own_route_counts_as_ours(void **state)
{
	struct addr v4 = ip("10.77.0.0"), v6 = ip("fd00:77::"), v6_host = ip("fd00:77::1");
	struct tun_device ours, other;
	(void)state;

	open_with_addr(&ours, "t0", "10.77.0.1", 16);
	assert_int_equal(netif_add_addr(ours.ifindex, &v6_host, 64), 0);
	assert_int_equal(route_add(ours.ifindex, &v4, 16), 0);
	assert_int_equal(route_add(ours.ifindex, &v6, 64), 0);
	assert_int_equal(tun_open(&other, "t1", 1, TUN_PLAIN), 0);
	assert_int_equal(netif_up(other.ifindex, 1380), 0);
	assert_int_equal(route_add(other.ifindex, &v4, 16), -EEXIST);
	tun_close(&other);
	tun_close(&ours);
}

static void routes_inside_the_prefix_clash_and_wider_ones_do_not(void **state)
{
	static const struct {
		const char *prefix;
		unsigned bits;
		int found;
		const char *clash;
		unsigned clash_bits;
	} cases[] = {
		{ "10.77.0.0", 16, 1, "10.77.0.0", 16 }, /* the same */
		{ "10.0.0.0", 8, 1, "10.77.0.0", 16 },	 /* inside ours */
		{ "10.77.3.0", 24, 0 },			 /* wider than ours: the longer prefix wins anyway */
		{ "10.76.0.0", 16, 0 },			 /* beside it */
		{ "127.0.0.0", 8, 0 },			 /* the loopback's own */
		{ "fd00:77::", 48, 1, "fd00:77::", 64 },
		{ "fd00:78::", 48, 0 },
	};
	struct addr v6 = ip("fd00:77::1"), any = ip("0.0.0.0");
	struct route_clash clash;
	struct tun_device d;
	(void)state;

	open_with_addr(&d, "office", "10.77.0.1", 16);
	assert_int_equal(netif_add_addr(d.ifindex, &v6, 64), 0);
	assert_int_equal(route_add(d.ifindex, &any, 0), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(find_clash(cases[i].prefix, cases[i].bits, 0, &clash), cases[i].found);
		assert_int_equal(find_clash(cases[i].prefix, cases[i].bits, d.ifindex, &clash), 0);
		if (!cases[i].found)
			continue;
		assert_int_equal(find_clash(cases[i].prefix, cases[i].bits, 0, &clash), 1);
		struct addr want = ip(cases[i].clash);
		assert_true(addr_equal(&clash.prefix, &want));
		assert_int_equal(clash.bits, cases[i].clash_bits);
		assert_string_equal(clash.ifname, "office");
	}
	tun_close(&d);
}

/* The first IPv4 packet from the device: the kernel's IPv6 discovery packets come by themselves. */
static ssize_t read_ip4(struct tun_device *d, uint8_t *buf, size_t cap)
{
	uint8_t vnet[TUN_VNET];
	ssize_t n;
	do
		n = tun_read(d, 0, vnet, buf, cap);
	while (n > 0 && buf[0] >> 4 != 4);
	return n;
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t tmp[4];
	memcpy(tmp, a, len);
	memcpy(a, b, len);
	memcpy(b, tmp, len);
}

static int udp_socket(struct sockaddr_in *to)
{
	struct sockaddr_storage local;
	struct addr here = ip("10.77.0.1");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	here.port = 5001;
	assert_int_equal(bind(fd, (struct sockaddr *)&local, addr_to_sockaddr(&here, &local)), 0);
	*to = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons(5002) };
	to->sin_addr.s_addr = htonl(0x0a4d0002);
	return fd;
}

static void packets_go_out_and_come_in(void **state)
{
	struct tun_device d;
	struct sockaddr_in to;
	uint8_t packet[2048];
	char reply[16];
	(void)state;

	open_with_addr(&d, "t0", "10.77.0.1", 16);
	int fd = udp_socket(&to);
	struct pollfd readable = { fd, POLLIN, 0 };
	assert_int_equal(sendto(fd, "ping", 4, 0, (struct sockaddr *)&to, sizeof to), 4);
	ssize_t n = read_ip4(&d, packet, sizeof packet);
	assert_int_equal(n, 20 + 8 + 4);
	assert_memory_equal(packet + 28, "ping", 4);

	/* Source and destination changed over, addresses and ports: the checksums stay right. */
	swap_bytes(packet + 12, packet + 16, 4);
	swap_bytes(packet + 20, packet + 22, 2);
	assert_int_equal(tun_write_packet(&d, 0, packet, (size_t)n), 0);
	assert_int_equal(poll(&readable, 1, 10000), 1); /* the kernel hands it on when it likes */
	assert_int_equal(recv(fd, reply, sizeof reply, 0), 4);
	assert_memory_equal(reply, "ping", 4);
	assert_int_equal(read_ip4(&d, packet, sizeof packet), -EAGAIN);
	assert_int_equal(tun_write_packet(&d, 0, "rubbish", 7), -EINVAL);
	close(fd);
	tun_close(&d);
}

static void a_change_makes_the_watch_readable_once(void **state)
{
	struct tun_device d;
	char byte;
	int fd = netif_watch_open();
	(void)state;

	assert_true(fd >= 0);
	assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), -1);
	open_with_addr(&d, "t0", "10.77.0.1", 16);
	assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), 1);
	netif_watch_drain(fd);
	assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), -1);
	tun_close(&d);
	close(fd);
}

static void nothing_is_left_when_the_process_is_killed(void **state)
{
	struct addr route = ip("10.88.0.0");
	struct route_clash clash;
	struct tun_device d;
	int status, ready[2];
	char byte;
	(void)state;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		open_with_addr(&d, "t0", "10.77.0.1", 16);
		if (route_add(d.ifindex, &route, 16) != 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	/* A child that fails must end the wait, too. */
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(find_clash("10.88.0.0", 16, 0, &clash), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(if_nametoindex("t0"), 0);
	assert_int_equal(find_clash("10.88.0.0", 16, 0, &clash), 0);
	assert_int_equal(find_clash("10.77.0.0", 16, 0, &clash), 0);
	close(ready[0]);
}

static bool can_run(void)
{
	struct tun_device d;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		fprintf(stderr, "SKIPPED: test_tun needs root (a network namespace of its own)\n");
		return false;
	}
	if (tun_open(&d, NULL, 1, TUN_PLAIN) == -ENODEV) {
		fprintf(stderr, "SKIPPED: test_tun needs /dev/net/tun\n");
		return false;
	}
	tun_close(&d);
	return netif_up(if_nametoindex("lo"), 65536) == 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_free_name_is_found),
		cmocka_unit_test(a_bad_name_is_refused),
		cmocka_unit_test(without_rights_it_says_eperm),
		cmocka_unit_test(addresses_are_added_and_listed),
		cmocka_unit_test(an_interface_that_is_down_is_not_listed),
		cmocka_unit_test(the_device_is_silent_and_has_only_what_it_is_given),
		cmocka_unit_test(what_is_no_interface_is_enodev),
		cmocka_unit_test(a_route_is_added_and_deleted),
		cmocka_unit_test(the_kernels_own_route_counts_as_ours),
		cmocka_unit_test(routes_inside_the_prefix_clash_and_wider_ones_do_not),
		cmocka_unit_test(packets_go_out_and_come_in),
		cmocka_unit_test(a_change_makes_the_watch_readable_once),
		cmocka_unit_test(nothing_is_left_when_the_process_is_killed),
	};
	return can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_SKIPPED;
}
