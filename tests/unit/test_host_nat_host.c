/* The kernel's NAT on a host that has firewalls of its own, and when its daemon dies. */
#include "host_nat_ends.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- Firewalls of others */

/* What Docker makes at start and for a container with a published port. */
#define DOCKER                                                                                               \
	"iptables -P FORWARD DROP && ip6tables -P FORWARD DROP && for c in DOCKER DOCKER-USER "              \
	"DOCKER-ISOLATION-STAGE-1 "                                                                          \
	"DOCKER-ISOLATION-STAGE-2; do iptables -N $c && ip6tables -N $c; done && iptables -t nat -N DOCKER " \
	"&& "                                                                                                \
	"iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER && "                           \
	"iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE && "                     \
	"iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80 " \
	"&& "                                                                                                \
	"iptables -A FORWARD -j DOCKER-USER && iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1 && "          \
	"iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && "            \
	"iptables -A FORWARD -o docker0 -j DOCKER && iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT " \
	"&& "                                                                                                \
	"iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT && "        \
	"iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2 && "       \
	"iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP"

static const struct firewall {
	const char *name, *up, *down;
} firewalls[] = {
	{ "ufw",
	  "ufw --force reset >/dev/null && ufw allow 22/tcp >/dev/null && ufw --force enable >/dev/null",
	  "ufw --force disable >/dev/null" },
	{ "docker", DOCKER, "true" },
	{ "iptables with a last word",
	  "for t in iptables ip6tables; do for c in INPUT FORWARD; do $t -A $c -p icmp -j ACCEPT && $t -A $c "
	  "-j REJECT; "
	  "done; done",
	  "true" },
	{ "nft",
	  "nft 'table inet fw { chain in { type filter hook input priority 0; policy drop; ct state "
	  "established "
	  "accept; }; chain over { type filter hook forward priority 10; policy accept; tcp dport 22 accept; "
	  "counter "
	  "reject with icmpx admin-prohibited; }; }'",
	  "true" },
};

/* ufw keeps its settings in /etc: of a copy. */
static void own_ufw(void)
{
	sh("cp -a /etc/ufw /run/ufw-etc && cp /etc/default/ufw /run/ufw-default && sed -i "
	   "'s/^IPV6=.*/IPV6=yes/' "
	   "/run/ufw-default && mount --bind /run/ufw-etc /etc/ufw && mount --bind /run/ufw-default "
	   "/etc/default/ufw");
}

static void run_in(const char *ns, const char *script)
{
	setenv("SCRIPT", script, 1);
	sh("ip netns exec %s sh -c \"$SCRIPT\"", ns);
}

static void it_works_beside(struct ends *s, const struct firewall *fw)
{
	static char before[2][65536], after[65536];
	static const char *const ns[] = { "gw", "own" };

	print_message("beside %s\n", fw->name);
	for (int i = 0; i < 2; i++) {
		run_in(ns[i], fw->up);
		footprint(ns[i], before[i], sizeof before[i]);
	}
	s->count = 0;
	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	add(s, 1, FORWARD_UDP, false, 80, OWN4, 5000, 1);
	add(s, 2, FORWARD_TCP, false, 90, LAN4, 5000, 1);
	add(s, 2, FORWARD_TCP, true, 90, LAN6, 5000, 1);
	add(s, 3, FORWARD_TCP, true, 80, OWN6, 5000, 1);
	add(s, 3, FORWARD_UDP, true, 90, LAN6, 5000, 1);
	make(s);
	expect_tcp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	expect_udp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	expect_tcp("lan", at(LAN4, 5000), at(GW4, 90), VIS4);
	expect_tcp("lan", at(LAN6, 5000), at(GW6, 90), VIS6);
	expect_tcp("own", at(OWN6, 5000), at(GW6, 80), VIS6);
	expect_udp("lan", at(LAN6, 5000), at(GW6, 90), VIS6);
	/* Once is enough, and their program can read it. */
	make(s);
	stats(s->gw, "gw", 1, 1);
	char count[16];
	sh_out(count, sizeof count,
	       "ip netns exec gw nft list chain ip filter FORWARD 2>/dev/null | grep -c p2pd-p2pd0");
	assert_true(strcmp(count, "0") == 0 || strcmp(count, "1") == 0);
	for (int i = 0; i < 2; i++) {
		sh("ip netns exec %s iptables -S >/dev/null && ip netns exec %s ip6tables -S >/dev/null",
		   ns[i], ns[i]);
		apply(i ? s->own : s->gw, ns[i], NULL, 0);
		footprint(ns[i], after, sizeof after);
		same(before[i], after);
		run_in(ns[i], fw->down);
		run_in(ns[i], "nft flush ruleset");
	}
}

static void it_works_beside_other_firewalls(void **state)
{
	struct ends *s = *state;

	own_ufw();
	for (size_t i = 0; i < sizeof firewalls / sizeof *firewalls; i++)
		it_works_beside(s, &firewalls[i]);
}

static void a_firewall_that_comes_later_is_noticed(void **state)
{
	struct ends *s = *state;

	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	make(s);
	for (int i = 0; i < 2; i++)
		run_in(i ? "own" : "gw", firewalls[2].up);
	stats(s->gw, "gw", 1, 1);
	stats(s->own, "own", 1, 1);
	expect_tcp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	apply(s->gw, "gw", NULL, 0);
	apply(s->own, "own", NULL, 0);
	sh("ip netns exec gw nft flush ruleset && ip netns exec own nft flush ruleset");
}

static void set_inlets(struct host_nat *n, const struct forward_inlet *inlets, size_t count)
{
	enter("gw");
	assert_int_equal(host_nat_inlets(n, inlets, count), 0);
	apply(n, "gw", NULL, 0);
}

static void our_own_sockets_are_reached_behind_a_firewall(void **state)
{
	struct ends *s = *state;
	const struct forward_inlet inlets[] = {
		{ FORWARD_TCP, at(GW4, 7200), 10 },	   { FORWARD_TCP, at(GW6, 7200), 10 },
		{ FORWARD_TCP, at(GW_OVERLAY4, 7781), 1 }, { FORWARD_TCP, at(GW_OVERLAY6, 7781), 1 },
		{ FORWARD_UDP, at(GW4, 53), 1 },
	};
	int four = bound("gw", SOCK_STREAM, at("0.0.0.0", 7205)),
	    six = bound("gw", SOCK_STREAM, at("::", 7781));
	int fd, other = bound("gw", SOCK_STREAM, at("0.0.0.0", 7210));
	static char now[65536];

	set_inlets(s->gw, inlets, sizeof inlets / sizeof *inlets);
	footprint("gw", now, sizeof now);
	same(before_gw, now); /* without a firewall there is nothing to do */
	run_in("gw", firewalls[0].up);
	assert_int_equal(visit_wait("vis", at(GW4, 7205), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	enter("gw");
	assert_int_equal(host_nat_look(s->gw, 1), 0);
	assert_int_equal(visit_code(at(GW4, 7205)), 0);
	assert_int_equal(visit_wait("vis", at(GW4, 7210), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	expect_udp("gw", at(GW4, 53), at(GW4, 53), VIS4);
	struct living l = open_living(four, at(GW4, 7205));
	assert_int_equal(visit("own", at(GW_OVERLAY4, 7781), &fd), 0);
	close(fd);
	assert_int_equal(visit("own", at(GW_OVERLAY6, 7781), &fd), 0);
	close(fd);
	/* At the overlay's address, but not by the tunnel. */
	sh("ip -n vis route add " GW_OVERLAY4 " via " GW4);
	assert_int_equal(visit_wait("vis", at(GW_OVERLAY4, 7781), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	sh("ip -n vis route del " GW_OVERLAY4 " via " GW4);
	/* With entries, and without. */
	add(s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	make(s);
	expect_tcp("lan", at(LAN4, 5000), at(GW4, 80), VIS4);
	apply(s->gw, "gw", NULL, 0);
	assert_true(says(l.client, l.server));
	assert_int_equal(visit_code(at(GW4, 7205)), 0);
	set_inlets(s->gw, inlets, 0);
	assert_int_equal(visit_wait("vis", at(GW4, 7205), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	set_inlets(s->gw, inlets, 1);
	assert_int_equal(visit_code(at(GW4, 7205)), 0);
	run_in("gw", firewalls[0].down);
	run_in("gw", "nft flush ruleset");
	enter("gw");
	assert_int_equal(host_nat_look(s->gw, 1), 0);
	footprint("gw", now, sizeof now);
	same(before_gw, now);
	close_living(&l);
	close(four);
	close(six);
	close(other);
}

/* --- Ends without warning */

enum { CRASHES = 12 };

/* Its children hold no descriptor of ours, or the keeper would wait for us. */
static pid_t a_daemon(const char *ns, unsigned seed, int *told)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct ends s = { .count = 0 };
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		s.gw = open_at(ns);
		add(&s, 1, FORWARD_TCP, false, 80, LAN4, 5000, 100);
		add(&s, 2, FORWARD_UDP, true, 80, LAN6, 5000, 100);
		(void)!write(ends[1], "o", 1);
		for (unsigned i = seed;; i++)
			apply(s.gw, ns, strcmp(ns, "gw") == 0 ? s.at_gw : s.at_own, i % 3);
	}
	close(ends[1]);
	*told = ends[0];
	return pid;
}

static bool is_as_before(const char *ns, const char *before)
{
	static char after[65536];

	for (int tries = 0; tries < 100; tries++) {
		footprint(ns, after, sizeof after);
		if (strcmp(before, after) == 0)
			return true;
		poll(NULL, 0, 50);
	}
	same(before, after);
	return false;
}

static void nothing_is_left_of_a_daemon_that_was_killed(void **state)
{
	const char *many = getenv("NAT_CRASHES");
	int crashes = many ? atoi(many) : CRASHES;
	struct ends *s = *state;

	enter("gw");
	host_nat_close(s->gw);
	enter("own");
	host_nat_close(s->own);
	s->gw = s->own = NULL;
	srandom(1);
	for (int i = 0; i < crashes; i++) {
		const char *ns = i % 2 ? "gw" : "own";
		int told;
		pid_t pid = a_daemon(ns, (unsigned)i, &told);
		assert_true(ready(told, POLLIN, NAT_NET_WAIT_MS));
		poll(NULL, 0, (int)(random() % 150));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(told);
		assert_true(is_as_before(ns, i % 2 ? before_gw : before_own));
	}
	s->gw = open_at("gw");
	s->own = open_at("own");
}

static void what_even_the_keeper_left_is_removed_at_the_next_start(void **state)
{
	struct ends *s = *state;
	int told;

	enter("gw");
	host_nat_close(s->gw);
	s->gw = NULL;
	pid_t pid = a_daemon("gw", 1, &told);
	assert_true(ready(told, POLLIN, NAT_NET_WAIT_MS));
	char keepers[256] = "";
	for (int tries = 0; tries < 50 && !keepers[0]; tries++) {
		poll(NULL, 0, 20);
		sh_out(keepers, sizeof keepers, "cat /proc/%d/task/%d/children", pid, pid);
	}
	kill(pid, SIGSTOP);
	sh_out(keepers, sizeof keepers,
	       "grep -lz p2pd-keeper $(for p in $(cat /proc/%d/task/%d/children); do echo "
	       "/proc/$p/cmdline; done) /dev/null | cut -d/ -f3",
	       pid, pid);
	if (keepers[0])
		kill((pid_t)atoi(keepers), SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(told);
	s->gw = open_at("gw");
	assert_true(is_as_before("gw", before_gw));
}

/* --- What can be */

static void what_cannot_be_is_said_with_its_reason(void **state)
{
	struct ends *s = *state;
	char why[HOST_NAT_WHY];
	int any = bound("own", SOCK_STREAM, at("::", 6000)),
	    v4 = bound("own", SOCK_DGRAM, at("0.0.0.0", 6001));
	int loop = bound("own", SOCK_STREAM, at("127.0.0.1", 6002)),
	    range = bound("own", SOCK_STREAM, at("::", 6003));
	const struct {
		enum forward_proto proto;
		const char *listen, *target;
		unsigned port, count;
		int rc;
		const char *why;
	} cases[] = {
		{ FORWARD_TCP, OWN_OVERLAY4, OWN4, 1, 1, 0, "" },
		{ FORWARD_TCP, OWN_OVERLAY6, OWN6, 1, 1, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY4, LAN4, 1, 1000, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY6, LAN6, 1, 1, 0, "" },
		{ FORWARD_TCP, OWN_OVERLAY4, OWN6, 1, 1, -ENOTSUP, "IPv4" },
		{ FORWARD_TCP, OWN_OVERLAY6, LAN4, 1, 1, -ENOTSUP, "IPv6" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6000, 1, 0, "" },
		{ FORWARD_TCP, OWN_OVERLAY6, "::1", 6000, 1, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY4, "127.0.0.1", 6001, 1, 0, "" },
		{ FORWARD_UDP, OWN_OVERLAY6, "::1", 6001, 1, -ENOTSUP, "6001" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6001, 1, -ENOTSUP, "6001" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6002, 1, -ENOTSUP, "6002" },
		{ FORWARD_TCP, OWN_OVERLAY4, "127.0.0.1", 6003, 2, -ENOTSUP, "6004" },
		{ FORWARD_TCP, OWN_OVERLAY4, "192.168.1.77", 1, 1, -ENOTSUP, "not the router" },
		{ FORWARD_TCP, OWN_OVERLAY4, "100.64.0.9", 1, 1, -ENOTSUP, "overlay" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct forward_entry e = entry(1, FORWARD_OWNER, cases[i].proto, cases[i].listen, 10000,
					       cases[i].target, cases[i].port, cases[i].count);
		why[0] = 0;
		enter("own");
		assert_int_equal(host_nat_can(s->own, &e, why), cases[i].rc);
		assert_non_null(strstr(why, cases[i].why));
	}
	sh("ip netns exec own sysctl -qw net.ipv4.ip_forward=0");
	struct forward_entry e = entry(1, FORWARD_OWNER, FORWARD_TCP, OWN_OVERLAY4, 10000, LAN4, 1, 1);
	assert_int_equal(host_nat_can(s->own, &e, why), -ENOTSUP);
	assert_non_null(strstr(why, "no router"));
	sh("ip netns exec own sysctl -qw net.ipv4.ip_forward=1");
	close(any);
	close(v4);
	close(loop);
	close(range);
}

/* Before Linux 6.17 IPv6 is forwarded by all interfaces or by none, and a router takes no default route from its own. */
static void an_older_kernel_forwards_ip6_and_keeps_its_route(void **state)
{
	struct ends *s = *state;
	char got[64];

	enter("gw");
	sh("touch /run/nothing && mount --bind /run/nothing /proc/sys/net/ipv6/conf/all/force_forwarding");
	sh("sysctl -qw net.ipv6.conf.lo.accept_ra=0");
	add(s, 1, FORWARD_TCP, true, 80, LAN6, 5000, 1);
	add(s, 2, FORWARD_TCP, false, 80, LAN4, 5000, 1);
	make(s);
	expect_tcp("lan", at(LAN6, 5000), at(GW6, 80), VIS6);
	enter("gw");
	sh_out(got, sizeof got,
	       "cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra lo/accept_ra | tr '\\n' ' '");
	assert_string_equal(got, "1 2 0 ");
	/* Nobody else profits. */
	sh("ip -n vis route add fd00:77::/64 via " GW6);
	int fd;
	assert_int_equal(visit_wait("vis", at(OWN_OVERLAY6, 22), NAT_NET_SHORT_MS, &fd), -ETIMEDOUT);
	sh("ip -n vis route del fd00:77::/64 via " GW6);
	apply(s->gw, "gw", &s->at_gw[1], 1);
	sh_out(got, sizeof got,
	       "cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra lo/accept_ra | tr '\\n' ' '");
	assert_string_equal(got, "0 1 0 ");
	make(s);
	apply(s->gw, "gw", NULL, 0);
	sh_out(got, sizeof got,
	       "cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/accept_ra lo/accept_ra | tr '\\n' ' '");
	assert_string_equal(got, "0 1 0 ");
	sh("sysctl -qw net.ipv6.conf.lo.accept_ra=1 && umount /proc/sys/net/ipv6/conf/all/force_forwarding");
}

/* As the systemd unit runs it: root, but with one capability. */
static void keep_net_admin_only(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };

	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (c != CAP_NET_ADMIN)
			prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	caps[0].effective = caps[0].permitted = caps[0].inheritable = 1U << CAP_NET_ADMIN;
	syscall(SYS_capset, &head, caps);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void one_capability_is_enough(void **state)
{
	struct ends *s = *state;
	int status;

	run_in("gw", firewalls[2].up);
	enter("gw");
	host_nat_close(s->gw);
	s->gw = NULL;
	add(s, 1, FORWARD_TCP, false, 80, OWN4, 5000, 1);
	apply(s->own, "own", s->at_own, 1);
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	enter("gw"); /* that is a right, too */
	pid_t pid = fork();
	if (pid == 0) {
		char why[HOST_NAT_WHY] = "";
		struct host_nat *n;
		struct host_nat_config c = { .tun = "p2pd0",
					     .ifindex = if_nametoindex("p2pd0"),
					     .ip4 = at(GW_OVERLAY4, 0) };
		keep_net_admin_only();
		int rc = host_nat_open(&n, &c, why);
		rc = rc ? rc : host_nat_apply(n, s->at_gw, 1, why);
		if (rc)
			print_message("%s\n", why);
		(void)!write(fds[1], "r", 1);
		while (getppid() != 1 && !rc && access("/run/one-capability-done", F_OK) != 0)
			poll(NULL, 0, 20);
		host_nat_close(n);
		_exit(rc != 0);
	}
	assert_true(ready(fds[0], POLLIN, NAT_NET_WAIT_MS));
	expect_tcp("own", at(OWN4, 5000), at(GW4, 80), VIS4);
	sh("touch /run/one-capability-done");
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	run_in("gw", "nft flush ruleset");
	s->gw = open_at("gw");
	close(fds[0]);
	close(fds[1]);
}

static void without_rights_it_says_so(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		struct host_nat_config c = { .tun = "p2pd0" };
		char why[HOST_NAT_WHY] = "";
		struct host_nat *n;
		if (setuid(65534) != 0)
			_exit(1);
		_exit(host_nat_open(&n, &c, why) == -EPERM && !n && strstr(why, "CAP_NET_ADMIN") ? 0 : 2);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOTH(it_works_beside_other_firewalls),
		WITH_BOTH(a_firewall_that_comes_later_is_noticed),
		WITH_BOTH(our_own_sockets_are_reached_behind_a_firewall),
		WITH_BOTH(nothing_is_left_of_a_daemon_that_was_killed),
		WITH_BOTH(what_even_the_keeper_left_is_removed_at_the_next_start),
		WITH_BOTH(what_cannot_be_is_said_with_its_reason),
		WITH_BOTH(an_older_kernel_forwards_ip6_and_keeps_its_route),
		WITH_BOTH(one_capability_is_enough),
		cmocka_unit_test(without_rights_it_says_so),
	};
	return run_or_skip(tests, sizeof tests / sizeof *tests, "tests");
}
