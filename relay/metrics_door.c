#include "relay/metrics_door.h"

#include <errno.h>
#include <stdlib.h>

#include "core/stream.h"
#include "relay/http.h"
#include "relay/metrics_http.h"

struct metrics_door {
	struct http_server *http;
	struct stream_listener *listener;
	void (*write)(void *arg, struct metrics *m);
	void *arg;
};

static void on_metrics(void *arg, struct http_exchange *x)
{
	struct metrics_door *d = arg;

	metrics_http_answer(x, d->write, d->arg);
}

static const struct http_route routes[] = { { "GET", "/metrics", on_metrics } };

int metrics_door_open(struct metrics_door **out, struct loop *l, const struct addr *at,
		      void (*write)(void *arg, struct metrics *m), void *arg)
{
	struct metrics_door *d = calloc(1, sizeof *d);

	if (!d)
		return -ENOMEM;
	*d = (struct metrics_door) { .write = write, .arg = arg };
	d->http = http_server_create(l, routes, sizeof routes / sizeof *routes, d);
	int ret = d->http ? stream_listen(&d->listener, l, at, NULL, http_server_accept, d->http) : -ENOMEM;
	if (ret)
		metrics_door_close(d);
	else
		*out = d;
	return ret;
}

void metrics_door_close(struct metrics_door *d)
{
	if (!d)
		return;
	stream_listener_close(d->listener);
	http_server_destroy(d->http);
	free(d);
}
