#include "relay/hub_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/stream.h"
#include "relay/http_parse.h"
#include "relay/websocket.h"

enum {
	BACKOFF_FIRST_MS = 500,
	BACKOFF_MAX_MS = 30000,
	BACKOFF_MIN_MS = 100,
	ANSWER_BODY_MAX = 4096,
	UP_MAKES_GOOD = 5
};

struct hub_link {
	struct loop *loop;
	struct hub_url url;
	struct rng *rng;
	struct hub_link_handler handler;
	void *arg;
	struct tls_config *tls;
	struct proxy *proxy; /* NULL: without */
	struct loop_timer *retry;
	enum hub_link_state state;
	uint32_t spread_ms;
	uint64_t up_since_ms;
	uint64_t outage_since_ms; /* 0: never down yet, or kicked */
	struct stream *stream;
	struct http_parse *answer; /* to the upgrade */
	char accept[WEBSOCKET_ACCEPT_TEXT];
	struct websocket *ws; /* once up */
	int error;
	char text[HUB_LINK_TEXT];
	unsigned busy; /* callbacks under way: the memory stays until they return */
	bool dead;
};

/* A share of the outage, whatever the attempts cost: a hub that was away for seconds is found again within seconds, one
 * that was away for long is not stormed. Whom a hub with many nodes did not take yet comes again within half of the time
 * over which it wants them spread. */
uint32_t hub_link_backoff(uint64_t outage_ms, uint32_t spread_ms, struct rng *rng)
{
	uint64_t top = outage_ms / 3;

	if (top < BACKOFF_FIRST_MS)
		top = BACKOFF_FIRST_MS;
	if (top > BACKOFF_MAX_MS)
		top = BACKOFF_MAX_MS;
	uint32_t wait = BACKOFF_MIN_MS + rng_below(rng, (uint32_t)top - BACKOFF_MIN_MS + 1);
	uint32_t spread = rng_below(rng, (outage_ms ? spread_ms / 2 : spread_ms) + 1);
	return spread > wait ? spread : wait;
}

static void leave(struct hub_link *k)
{
	if (--k->busy == 0 && k->dead)
		free(k);
}

/* --- The end of a connection and the way to the next. */

static void drop_connection(struct hub_link *k, bool finish)
{
	websocket_destroy(k->ws);
	k->ws = NULL;
	http_parse_destroy(k->answer);
	k->answer = NULL;
	if (finish)
		stream_finish(k->stream);
	else
		stream_close(k->stream);
	k->stream = NULL;
}

/* What the proxy refused with. Tinyproxy has 401 for a wrong password. */
static void describe_refusal(struct hub_link *k, int status)
{
	bool login = status == 407 || status == 401;
	const struct proxy *p = k->proxy;
	const char *host = k->url.host;

	k->error = login ? -EACCES : -ECONNABORTED;
	if (status == STREAM_PROXY_NONSENSE)
		snprintf(k->text, sizeof k->text, "%.60s port %u answers, but not as an HTTP proxy", p->host,
			 p->port);
	else if (login && *p->credentials)
		snprintf(k->text, sizeof k->text,
			 "the proxy %.60s does not take this user and password: correct them with --proxy",
			 p->host);
	else if (login)
		snprintf(k->text, sizeof k->text,
			 "the proxy %.60s wants a user and password: write http://USER:PASSWORD@%.60s:%u "
			 "into a "
			 "file and give --proxy file:PATH",
			 p->host, p->host, p->port);
	else if (status == 403 || status == 405)
		snprintf(k->text, sizeof k->text,
			 "the proxy %.60s does not allow connections to %.60s port %u (HTTP status %d)",
			 p->host, host, k->url.port, status);
	else
		snprintf(k->text, sizeof k->text,
			 "the proxy %.60s cannot reach %.60s port %u (HTTP status %d)", p->host, host,
			 k->url.port, status);
}

/* The proxy itself was not reached, or has not answered. */
static void describe_proxy(struct hub_link *k, int error)
{
	const char *host = k->proxy->host;
	unsigned port = k->proxy->port;

	k->error = error;
	switch (error) {
	case -ENXIO: snprintf(k->text, sizeof k->text, "the proxy's name %.60s is not known", host); break;
	case -ECONNREFUSED:
		snprintf(k->text, sizeof k->text, "connection refused by the proxy %.60s port %u", host,
			 port);
		break;
	case -ETIMEDOUT:
		snprintf(k->text, sizeof k->text, "no answer from the proxy %.60s port %u", host, port);
		break;
	case -ECONNRESET:
		snprintf(k->text, sizeof k->text, "the proxy %.60s port %u closed the connection", host,
			 port);
		break;
	default:
		snprintf(k->text, sizeof k->text, "the proxy %.60s cannot be reached: %s", host,
			 strerror(-error));
	}
}

static void describe(struct hub_link *k, int error, const char *detail)
{
	const char *host = k->url.host;
	unsigned port = k->url.port;

	k->error = error;
	switch (error) {
	case 0: snprintf(k->text, sizeof k->text, "the hub %.60s closed the link", host); break;
	case -ENXIO: snprintf(k->text, sizeof k->text, "the hub's name %.60s is not known", host); break;
	case -ECONNREFUSED:
		snprintf(k->text, sizeof k->text, "connection refused by %.60s port %u: does the hub run?",
			 host, port);
		break;
	case -ETIMEDOUT:
		snprintf(k->text, sizeof k->text, "no answer from the hub %.60s port %u", host, port);
		break;
	case -EKEYREJECTED:
		snprintf(
			k->text, sizeof k->text,
			"%.60s has another key than the URL's pin says: compare with `p2phub url` on the hub",
			host);
		break;
	case -ENOKEY:
		snprintf(k->text, sizeof k->text,
			 "the certificate of %.60s is not trusted: use the URL that `p2phub url` prints, "
			 "with its pin",
			 host);
		break;
	case -EPROTO:
		snprintf(k->text, sizeof k->text, "TLS with %.60s failed%s%.80s", host, *detail ? ": " : "",
			 detail);
		break;
	case -EBADMSG:
		snprintf(k->text, sizeof k->text, "%.60s port %u answers, but not as a hub%s%.80s", host,
			 port, *detail ? ": " : "", detail);
		break;
	default:
		snprintf(k->text, sizeof k->text, "the hub %.60s cannot be reached: %s", host,
			 strerror(-error));
	}
}

/* What k->error and k->text tell is gone, or is to go: say so, and wait. */
static void wait_again(struct hub_link *k)
{
	uint64_t now = loop_now_ms();
	uint64_t up_ms = k->state == HUB_LINK_UP ? now - k->up_since_ms : 0;

	drop_connection(k, true);
	k->state = HUB_LINK_WAITING;
	/* Each second up makes good for some down: a hub that closes every link at once is still asked less and less. */
	uint64_t since = k->outage_since_ms ? k->outage_since_ms + up_ms * UP_MAKES_GOOD : now;
	k->outage_since_ms = since < now ? since : now;
	/* Silence says nothing of the hub: it is this node's network as well. */
	uint32_t spread_ms = k->error == -ETIMEDOUT || k->error == -ENETDOWN ? 0 : k->spread_ms;
	uint32_t wait = hub_link_backoff(now - k->outage_since_ms, spread_ms, k->rng);
	loop_timer_set(k->retry, now + wait);
	log_debug("hub", "%s; trying again in %u ms", k->text, wait);
	k->handler.on_down(k->arg, k->error, k->text);
}

static void go_down(struct hub_link *k, int error, const char *detail)
{
	describe(k, error, detail);
	wait_again(k);
}

/* --- A connection's life: up, asking for the upgrade, messages. */

static int write_stream(void *arg, const uint8_t *data, size_t len)
{
	struct hub_link *k = arg;

	if (stream_queued(k->stream) > HUB_LINK_QUEUE_MAX)
		return -ENOBUFS;
	return stream_write(k->stream, data, len);
}

static void got_message(void *arg, const uint8_t *msg, size_t len)
{
	struct hub_link *k = arg;

	if (!k->dead)
		k->handler.on_message(k->arg, msg, len);
}

static void receive_frames(struct hub_link *k, const uint8_t *data, size_t len)
{
	stream_set_timeout(k->stream, HUB_LINK_SILENT_MS);
	int rc = websocket_receive(k->ws, data, len);
	if (rc && !k->dead && k->state == HUB_LINK_UP)
		go_down(k, rc == -ECONNRESET ? 0 : rc, "");
}

/* A proxy's own address must not be taken for the hub's: what the hub announces for UDP is there, and what it may name is
 * judged by that. */
static struct addr hub_addr(const struct hub_link *k)
{
	struct addr a;

	if (!k->proxy)
		return *stream_remote(k->stream);
	return addr_parse(&a, k->url.host, k->url.port) == 0 ? a : (struct addr) { 0 };
}

static void become_up(struct hub_link *k, const uint8_t *rest, size_t len)
{
	static const struct websocket_handler ws_handler = { write_stream, got_message };

	http_parse_destroy(k->answer);
	k->answer = NULL;
	k->ws = websocket_create(WEBSOCKET_CLIENT, k->rng, &ws_handler, k);
	if (!k->ws) {
		go_down(k, -ENOMEM, "");
		return;
	}
	k->state = HUB_LINK_UP;
	k->up_since_ms = loop_now_ms();
	k->error = 0;
	k->text[0] = 0;
	stream_set_timeout(k->stream, HUB_LINK_SILENT_MS);
	struct addr remote = hub_addr(k);
	k->handler.on_up(k->arg, stream_exporter(k->stream), &remote);
	if (len && k->ws)
		receive_frames(k, rest, len);
}

static bool is_our_upgrade(const struct hub_link *k, const struct http_message *m)
{
	const char *accept = http_header(m, "sec-websocket-accept");

	return m->status == 101 && accept && !strcmp(accept, k->accept) &&
	       http_header_has(m, "upgrade", "websocket") && http_header_has(m, "connection", "upgrade");
}

static void receive_answer(struct hub_link *k, const uint8_t *data, size_t len)
{
	size_t used;
	int rc = http_parse_feed(k->answer, data, len, &used);
	char detail[32] = "";

	if (rc == 0)
		return;
	const struct http_message *m = http_parse_message(k->answer);
	if (rc == 1 && is_our_upgrade(k, m)) {
		become_up(k, data + used, len - used);
		return;
	}
	if (rc == 1)
		snprintf(detail, sizeof detail, "HTTP status %d", m->status);
	go_down(k, -EBADMSG, detail);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct hub_link *k = arg;

	k->busy++;
	if (k->ws)
		receive_frames(k, data, len);
	else
		receive_answer(k, data, len);
	leave(k);
}

static int ask_for_upgrade(struct hub_link *k)
{
	char request[1024], key[WEBSOCKET_KEY_TEXT];
	bool ip6 = strchr(k->url.host, ':');

	websocket_make_key(key, k->rng);
	websocket_accept(k->accept, key);
	k->answer = http_parse_create(HTTP_IS_RESPONSE, ANSWER_BODY_MAX, NULL, NULL);
	if (!k->answer)
		return -ENOMEM;
	int len = snprintf(
		request, sizeof request,
		"GET %s/link HTTP/1.1\r\nHost: %s%s%s:%u\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		k->url.path, ip6 ? "[" : "", k->url.host, ip6 ? "]" : "", k->url.port, key);
	return stream_write(k->stream, request, (size_t)len);
}

static void on_stream_up(void *arg)
{
	struct hub_link *k = arg;

	k->busy++;
	int rc = ask_for_upgrade(k);
	if (rc)
		go_down(k, rc, "");
	else
		stream_set_timeout(k->stream, HUB_LINK_UPGRADE_MS);
	leave(k);
}

static void on_stream_close(void *arg, int error)
{
	struct hub_link *k = arg;
	char detail[96];

	k->busy++;
	int proxy_status = stream_proxy_status(k->stream);
	snprintf(detail, sizeof detail, "%.90s", stream_error_text(k->stream));
	k->stream = NULL;
	if (error == 0 && k->state != HUB_LINK_UP)
		error = -EBADMSG;
	if (proxy_status == STREAM_PROXY_THROUGH)
		describe(k, error, detail);
	else if (proxy_status == STREAM_PROXY_SILENT)
		describe_proxy(k, error);
	else
		describe_refusal(k, proxy_status);
	wait_again(k);
	leave(k);
}

static void connect_now(void *arg)
{
	static const struct stream_handler stream_handler = { on_stream_up, on_data, on_stream_close };
	struct hub_link *k = arg;

	k->busy++;
	loop_timer_set(k->retry, UINT64_MAX);
	k->state = HUB_LINK_CONNECTING;
	int rc = stream_connect_via(&k->stream, k->loop, k->proxy, k->url.host, k->url.port, k->tls,
				    &stream_handler, k);
	if (rc)
		go_down(k, rc, "");
	leave(k);
}

/* --- The owner's side. */

static void forget_proxy(struct hub_link *k)
{
	if (k->proxy)
		crypto_wipe(k->proxy, sizeof *k->proxy);
	free(k->proxy);
	k->proxy = NULL;
}

int hub_link_create(struct hub_link **out, struct loop *l, const struct hub_url *url, struct rng *rng,
		    const struct hub_link_handler *handler, void *arg)
{
	struct hub_link *k = calloc(1, sizeof *k);

	*out = NULL;
	if (!k)
		return -ENOMEM;
	*k = (struct hub_link) { .loop = l, .url = *url, .rng = rng, .handler = *handler, .arg = arg };
	int rc = tls_client_config(&k->tls, url->pinned ? url->pin : NULL);
	k->retry = rc ? NULL : loop_timer_create(l, connect_now, k);
	if (!k->retry) {
		tls_config_destroy(k->tls);
		free(k);
		return rc ? rc : -ENOMEM;
	}
	loop_timer_set(k->retry, 0);
	*out = k;
	return 0;
}

int hub_link_use_proxy(struct hub_link *k, const struct proxy *proxy)
{
	struct proxy *copy = proxy ? malloc(sizeof *copy) : NULL;

	if (proxy && !copy)
		return -ENOMEM;
	if (proxy)
		*copy = *proxy;
	forget_proxy(k);
	k->proxy = copy;
	return 0;
}

void hub_link_destroy(struct hub_link *k)
{
	if (!k)
		return;
	k->busy++;
	k->dead = true;
	k->state = HUB_LINK_WAITING;
	if (k->ws)
		websocket_close(k->ws, WEBSOCKET_GOING_AWAY);
	drop_connection(k, true);
	loop_timer_destroy(k->retry);
	tls_config_destroy(k->tls);
	forget_proxy(k);
	leave(k);
}

int hub_link_send(struct hub_link *k, const void *msg, size_t len)
{
	return k->state == HUB_LINK_UP && k->ws ? websocket_send(k->ws, msg, len) : -ENOTCONN;
}

void hub_link_spread(struct hub_link *k, uint32_t spread_ms)
{
	k->spread_ms = spread_ms < HUB_LINK_SPREAD_MAX_MS ? spread_ms : HUB_LINK_SPREAD_MAX_MS;
}

int hub_link_send_data(struct hub_link *k, const void *msg, size_t len)
{
	if (k->state == HUB_LINK_UP && stream_queued(k->stream) + len > HUB_LINK_DATA_MAX)
		return -ENOBUFS;
	return hub_link_send(k, msg, len);
}

void hub_link_kick(struct hub_link *k)
{
	k->outage_since_ms = 0;
	if (k->state == HUB_LINK_UP) {
		websocket_ping(k->ws);
		stream_set_timeout(k->stream, HUB_LINK_KICKED_MS);
		return;
	}
	drop_connection(k, false);
	k->state = HUB_LINK_WAITING;
	loop_timer_set(k->retry, 0);
}

void hub_link_renew(struct hub_link *k)
{
	k->busy++;
	if (k->state == HUB_LINK_UP)
		go_down(k, -ENETDOWN, "");
	if (!k->dead)
		hub_link_kick(k);
	leave(k);
}

struct addr hub_link_local(const struct hub_link *k)
{
	return k->stream ? stream_local(k->stream) : (struct addr) { 0 };
}

enum hub_link_state hub_link_state(const struct hub_link *k)
{
	return k->state;
}

int hub_link_error(const struct hub_link *k, const char **text)
{
	*text = k->text;
	return k->error;
}
