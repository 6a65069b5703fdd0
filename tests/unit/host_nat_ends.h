/* Both ends of a tunnel with the kernel's NAT at each, in the namespaces of nat_net.h, for tests. */
#ifndef P2PD_TESTS_HOST_NAT_ENDS_H
#define P2PD_TESTS_HOST_NAT_ENDS_H

#include "nat_net.h"

#include <net/if.h>

#include "tun/host_nat.h"

enum { EXIT_SKIPPED = 77 };

static inline struct host_nat *open_at(const char *ns)
{
	bool gw = strcmp(ns, "gw") == 0;
	char why[HOST_NAT_WHY] = "";
	struct host_nat *n;

	enter(ns);
	struct host_nat_config c = {
		.tun = "p2pd0",
		.ifindex = if_nametoindex("p2pd0"),
		.ip4 = at(gw ? GW_OVERLAY4 : OWN_OVERLAY4, 0),
		.ip6 = at(gw ? GW_OVERLAY6 : OWN_OVERLAY6, 0),
		.prefix4 = at("100.64.0.0", 0),
		.bits4 = 10,
		.prefix6 = at("fd00:77::", 0),
		.bits6 = 64,
	};
	if (host_nat_open(&n, &c, why))
		fail_msg("host_nat_open: %s", why);
	return n;
}

static inline struct forward_entry entry(uint8_t id, enum forward_side side, enum forward_proto proto,
					 const char *listen, unsigned port, const char *target,
					 unsigned target_port, unsigned count)
{
	struct forward_entry e = {
		.id = { 1, 2, 3, [15] = id },
		.side = side,
		.proto = proto,
		.listen = at(listen, port),
		.target = at(target, target_port),
		.count = (uint16_t)count,
		.max_conn = 2000,
		.idle_s = 90,
	};
	if (side == FORWARD_OWNER) {
		e.gateway4 = at(GW_OVERLAY4, 0);
		e.gateway6 = at(GW_OVERLAY6, 0);
	}
	return e;
}

static inline void apply(struct host_nat *n, const char *ns, const struct forward_entry *e, size_t count)
{
	char why[HOST_NAT_WHY] = "";

	enter(ns);
	int rc = host_nat_apply(n, e, count, why);
	if (rc)
		fail_msg("host_nat_apply at %s: %d %s", ns, rc, why);
}

static inline struct forward_stats stats(struct host_nat *n, const char *ns, uint8_t id, uint64_t now_ms)
{
	struct forward_stats s;

	enter(ns);
	assert_int_equal(host_nat_look(n, now_ms), 0);
	assert_true(host_nat_stats(n, (uint8_t[FORWARD_ID]) { 1, 2, 3, [15] = id }, &s));
	return s;
}

/* Both ends of the tunnel. */
struct ends {
	struct host_nat *gw, *own;
	struct forward_entry at_gw[8], at_own[8];
	size_t count;
};

static inline void add(struct ends *s, uint8_t id, enum forward_proto proto, bool v6, unsigned port,
		       const char *target, unsigned target_port, unsigned count)
{
	unsigned tunnel = 10000 + port;
	const char *public = v6 ? GW6 : GW4, *overlay = v6 ? OWN_OVERLAY6 : OWN_OVERLAY4;

	s->at_gw[s->count] = entry(id, FORWARD_GATEWAY, proto, public, port, overlay, tunnel, count);
	s->at_own[s->count++] = entry(id, FORWARD_OWNER, proto, overlay, tunnel, target, target_port, count);
}

static inline void make(struct ends *s)
{
	apply(s->gw, "gw", s->at_gw, s->count);
	apply(s->own, "own", s->at_own, s->count);
}

/* All that a host's network is set up with, but for what vanishes with a TUN device. */
static inline void footprint(const char *ns, char *out, size_t cap)
{
	sh_out(out, cap,
	       "ip netns exec %s sh -c 'nft -s list ruleset; iptables-save | grep -v ^#; ip rule; ip -6 "
	       "rule; "
	       "ip route show table all; cd /proc/sys/net; grep . ipv4/ip_forward ipv[46]/conf/*/*forwarding "
	       "ipv4/conf/*/rp_filter ipv6/conf/*/accept_ra; conntrack -L 2>/dev/null | grep mark=[1-9]' "
	       "2>/dev/null | "
	       "sed 's/\\[[0-9]*:[0-9]*\\]//; /fe80\\|ff00\\|p2pd0.rp_filter\\|expires/d'",
	       ns);
}

static inline void same(const char *before, const char *after)
{
	size_t i = 0;

	while (before[i] && before[i] == after[i])
		i++;
	if (before[i] || after[i])
		fail_msg("before: %.200s\nafter: %.200s", before + i, after + i);
}

static char before_gw[65536], before_own[65536];

static inline int open_both(void **state)
{
	struct ends *s = calloc(1, sizeof *s);

	footprint("gw", before_gw, sizeof before_gw);
	footprint("own", before_own, sizeof before_own);
	s->gw = open_at("gw");
	s->own = open_at("own");
	*state = s;
	return 0;
}

/* Nothing is left, whatever a test did. */
static inline int close_both(void **state)
{
	static char after[65536];
	struct ends *s = *state;

	enter("gw");
	host_nat_close(s->gw);
	footprint("gw", after, sizeof after);
	same(before_gw, after);
	enter("own");
	host_nat_close(s->own);
	footprint("own", after, sizeof after);
	same(before_own, after);
	free(s);
	return 0;
}

static inline void expect_tcp(const char *service, struct addr at_service, struct addr public,
			      const char *visitor)
{
	struct addr from;
	int client, server, listener = bound(service, SOCK_STREAM, at_service);

	assert_int_equal(visit("vis", public, &client), 0);
	server = taken(listener, &from);
	struct addr want = at(visitor, 0);
	assert_true(addr_same_ip(&from, &want));
	assert_true(says(client, server));
	assert_true(says(server, client));
	close(client);
	close(server);
	close(listener);
}

static inline void expect_udp(const char *service, struct addr at_service, struct addr public,
			      const char *visitor)
{
	struct sockaddr_storage to, ss;
	socklen_t len = sizeof ss;
	char word[8] = "";
	int server = bound(service, SOCK_DGRAM, at_service);
	int client = bound("vis", SOCK_DGRAM, at(visitor, 0));

	unsigned to_len = addr_to_sockaddr(&public, &to);
	assert_int_equal(connect(client, (struct sockaddr *)&to, to_len), 0);
	assert_int_equal(send(client, "ask", 3, 0), 3);
	assert_true(ready(server, POLLIN, NAT_NET_WAIT_MS));
	assert_int_equal(recvfrom(server, word, sizeof word, 0, (struct sockaddr *)&ss, &len), 3);
	struct addr from = addr_from_sockaddr((struct sockaddr *)&ss), want = at(visitor, 0);
	assert_true(addr_same_ip(&from, &want));
	assert_int_equal(sendto(server, "answer", 6, 0, (struct sockaddr *)&ss, len), 6);
	assert_true(ready(client, POLLIN, NAT_NET_WAIT_MS));
	assert_int_equal(recv(client, word, sizeof word, 0), 6);
	close(client);
	close(server);
}

static inline int visit_code(struct addr to)
{
	int fd, rc = visit_wait("vis", to, NAT_NET_WAIT_MS, &fd);

	if (rc == 0)
		close(fd);
	return rc;
}

struct living {
	int client, server;
};

static inline uint16_t port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return addr_from_sockaddr((struct sockaddr *)&ss).port;
}

/* Others may have come before, and gone. */
static inline struct living open_living(int listener, struct addr public)
{
	struct living l;
	struct addr from;

	assert_int_equal(visit("vis", public, &l.client), 0);
	for (;;) {
		l.server = taken(listener, &from);
		if (from.port == port_of(l.client))
			return l;
		close(l.server);
	}
}

static inline void close_living(const struct living *l)
{
	close(l->client);
	close(l->server);
}

static inline struct forward_prefix prefix(const char *ip, unsigned bits)
{
	return (struct forward_prefix) { at(ip, 0), (uint8_t)bits };
}

#define WITH_BOTH(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

static inline int run_or_skip(const struct CMUnitTest *tests, size_t count, const char *name)
{
	if (!nat_net_make()) {
		print_message("no right to make network namespaces: skipped\n");
		return EXIT_SKIPPED;
	}
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

#endif
