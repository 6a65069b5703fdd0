#include "tests/bench/load_api.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/loop.h"
#include "core/stream.h"
#include "relay/http_parse.h"

/* One connection, and the one question under way on it. */
struct asker {
	bool stays;
	struct stream *stream;
	struct http_parse *answer;
	struct loop_timer *timer; /* the next question */
	uint64_t asked_us;	  /* 0: none under way */
	uint64_t every_ms;
	struct samples samples;
};

static struct loop *loop;
static struct tls_config *tls;
static struct hub_url hub;
static const char *asked_path;
static struct asker kept = { .stays = true, .every_ms = LOAD_API_KEPT_MS },
		    fresh = { .every_ms = LOAD_API_FRESH_MS };
static unsigned failures;
static atomic_bool paused;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the samples and failures */

static void end_connection(struct asker *a)
{
	stream_close(a->stream);
	http_parse_destroy(a->answer);
	a->stream = NULL;
	a->answer = NULL;
}

/* The next one is due at its time, or at once when this one took longer: so a hub that stands still is asked less. */
static void note(struct asker *a, bool answered)
{
	uint64_t took_us = load_now_us() - a->asked_us;

	pthread_mutex_lock(&lock);
	if (answered)
		samples_add(&a->samples, (double)took_us / 1000);
	else
		failures++;
	pthread_mutex_unlock(&lock);
	a->asked_us = 0;
	loop_timer_set(a->timer,
		       loop_now_ms() + (took_us / 1000 < a->every_ms ? a->every_ms - took_us / 1000 : 0));
}

static void ask(struct asker *a)
{
	char request[512];
	int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", asked_path,
			   hub.host, a->stays ? "" : "Connection: close\r\n");

	stream_set_timeout(a->stream, LOAD_API_PATIENCE_MS);
	stream_write(a->stream, request, (size_t)len);
}

static void on_up(void *arg)
{
	ask(arg);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct asker *a = arg;
	size_t used;
	int rc = http_parse_feed(a->answer, data, len, &used);

	if (rc == 0)
		return;
	bool good = rc == 1 && http_parse_message(a->answer)->status == 200;
	if (good && a->stays)
		http_parse_next(a->answer);
	else
		end_connection(a);
	if (a->asked_us)
		note(a, good);
}

/* A kept connection that ends between two questions is no failure, and neither is that nobody listens: the hub was
 * restarted. Then what was asked is asked again. */
static void on_close(void *arg, int error)
{
	struct asker *a = arg;

	a->stream = NULL;
	end_connection(a);
	if (a->asked_us && error == -ECONNREFUSED)
		loop_timer_set(a->timer, loop_now_ms() + a->every_ms);
	else if (a->asked_us)
		note(a, false);
}

static void on_due(void *arg)
{
	static const struct stream_handler handler = { on_up, on_data, on_close, NULL };
	struct asker *a = arg;

	if (paused) {
		loop_timer_set(a->timer, loop_now_ms() + a->every_ms);
		return;
	}
	a->asked_us = load_now_us();
	if (a->stream) {
		ask(a);
		return;
	}
	a->answer = http_parse_create(HTTP_IS_RESPONSE, 1 << 20, NULL, NULL);
	if (!a->answer || stream_connect(&a->stream, loop, hub.host, hub.port, tls, &handler, a))
		abort();
}

static void *run(void *arg)
{
	(void)arg;
	loop = loop_create();
	if (!loop || tls_client_config(&tls, hub.pinned ? hub.pin : NULL))
		abort();
	kept.timer = loop_timer_create(loop, on_due, &kept);
	fresh.timer = loop_timer_create(loop, on_due, &fresh);
	loop_timer_set(kept.timer, 0);
	loop_timer_set(fresh.timer, 0);
	loop_run(loop);
	return NULL;
}

void load_api_start(const struct hub_url *url, const char *path)
{
	pthread_t thread;

	hub = *url;
	asked_path = path;
	if (pthread_create(&thread, NULL, run, NULL))
		abort();
}

void load_api_pause(bool pause)
{
	paused = pause;
}

void load_api_take(struct samples *of_kept, struct samples *of_fresh, unsigned *failed)
{
	pthread_mutex_lock(&lock);
	*of_kept = kept.samples;
	*of_fresh = fresh.samples;
	*failed = failures;
	kept.samples = fresh.samples = (struct samples) { 0 };
	failures = 0;
	pthread_mutex_unlock(&lock);
}
