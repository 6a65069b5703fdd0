#include "apps/p2pd/worker.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/log.h"

static void leave(struct worker *w)
{
	if (w->held)
		pthread_mutex_unlock(w->held);
}

static void enter(struct worker *w)
{
	if (w->held)
		pthread_mutex_lock(w->held);
}

/* ---- TUN */

/* While the kernel takes no more datagrams the queue is left to fill, and its senders to notice. */
static void follow_lane(struct worker *w)
{
	struct udp_socket *full = lane_blocked(w->lane);

	if (full)
		udp_want_writable(full);
	if (w->tun_watch)
		loop_fd_want(w->tun_watch, full ? 0 : LOOP_READ);
}

static void on_tun(void *arg, unsigned events)
{
	struct worker *w = arg;
	uint64_t now = w->handler.now(w->handler.arg);
	(void)events;

	leave(w);
	int ret = lane_on_tun(w->lane, now);
	enter(w);
	if (ret < 0)
		w->handler.lost(w->handler.arg);
	else if (lane_blocked(w->lane))
		follow_lane(w);
	w->handler.settle(w->handler.arg);
}

/* ---- UDP */

void worker_on_train(struct worker *w, uint32_t socket, const struct udp_train *t)
{
	uint64_t now = w->handler.now(w->handler.arg);

	leave(w);
	lane_on_train(w->lane, socket, t, now);
	enter(w);
}

void worker_on_batch(struct worker *w)
{
	uint64_t now = w->handler.now(w->handler.arg);

	leave(w);
	lane_flush(w->lane, now);
	enter(w);
	w->handler.settle(w->handler.arg);
}

void worker_on_run(struct worker *w, const struct addr *hub, const uint8_t *msg, size_t len)
{
	const struct addr from = *hub;
	uint64_t now = w->handler.now(w->handler.arg);

	leave(w);
	lane_on_run(w->lane, &from, msg, len, now);
	enter(w);
	loop_late(w->loop, &w->runs);
}

/* The runs of this turn of the loop have come. */
static void on_runs(struct loop_late *late)
{
	worker_on_batch((struct worker *)(void *)((uint8_t *)late - offsetof(struct worker, runs)));
}

static void on_train(void *arg, const struct udp_train *t)
{
	worker_on_train(arg, 0, t);
}

static void on_batch(void *arg)
{
	worker_on_batch(arg);
}

static void on_writable(void *arg)
{
	struct worker *w = arg;

	leave(w);
	lane_resume(w->lane);
	enter(w);
	follow_lane(w);
}

static int open_one(struct worker *w, struct udp_socket *s, enum addr_family family, uint16_t port,
		    const struct udp_socket *first, enum udp_offload most)
{
	static const struct udp_handler handler = { on_train, on_batch, on_writable };
	static const uint8_t any[16];
	struct addr local = addr_from_ip(family, any, port);

	if (first && !udp_is_open(first))
		return -EAFNOSUPPORT;
	if (first)
		return udp_open_beside(s, w->loop, w->slab, most, first, &handler, w);
	return udp_open(s, w->loop, w->slab, most, &local, &handler, w);
}

static int open_both(struct worker *w, uint16_t port, const struct worker *first, enum udp_offload most)
{
	int ret4, ret6;

	ret4 = open_one(w, &w->udp4, ADDR_V4, port, first ? &first->udp4 : NULL, most);
	if (ret4 == -EADDRINUSE)
		return ret4;
	ret6 = open_one(w, &w->udp6, ADDR_V6, port, first ? &first->udp6 : NULL, most);
	if (ret6 && (ret4 || ret6 == -EADDRINUSE))
		return ret4 ? ret4 : ret6;
	if ((ret4 || ret6) && !first)
		log_info("udp", "no %s on this machine (%s)", ret6 ? "IPv6" : "IPv4",
			 strerror(ret6 ? -ret6 : -ret4));
	return 0;
}

/* ---- life */

int worker_open(struct worker *w, struct loop *loop, uint16_t port, const struct worker *first,
		enum udp_offload most, const struct worker_handler *handler)
{
	*w = (struct worker) {
		.loop = loop, .handler = *handler, .slab = udp_slab_create(), .runs.run = on_runs
	};
	int ret = w->slab ? open_both(w, port, first, most) : -ENOMEM;

	if (ret)
		worker_close(w);
	return ret;
}

int worker_start(struct worker *w, const struct worker_place *at)
{
	struct lane_config config = {
		.engine = at->engine,
		.lock = at->lock,
		.is_main = at->is_main,
		.tun = at->tun,
		.queue = at->queue,
		.udp4 = &w->udp4,
		.udp6 = &w->udp6,
		.extra = at->extra,
	};

	w->tun = at->tun;
	w->queue = at->queue;
	w->held = at->is_main ? at->lock : NULL;
	w->lane = lane_create(&config);
	return w->lane ? 0 : -ENOMEM;
}

int worker_steer(struct worker *w, unsigned others)
{
	int ret = udp_is_open(&w->udp4) ? udp_steer(&w->udp4, others) : 0;

	return ret || !udp_is_open(&w->udp6) ? ret : udp_steer(&w->udp6, others);
}

int worker_watch(struct worker *w)
{
	w->tun_watch = loop_fd_create(w->loop, w->tun->queues[w->queue], on_tun, w);
	return w->tun_watch ? loop_fd_want(w->tun_watch, LOOP_READ) : -ENOMEM;
}

void worker_close(struct worker *w)
{
	loop_late_cancel(&w->runs);
	loop_fd_destroy(w->tun_watch);
	udp_close(&w->udp4);
	udp_close(&w->udp6);
	udp_slab_destroy(w->slab);
	lane_destroy(w->lane);
	*w = (struct worker) { 0 };
}
