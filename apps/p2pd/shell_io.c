/* Packets: the TUN device and the UDP sockets of both families on one port. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <string.h>

#include "core/fail.h"
#include "core/log.h"

enum {
	TUN_BUDGET = 64, /* packets a wake-up */
	PORT_FIRST = 20000,
	PORT_LAST = 60999,
	PORT_TRIES = 16,
};

/* --- TUN */

int shell_open_tun(struct shell *s)
{
	const char *name = s->config.tun;
	int ret = tun_open(&s->tun, name, 1, TUN_PLAIN);

	switch (ret) {
	case 0: return 0;
	case -EPERM:
	case -EACCES:
		return fail_with(EXIT_DENIED,
				 "making a network device needs root or CAP_NET_ADMIN: try sudo");
	case -ENOENT:
	case -ENODEV:
		return fail_with(
			EXIT_FAILED,
			"there is no /dev/net/tun: `modprobe tun`, or give the container this device");
	case -EBUSY:
		return fail_with(EXIT_CONFLICT, "the device %s is in use: give another name with --tun",
				 name ? name : "");
	default: return fail_with(EXIT_FAILED, "cannot make a network device: %s", strerror(-ret));
	}
}

/* The pool is empty: the packet is taken from the device and lost, else the loop would spin. */
static bool lose_tun_packet(struct shell *s)
{
	uint8_t vnet[TUN_VNET], start[64];

	s->engine->drops.no_buffer++;
	return tun_read(&s->tun, 0, vnet, start, sizeof start) > 0;
}

static bool read_tun_packet(struct shell *s, uint64_t now)
{
	struct pkt *p = pkt_get(&s->pool);
	uint8_t vnet[TUN_VNET];

	if (!p)
		return lose_tun_packet(s);
	ssize_t n = tun_read(&s->tun, 0, vnet, pkt_data(p), PKT_DATA_MAX);
	if (n <= 0) {
		pkt_put(&s->pool, p);
		if (n != -EAGAIN && n != -EINTR)
			shell_end(s, fail_with(EXIT_FAILED, "the device %s was taken away", s->tun.name));
		return false;
	}
	p->len = (uint32_t)n;
	engine_on_tun(s->engine, p, now);
	return true;
}

static void on_tun(void *arg, unsigned events)
{
	struct shell *s = arg;
	uint64_t now = shell_now(s);
	(void)events;

	for (int i = 0; i < TUN_BUDGET && read_tun_packet(s, now); i++)
		;
	shell_settle(s);
}

void shell_watch_tun(struct shell *s)
{
	s->tun_watch = loop_fd_create(s->loop, s->tun.queues[0], on_tun, s);
	if (s->tun_watch)
		loop_fd_want(s->tun_watch, LOOP_READ);
}

/* --- UDP */

static void on_datagram(struct shell *s, uint32_t socket, const struct udp_train *t, size_t off)
{
	uint64_t now = shell_now(s);
	struct pkt *p = pkt_get(&s->pool);

	if (!p) {
		s->engine->drops.no_buffer++;
		return;
	}
	p->len = (uint32_t)(t->len - off < t->stride ? t->len - off : t->stride);
	memcpy(pkt_data(p), t->data + off, p->len);
	p->addr = t->addr;
	p->local = t->local;
	p->socket = socket;
	engine_on_datagram(s->engine, p, now);
	if (s->engine->timestamps_changed)
		shell_expect_timestamp(s, now);
}

/* Settles after each train: what the pool holds lasts for the answers to a few only. */
static void on_socket_train(void *arg, uint32_t socket, const struct udp_train *t)
{
	struct shell *s = arg;

	for (size_t off = 0; off < t->len; off += t->stride)
		on_datagram(s, socket, t, off);
	shell_settle(s);
}

static void on_train(void *arg, const struct udp_train *t)
{
	on_socket_train(arg, 0, t);
}

static const struct udp_handler handler = { .on_train = on_train };
static const struct shell_sockets_handler sockets_handler = { .on_train = on_socket_train };

static struct addr any_address(enum addr_family family, uint16_t port)
{
	static const uint8_t any[16];

	return addr_from_ip(family, any, port);
}

/* Both families on one port. Without IPv6 (or IPv4) on this machine the other does. */
static int open_port(struct shell *s, uint16_t port)
{
	struct addr v4 = any_address(ADDR_V4, port), v6 = any_address(ADDR_V6, port);
	int ret6, ret4 = udp_open(&s->udp4, s->loop, s->slab, UDP_OFFLOAD_GRO, &v4, &handler, s);

	if (ret4 == -EADDRINUSE)
		return ret4;
	ret6 = udp_open(&s->udp6, s->loop, s->slab, UDP_OFFLOAD_GRO, &v6, &handler, s);
	if (ret6 && ret4) {
		return ret4;
	} else if (ret6 == -EADDRINUSE) {
		udp_close(&s->udp4);
		return ret6;
	}
	if (ret6 || ret4)
		log_info("udp", "no %s on this machine (%s)", ret6 ? "IPv6" : "IPv4",
			 strerror(ret6 ? -ret6 : -ret4));
	s->port = port;
	shell_sockets_init(&s->sockets, s->loop, s->slab, &sockets_handler, s);
	return 0;
}

static int open_any_port(struct shell *s)
{
	struct rng rng;
	int ret = -EADDRINUSE;

	rng_init_system(&rng);
	for (int i = 0; i < PORT_TRIES && ret == -EADDRINUSE; i++)
		ret = open_port(s, (uint16_t)(PORT_FIRST + rng_below(&rng, PORT_LAST - PORT_FIRST + 1)));
	return ret;
}

int shell_open_udp(struct shell *s)
{
	uint16_t wish = s->config.network.port;
	int ret = -EADDRINUSE;

	s->slab = udp_slab_create();
	if (!s->slab)
		return fail_with(EXIT_FAILED, "out of memory");
	if (wish)
		ret = open_port(s, wish);
	if (ret == -EADDRINUSE && s->config.any_port)
		ret = open_any_port(s);
	if (ret == -EADDRINUSE)
		return fail_with(EXIT_CONFLICT, "UDP port %u is in use: give another with --port", wish);
	if (ret == -EACCES)
		return fail_with(EXIT_DENIED,
				 "UDP port %u needs more rights: give one above 1023 with --port", wish);
	if (ret)
		return fail_with(EXIT_FAILED, "cannot open UDP port %u: %s", wish, strerror(-ret));
	return 0;
}

/* --- Out */

static void send_packet(struct shell *s, const struct pkt *p)
{
	struct udp_socket *main_socket = p->addr.family == ADDR_V6 ? &s->udp6 : &s->udp4;

	if (p->socket)
		shell_sockets_send(&s->sockets, p);
	else if (udp_is_open(main_socket))
		udp_send(main_socket, p);
}

bool shell_drain_packets(struct shell *s)
{
	struct engine *e = s->engine;
	bool any = e->udp_out.head || e->tun_out.head;
	struct pkt *p;

	/* What cannot be sent is lost, as on any network; udp and the device count it. */
	while ((p = pkt_list_pop(&e->udp_out))) {
		send_packet(s, p);
		pkt_put(&s->pool, p);
	}
	while ((p = pkt_list_pop(&e->tun_out))) {
		tun_write_packet(&s->tun, 0, pkt_data(p), p->len);
		pkt_put(&s->pool, p);
	}
	return any;
}

void shell_close_unused(struct shell *s)
{
	if (!s->engine->sockets_changed)
		return;
	s->engine->sockets_changed = false;
	shell_sockets_keep(&s->sockets, s->engine->sockets);
}

void shell_close_io(struct shell *s)
{
	udp_close(&s->udp4);
	udp_close(&s->udp6);
	shell_sockets_close(&s->sockets);
	udp_slab_destroy(s->slab);
	loop_fd_destroy(s->tun_watch);
	tun_close(&s->tun);
}
