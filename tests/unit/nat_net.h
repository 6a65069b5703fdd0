/* A small internet for the tests of the kernel's NAT, in network namespaces: a visitor `vis`, the gateway `gw`, the owner
 * `own` and a host `lan` whose router the owner is. The tunnel is a cable between gw and own whose ends are named p2pd0. All
 * of it vanishes with the test. */
#ifndef P2PD_TESTS_NAT_NET_H
#define P2PD_TESTS_NAT_NET_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/addr.h"

enum { NAT_NET_WAIT_MS = 10000, NAT_NET_SHORT_MS = 300 };

#define VIS4	     "203.0.113.9"
#define VIS6	     "2001:db8:1::9"
#define GW4	     "203.0.113.1"
#define GW6	     "2001:db8:1::1"
#define GW_OVERLAY4  "100.64.0.1"
#define GW_OVERLAY6  "fd00:77::1"
#define OWN_OVERLAY4 "100.64.0.2"
#define OWN_OVERLAY6 "fd00:77::2"
#define OWN4	     "192.168.1.5"
#define OWN6	     "fd01:1::5"
#define LAN4	     "192.168.50.10"
#define LAN6	     "fd01:50::10"

static const char *const nat_net_names[] = { "vis", "gw", "own", "lan", "isp" };

__attribute__((format(printf, 1, 2))) static inline void sh(const char *fmt, ...)
{
	char text[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (system(text) != 0)
		fail_msg("failed: %s", text);
}

/* Its output, without the last line feed. */
__attribute__((format(printf, 3, 4))) static inline const char *sh_out(char *out, size_t cap, const char *fmt,
								       ...)
{
	char text[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	FILE *f = popen(text, "r");
	size_t n = fread(out, 1, cap - 1, f);
	pclose(f);
	out[n] = 0;
	if (n && out[n - 1] == '\n')
		out[n - 1] = 0;
	return out;
}

/* This thread, and what it starts, lives in that namespace from now on. */
static inline void enter(const char *name)
{
	char path[64];

	snprintf(path, sizeof path, "/run/netns/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
	close(fd);
}

static inline void nat_net_cable(const char *a, const char *a_if, const char *b, const char *b_if)
{
	sh("ip link add %s netns %s type veth peer name %s netns %s", a_if, a, b_if, b);
}

static inline void nat_net_addr(const char *ns, const char *dev, const char *v4, const char *v6)
{
	sh("ip -n %s addr add %s dev %s && ip -n %s addr add %s dev %s nodad && ip -n %s link set %s up", ns,
	   v4, dev, ns, v6, dev, ns, dev);
}

/* Like a TUN device it has no link layer to speak of: both ends have one address, and nobody asks for any. */
static inline void nat_net_tunnel(const char *ns, const char *v4, const char *v6)
{
	sh("ip -n %s link set p2pd0 address 02:00:00:00:00:01 mtu 1380 arp off", ns);
	nat_net_addr(ns, "p2pd0", v4, v6);
}

/* False without the right to. */
static inline bool nat_net_make(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) != 0)
		return false;
	sh("mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/netns");
	for (size_t i = 0; i < sizeof nat_net_names / sizeof *nat_net_names; i++)
		sh("ip netns add %s && ip -n %s link set lo up && ip netns exec %s sysctl -qw "
		   "net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
		   nat_net_names[i], nat_net_names[i], nat_net_names[i]);
	nat_net_cable("vis", "eth0", "gw", "eth0");
	nat_net_cable("gw", "p2pd0", "own", "p2pd0");
	nat_net_cable("own", "eth1", "lan", "eth0");
	nat_net_addr("vis", "eth0", VIS4 "/24", VIS6 "/64");
	nat_net_addr("gw", "eth0", GW4 "/24", GW6 "/64");
	nat_net_tunnel("gw", GW_OVERLAY4 "/10", GW_OVERLAY6 "/64");
	nat_net_tunnel("own", OWN_OVERLAY4 "/10", OWN_OVERLAY6 "/64");
	/* The owner's way to the internet, where nobody passes anything on. */
	nat_net_cable("own", "eth0", "isp", "eth0");
	nat_net_addr("isp", "eth0", "192.168.1.1/24", "fd01:1::1/64");
	nat_net_addr("own", "eth0", OWN4 "/24", OWN6 "/64");
	sh("ip -n own route add default via 192.168.1.1 && ip -n own route add default via fd01:1::1");
	nat_net_addr("own", "eth1", "192.168.50.1/24", "fd01:50::1/64");
	nat_net_addr("lan", "eth0", LAN4 "/24", LAN6 "/64");
	sh("ip -n lan route add default via 192.168.50.1 && ip -n lan route add default via fd01:50::1");
	sh("ip netns exec own sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	/* As strict as a host may be. */
	sh("for n in gw own; do ip netns exec $n sysctl -qw net.ipv4.conf.all.rp_filter=1; done");
	return true;
}

/* --- Sockets */

static inline struct addr at(const char *ip, unsigned port)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, ip, 0), 0);
	a.port = (uint16_t)port;
	return a;
}

static inline int bound(const char *ns, int type, struct addr a)
{
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&a, &ss);
	int yes = 1;

	enter(ns);
	int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

static inline bool ready(int fd, short events, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	return poll(&p, 1, wait_ms) == 1;
}

/* 0 and *fd, or the negative errno of the connection: -ECONNREFUSED, -ETIMEDOUT. */
static inline int visit_wait(const char *ns, struct addr to, int wait_ms, int *fd)
{
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&to, &ss);
	int error = 0;
	socklen_t size = sizeof error;

	enter(ns);
	*fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(*fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		error = errno;
	else if (!ready(*fd, POLLOUT, wait_ms))
		error = ETIMEDOUT;
	else
		getsockopt(*fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error)
		close(*fd);
	return -error;
}

static inline int visit(const char *ns, struct addr to, int *fd)
{
	return visit_wait(ns, to, NAT_NET_WAIT_MS, fd);
}

/* The service takes a connection: its descriptor, and who it says comes. */
static inline int taken(int listener, struct addr *from)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	assert_true(ready(listener, POLLIN, NAT_NET_WAIT_MS));
	int fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	*from = addr_from_sockaddr((struct sockaddr *)&ss);
	return fd;
}

static inline bool says_within(int from, int to, int wait_ms)
{
	char word[8] = "";

	if (send(from, "hello", 5, MSG_NOSIGNAL) != 5)
		return false;
	return ready(to, POLLIN, wait_ms) && recv(to, word, sizeof word, 0) == 5 &&
	       strcmp(word, "hello") == 0;
}

static inline bool says(int from, int to)
{
	return says_within(from, to, NAT_NET_WAIT_MS);
}

/* Whether the other end was reset. */
static inline bool was_reset(int fd)
{
	char word[8];
	return ready(fd, POLLIN, NAT_NET_WAIT_MS) && recv(fd, word, sizeof word, 0) < 0 &&
	       errno == ECONNRESET;
}

#endif
