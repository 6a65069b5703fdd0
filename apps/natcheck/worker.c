#include "apps/natcheck/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Belongs to the thread and to the caller; who comes last frees it. */
struct worker {
	atomic_int owners;
	atomic_bool done;
	void (*work)(void *arg);
	size_t len;
	_Alignas(max_align_t) unsigned char arg[];
};

void worker_release(struct worker *w)
{
	if (w && atomic_fetch_sub(&w->owners, 1) == 1)
		free(w);
}

static void *run(void *arg)
{
	struct worker *w = arg;

	w->work(w->arg);
	atomic_store(&w->done, true);
	worker_release(w);
	return NULL;
}

struct worker *worker_start(void (*work)(void *arg), const void *arg, size_t len)
{
	struct worker *w = calloc(1, sizeof *w + len);
	pthread_t thread;

	if (!w)
		return NULL;
	w->work = work;
	w->len = len;
	memcpy(w->arg, arg, len);
	atomic_init(&w->owners, 2);
	atomic_init(&w->done, false);
	if (pthread_create(&thread, NULL, run, w)) {
		free(w);
		return NULL;
	}
	pthread_detach(thread);
	return w;
}

bool worker_collect(struct worker *w, void *arg)
{
	if (!w || !atomic_load(&w->done))
		return false;
	memcpy(arg, w->arg, w->len);
	return true;
}
