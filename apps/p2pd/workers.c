#include "apps/p2pd/workers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct worker_thread {
	struct workers *all;
	struct worker worker;
	struct loop *loop;
	struct loop_wake *stop;
	pthread_t thread;
	bool running;
};

struct workers {
	struct workers_config config;
	pthread_mutex_t lock;
	struct loop_wake *wanted;
	atomic_bool lost;
	struct worker_thread threads[];
};

/* ---- in the threads */

static uint64_t now_of(void *arg)
{
	(void)arg;
	return loop_now_ms();
}

static void settle(void *arg)
{
	struct worker_thread *t = arg;
	struct workers *w = t->all;

	pthread_mutex_lock(&w->lock);
	lane_drain(t->worker.lane);
	bool wanted = w->config.is_wanted(w->config.arg);
	pthread_mutex_unlock(&w->lock);
	if (wanted)
		loop_wake(w->wanted);
}

static void on_lost(void *arg)
{
	struct worker_thread *t = arg;

	atomic_store(&t->all->lost, true);
	loop_wake(t->all->wanted);
}

static void on_stop(void *arg)
{
	struct worker_thread *t = arg;

	loop_stop(t->loop);
}

static void *run(void *arg)
{
	struct worker_thread *t = arg;

	loop_run(t->loop);
	return NULL;
}

/* ---- in the main loop */

static void on_wanted(void *arg)
{
	struct workers *w = arg;

	if (atomic_exchange(&w->lost, false))
		w->config.lost(w->config.arg);
	w->config.on_wanted(w->config.arg);
}

static int open_thread(struct workers *w, struct worker_thread *t)
{
	struct worker_handler handler = { now_of, settle, on_lost, t };

	t->all = w;
	t->loop = loop_create();
	t->stop = t->loop ? loop_wake_create(t->loop, on_stop, t) : NULL;
	if (!t->stop)
		return -ENOMEM;
	return worker_open(&t->worker, t->loop, 0, w->config.first, w->config.most, &handler);
}

static int open_all(struct workers *w)
{
	const struct workers_config *c = &w->config;
	int ret = w->wanted ? 0 : -ENOMEM;

	for (unsigned i = 0; i < c->count && !ret; i++)
		ret = open_thread(w, &w->threads[i]);
	return ret ? ret : worker_steer(c->first, c->count);
}

int workers_open(struct workers **out, const struct workers_config *config)
{
	struct workers *w = calloc(1, sizeof *w + config->count * sizeof w->threads[0]);

	*out = w;
	if (!w)
		return -ENOMEM;
	w->config = *config;
	pthread_mutex_init(&w->lock, NULL);
	w->wanted = loop_wake_create(config->loop, on_wanted, w);
	int ret = open_all(w);
	if (ret) {
		workers_destroy(w);
		*out = NULL;
	}
	return ret;
}

int workers_start(struct workers *w, const struct worker_place *main_worker)
{
	struct worker_place at = *main_worker;

	at.is_main = false;
	for (unsigned i = 0; i < w->config.count; i++) {
		struct worker_thread *t = &w->threads[i];
		at.queue = i;
		int ret = worker_start(&t->worker, &at);

		ret = ret ? ret : worker_watch(&t->worker);
		ret = ret ? ret : -pthread_create(&t->thread, NULL, run, t);
		if (ret)
			return ret;
		t->running = true;
	}
	return 0;
}

pthread_mutex_t *workers_lock(struct workers *w)
{
	return &w->lock;
}

void workers_stop(struct workers *w)
{
	for (unsigned i = 0; w && i < w->config.count; i++) {
		struct worker_thread *t = &w->threads[i];
		if (!t->running)
			continue;
		loop_wake(t->stop);
		pthread_join(t->thread, NULL);
		t->running = false;
	}
}

void workers_destroy(struct workers *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < w->config.count; i++) {
		struct worker_thread *t = &w->threads[i];
		worker_close(&t->worker);
		loop_wake_destroy(t->stop);
		if (t->loop)
			loop_destroy(t->loop);
	}
	loop_wake_destroy(w->wanted);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
