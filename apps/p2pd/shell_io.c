/* The TUN device, and what carries data between it and the UDP sockets. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <string.h>

#include "core/fail.h"
#include "core/log.h"

enum {
	PORT_FIRST = 20000,
	PORT_LAST = 60999,
	PORT_TRIES = 16,
};

/* --- TUN */

int shell_open_tun(struct shell *s)
{
	const char *name = s->config.tun;
	int ret = tun_open(&s->tun, name, s->config.workers, s->config.rung.tun);

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

/* --- Data */

static uint64_t now_of(void *arg)
{
	return shell_now(arg);
}

static void settle(void *arg)
{
	shell_settle(arg);
}

static void on_lost(void *arg)
{
	struct shell *s = arg;

	shell_end(s, fail_with(EXIT_FAILED, "the device %s was taken away", s->tun.name));
}

static void on_extra_train(void *arg, uint32_t socket, const struct udp_train *t)
{
	struct shell *s = arg;

	worker_on_train(&s->worker, socket, t);
}

static void on_extra_batch(void *arg)
{
	struct shell *s = arg;

	worker_on_batch(&s->worker);
}

static struct worker_place place_of(struct shell *s)
{
	return (struct worker_place) {
		.engine = s->engine,
		.lock = s->workers ? workers_lock(s->workers) : NULL,
		.is_main = true,
		.tun = &s->tun,
		.extra = &s->sockets,
	};
}

int shell_start_data(struct shell *s)
{
	struct worker_place at = place_of(s);

	return worker_start(&s->worker, &at) ? fail_with(EXIT_FAILED, "out of memory") : 0;
}

int shell_watch_tun(struct shell *s)
{
	struct worker_place at = place_of(s);
	int ret = s->workers ? workers_start(s->workers, &at) : worker_watch(&s->worker);

	return ret ? fail_with(EXIT_FAILED, "cannot read the device: %s", strerror(-ret)) : 0;
}

/* What a family's socket is denied counts for both. */
const char *shell_offload(void *arg)
{
	const struct shell *s = arg;
	const struct udp_socket *sockets[] = { &s->worker.udp4, &s->worker.udp6 };
	struct rung in_use = { s->tun.offload, s->config.rung.udp };

	for (int i = 0; i < 2; i++) {
		enum udp_offload has = sockets[i]->gro && sockets[i]->gso ? UDP_OFFLOAD_GRO
				       : sockets[i]->gso		  ? UDP_OFFLOAD_GSO
									  : UDP_OFFLOAD_NONE;
		if (udp_is_open(sockets[i]) && has < in_use.udp)
			in_use.udp = has;
	}
	return rung_name(&in_use);
}

/* Called by workers, with the lock. */
static bool is_wanted(void *arg)
{
	struct shell *s = arg;
	struct engine *e = s->engine;

	return e->udp_out.head || e->hub_out.head || e->event_count || e->sockets_changed ||
	       (e->timestamps_changed && s->timestamps_due_ms == UINT64_MAX) ||
	       engine_deadline(e) < s->due_ms;
}

/* --- UDP */

static int open_workers(struct shell *s)
{
	struct workers_config config = {
		.count = s->config.workers,
		.first = &s->worker,
		.loop = s->loop,
		.most = s->config.rung.udp,
		.is_wanted = is_wanted,
		.on_wanted = settle,
		.lost = on_lost,
		.arg = s,
	};

	return config.count > 1 ? workers_open(&s->workers, &config) : 0;
}

static int open_port(struct shell *s, uint16_t port)
{
	static const struct shell_sockets_handler extra = { on_extra_train, on_extra_batch };
	struct worker_handler handler = { now_of, settle, on_lost, s };
	int ret = worker_open(&s->worker, s->loop, port, NULL, s->config.rung.udp, &handler);

	if (ret)
		return ret;
	ret = open_workers(s);
	if (ret) {
		worker_close(&s->worker);
		return ret;
	}
	s->port = port;
	shell_sockets_init(&s->sockets, s->loop, s->worker.slab, s->config.rung.udp, &extra, s);
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
	int ret = wish ? open_port(s, wish) : -EADDRINUSE;

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

void shell_close_unused(struct shell *s)
{
	if (!s->engine->sockets_changed)
		return;
	s->engine->sockets_changed = false;
	shell_sockets_keep(&s->sockets, s->engine->sockets);
}

void shell_close_io(struct shell *s)
{
	workers_destroy(s->workers);
	shell_sockets_close(&s->sockets);
	worker_close(&s->worker);
	tun_close(&s->tun);
}
