#include "apps/p2pd/forward/forward_door.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/read_token.h"
#include "core/bucket.h"
#include "core/stream.h"

enum {
	GUESSES_PER_S = 5, /* refused ones; no token is found that way, and the audit stays short */
	GUESSES_BURST = 20,
	HOST_TEXT = 64,
};

struct forward_door {
	struct http_server *http;
	struct stream_listener *listener;
	struct forwarder *forwarder;
	struct forward_api *api;
	struct bucket guesses;
};

static bool is_local_name(const char *host)
{
	static const char name[] = "localhost";
	size_t len = sizeof name - 1;
	struct addr a;

	if (!host || strlen(host) >= HOST_TEXT)
		return false;
	if (!strncmp(host, name, len) && (!host[len] || host[len] == ':'))
		return true;
	return addr_parse(&a, host, 1) == 0 && addr_is_loopback(&a);
}

/* Who has the token is never kept waiting by those who guess: any user of this machine can. */
static void refuse(struct forward_door *d, struct http_exchange *x, int status, const char *text)
{
	if (!bucket_take(&d->guesses, GUESSES_PER_S, GUESSES_BURST, loop_now_ms())) {
		http_answer_error(x, 429, "denied", "too many requests without the token: try again later");
		return;
	}
	struct addr from = http_remote(x);
	char actor[ADDR_TEXT_MAX];

	forwarder_audit(d->forwarder, AUDIT_API_REFUSE, AUDIT_REFUSED, NULL, addr_format(&from, actor), text);
	http_answer_error(x, status, "denied", "%s", text);
}

static void on_request(void *arg, struct http_exchange *x)
{
	struct forward_door *d = arg;
	const struct http_message *m = http_request(x);
	int dir = forwarder_config(d->forwarder)->state_dir;

	if (!is_local_name(http_header(m, "Host")) || http_header(m, "Origin"))
		refuse(d, x, 403, "this is no place for web pages: ask by 127.0.0.1 or localhost");
	else if (!read_token_fits(dir, http_header(m, "Authorization")))
		refuse(d, x, 401,
		       "the token of `p2pd portmap api-token` is needed, as Authorization: Bearer TOKEN");
	else
		forward_api_handle(d->api, x, true);
}

static const struct http_route routes[] = { { "*", FORWARD_API_PATH, on_request } };

int forward_door_open(struct forward_door **out, struct loop *l, const struct addr *at, struct forwarder *f,
		      struct forward_api *api)
{
	struct forward_door *d = addr_is_loopback(at) ? calloc(1, sizeof *d) : NULL;

	if (!d)
		return addr_is_loopback(at) ? -ENOMEM : -EINVAL;
	*d = (struct forward_door) { .forwarder = f, .api = api };
	d->http = http_server_create(l, routes, sizeof routes / sizeof *routes, d);
	int ret = d->http ? stream_listen(&d->listener, l, at, NULL, http_server_accept, d->http) : -ENOMEM;
	if (ret)
		forward_door_close(d);
	else
		*out = d;
	return ret;
}

void forward_door_close(struct forward_door *d)
{
	if (!d)
		return;
	stream_listener_close(d->listener);
	http_server_destroy(d->http);
	free(d);
}
