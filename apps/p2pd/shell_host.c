/* The host around the node: addresses and routes of our device, and where the machine can be reached. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/fail.h"
#include "core/log.h"
#include "tun/netif.h"
#include "tun/route.h"

enum {
	IP6_PREFIX_BITS = 48, /* the network's, see core/network.h */
	LISTED = 256,
	DEBOUNCE_MS = 100, /* a change comes as several messages */
	/* So many messages of full size make a train. One TCP superframe is to make one train, not one and a short one:
	 * the kernel leaves some 300 bytes of the limit for headers of lower layers. */
	TRAIN = UDP_TRAIN_BYTES / PATH_FULL_SIZE,
	TCP4_HEADERS = 52,
	SUPERFRAME = TRAIN * (ENGINE_MTU - TCP4_HEADERS) + 500,
};

/* --- Our device */

int shell_check_clash(struct shell *s)
{
	const struct state_network *n = &s->config.network;
	char ours[ADDR_TEXT_MAX], theirs[ADDR_TEXT_MAX];
	struct route_clash clash;

	if (route_find_clash(&n->ip4_prefix, n->ip4_bits, s->tun.ifindex, &clash) != 1)
		return 0;
	return fail_with(EXIT_CONFLICT,
			 "the network's addresses %s/%u are in use here: %s/%u is reached through %s; "
			 "give the network another prefix with --ip4-prefix, the same on all machines",
			 addr_format_ip(&n->ip4_prefix, ours), n->ip4_bits,
			 addr_format_ip(&clash.prefix, theirs), clash.bits, clash.ifname);
}

int shell_set_device(struct shell *s)
{
	const struct engine *e = s->engine;
	int ret = netif_add_addr(s->tun.ifindex, &e->ip4, s->config.network.ip4_bits);

	if (ret)
		return fail_with(EXIT_FAILED, "cannot set the address of %s: %s", s->tun.name,
				 strerror(-ret));
	s->device_ip4 = e->ip4;
	ret = netif_add_addr(s->tun.ifindex, &e->ip6, IP6_PREFIX_BITS);
	if (ret)
		log_warn("tun", "%s has no IPv6 address: %s", s->tun.name, strerror(-ret));
	ret = netif_set_gso_max(s->tun.ifindex, SUPERFRAME);
	if (ret)
		log_debug("tun", "%s keeps its limit of superframes: %s", s->tun.name, strerror(-ret));
	ret = netif_up(s->tun.ifindex, ENGINE_MTU);
	if (ret)
		return fail_with(EXIT_FAILED, "cannot bring %s up: %s", s->tun.name, strerror(-ret));
	for (size_t i = 0; i < s->wg.count; i++)
		shell_route_wg(s, &s->wg.items[i], true);
	return 0;
}

void shell_readdress(struct shell *s)
{
	unsigned bits = s->config.network.ip4_bits;

	if (addr_equal(&s->device_ip4, &s->engine->ip4))
		return;
	netif_del_addr(s->tun.ifindex, &s->device_ip4, bits);
	int ret = netif_add_addr(s->tun.ifindex, &s->engine->ip4, bits);
	if (ret)
		log_error("tun", "cannot set the new address of %s: %s", s->tun.name, strerror(-ret));
	s->device_ip4 = s->engine->ip4;
}

/* The network's own prefixes are routed by the device's addresses. */
int shell_route_wg(struct shell *s, const struct engine_wg_peer *peer, bool added)
{
	const struct state_network *n = &s->config.network;
	char text[ADDR_TEXT_MAX];
	int first = 0;

	for (unsigned i = 0; i < peer->allowed_count; i++) {
		const struct addr *prefix = &peer->allowed[i].prefix;
		unsigned bits = peer->allowed[i].bits;
		bool ours = prefix->family == ADDR_V4
				    ? addr_in_prefix(prefix, &n->ip4_prefix, n->ip4_bits)
				    : addr_in_prefix(prefix, &s->engine->ip6, IP6_PREFIX_BITS);
		if (ours)
			continue;
		int ret = added ? route_add(s->tun.ifindex, prefix, bits)
				: route_del(s->tun.ifindex, prefix, bits);
		if (ret)
			log_warn("tun", "route %s/%u of %s: %s", addr_format_ip(prefix, text), bits,
				 peer->name, strerror(-ret));
		first = first ? first : ret;
	}
	return first == -EEXIST ? -EADDRINUSE : first;
}

/* --- Where we can be reached */

static int compare(const void *a, const void *b)
{
	return addr_compare(a, b);
}

/* Sorted, so that two lists of the same addresses are the same bytes. */
static size_t list_hosts(struct shell *s, struct addr out[static ENGINE_HOSTS])
{
	struct netif_addr listed[LISTED];
	int n = netif_list(listed, LISTED, s->tun.ifindex);
	size_t count = 0;

	for (int i = 0; i < n && count < ENGINE_HOSTS; i++)
		if (!addr_is_loopback(&listed[i].addr))
			out[count++] = listed[i].addr;
	qsort(out, count, sizeof *out, compare);
	return count;
}

/* An interface that got a carrier again may be in another network, though all addresses are as before. */
static struct shell_way look_at_way(const struct shell *s, enum addr_family family)
{
	struct shell_way way = { 0 };

	if (route_default(family, s->tun.ifindex, &way.lan))
		return (struct shell_way) { 0 };
	way.carrier_changes = netif_carrier_changes(way.lan.ifindex);
	return way;
}

static bool same_way(const struct shell_way *a, const struct shell_way *b)
{
	return a->lan.ifindex == b->lan.ifindex && a->carrier_changes == b->carrier_changes &&
	       addr_equal(&a->lan.gateway, &b->lan.gateway) && addr_equal(&a->lan.local, &b->lan.local);
}

/* True if packets now take another way out of this machine. */
static bool look_at_ways(struct shell *s)
{
	struct shell_way now_there[2] = { look_at_way(s, ADDR_V4), look_at_way(s, ADDR_V6) };
	bool same = same_way(&now_there[0], &s->ways[0]) && same_way(&now_there[1], &s->ways[1]);

	memcpy(s->ways, now_there, sizeof s->ways);
	return !same;
}

/* Link-local ones come and go with every container, and no way to a peer leads over them. */
static size_t without_link_local(const struct addr *in, size_t count, struct addr out[static ENGINE_HOSTS])
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!addr_is_link_local(&in[i]))
			out[kept++] = in[i];
	return kept;
}

static bool same_addresses(const struct addr *a, size_t a_count, const struct addr *b, size_t b_count)
{
	return a_count == b_count && !memcmp(a, b, a_count * sizeof *a);
}

static bool moved(const struct shell *s, const struct addr *now_there, size_t count)
{
	struct addr before[ENGINE_HOSTS] = { 0 }, after[ENGINE_HOSTS] = { 0 };
	size_t before_count = without_link_local(s->hosts, s->host_count, before);
	size_t after_count = without_link_local(now_there, count, after);

	return !same_addresses(before, before_count, after, after_count);
}

void shell_look_at_hosts(struct shell *s, uint64_t now_ms)
{
	struct addr now_there[ENGINE_HOSTS] = { 0 };
	size_t count = list_hosts(s, now_there);
	bool first = s->hosts_due_ms == 0;
	bool same = same_addresses(now_there, count, s->hosts, s->host_count);
	bool was_moved = (look_at_ways(s) || moved(s, now_there, count)) && !first;

	s->hosts_due_ms = UINT64_MAX;
	shell_portmap_on_hosts(s, now_ms); /* a route alone may have changed */
	if (!first && same && !was_moved)
		return;
	if (!first)
		log_info("host", "%s of this machine changed: %zu addresses now",
			 same ? "the way out" : "the addresses", count);
	memcpy(s->hosts, now_there, sizeof s->hosts);
	s->host_count = count;
	engine_on_hosts(s->engine, s->hosts, count, was_moved, now_ms);
	if (was_moved)
		shell_check_link(s);
}

static void on_host_change(void *arg, unsigned events)
{
	struct shell *s = arg;
	(void)events;

	netif_watch_drain(s->host_fd);
	if (s->hosts_due_ms == UINT64_MAX)
		s->hosts_due_ms = shell_now(s) + DEBOUNCE_MS;
	shell_settle(s);
}

int shell_watch_hosts(struct shell *s)
{
	s->host_fd = netif_watch_open();
	if (s->host_fd < 0)
		return fail_with(EXIT_FAILED, "cannot watch the machine's addresses: %s",
				 strerror(-s->host_fd));
	s->host_watch = loop_fd_create(s->loop, s->host_fd, on_host_change, s);
	if (!s->host_watch || loop_fd_want(s->host_watch, LOOP_READ))
		return fail_with(EXIT_FAILED, "out of memory");
	shell_look_at_hosts(s, shell_now(s));
	return 0;
}

void shell_close_host(struct shell *s)
{
	loop_fd_destroy(s->host_watch);
	if (s->host_fd >= 0)
		close(s->host_fd);
}
