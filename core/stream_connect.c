/* Connecting: look the name up, then try its addresses one after the other; where those are a proxy's, have it connect
 * us to the host. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "core/crypto.h"
#include "core/stream_impl.h"

enum { ADDRESSES_MAX = 8 };

/* Lives as long as the look-up, whose thread cannot be stopped, or the stream's connecting: whichever ends last. */
struct stream_connecting {
	uv_getaddrinfo_t lookup;
	struct stream *stream; /* NULL once it has gone */
	bool looking_up;
	struct addr address[ADDRESSES_MAX];
	unsigned count, next;
	uint16_t port;
	uint64_t until_ms;
	int error;	       /* of the last attempt */
	struct tunnel *tunnel; /* NULL: without a proxy */
	struct addr local;     /* ADDR_NONE: the system chooses */
	char device[STREAM_DEVICE_MAX + 1];
};

struct tunnel {
	size_t request_len;
	char request[PROXY_REQUEST_MAX];
	struct proxy_answer answer;
};

static void try_next(struct stream_connecting *c);

/* The request holds the password. */
static void tunnel_free(struct tunnel *t)
{
	if (t)
		crypto_wipe(t, sizeof *t);
	free(t);
}

void stream_connecting_free(struct stream_connecting *c)
{
	if (!c)
		return;
	c->stream = NULL;
	tunnel_free(c->tunnel);
	c->tunnel = NULL;
	if (!c->looking_up)
		free(c);
}

/* The host is reached: the stream goes on as if it had been connected to directly. */
static void transport_up(struct stream *s)
{
	struct stream_connecting *c = s->connecting;

	s->connecting = NULL;
	stream_connecting_free(c);
	stream_start(s);
}

static void ask_proxy(struct stream *s)
{
	const struct tunnel *t = s->connecting->tunnel;
	int rc = stream_read_start(s);

	if (rc == 0)
		rc = stream_send_raw(s, (const uint8_t *)t->request, t->request_len);
	loop_timer_set(s->timer, s->connecting->until_ms);
	if (rc)
		stream_fail(s, rc);
}

void stream_connecting_received(struct stream *s, const uint8_t *data, size_t len)
{
	struct proxy_answer *answer = &s->connecting->tunnel->answer;
	size_t used;
	int rc = proxy_answer_feed(answer, data, len, &used);

	if (rc == 0)
		return;
	if (rc == 1 && answer->status < 300) {
		s->proxy_status = STREAM_PROXY_THROUGH;
		transport_up(s);
		if (len > used && (s->state == STREAM_HANDSHAKE || s->state == STREAM_UP))
			stream_received(s, data + used, len - used);
		return;
	}
	s->proxy_status = rc == 1 ? answer->status : STREAM_PROXY_NONSENSE;
	stream_fail(s, -ECONNABORTED);
}

static void connected(uv_connect_t *request, int status)
{
	struct stream *s = ((struct stream_io *)request->handle)->owner;

	free(request);
	if (!s)
		return;
	struct stream_connecting *c = s->connecting;
	if (status) {
		c->error = status;
		try_next(c);
		return;
	}
	s->remote = c->address[c->next - 1];
	stream_io_tune(s->io);
	if (c->tunnel)
		ask_proxy(s);
	else
		transport_up(s);
}

static int start_attempt(struct stream *s, const struct addr *to)
{
	struct sockaddr_storage sa;
	uv_connect_t *request = malloc(sizeof *request);

	if (!request)
		return -ENOMEM;
	addr_to_sockaddr(to, &sa);
	s->io = stream_io_create(s->loop, false, sa.ss_family);
	if (s->io)
		s->io->owner = s;
	int rc = s->io ? 0 : -ENOMEM;
	if (rc == 0 && s->connecting->local.family != ADDR_NONE)
		rc = stream_io_bind(s->io, s->connecting->device, &s->connecting->local);
	if (rc == 0)
		rc = uv_tcp_connect(request, &s->io->tcp, (struct sockaddr *)&sa, connected);
	if (rc)
		free(request);
	return rc;
}

static void try_next(struct stream_connecting *c)
{
	struct stream *s = c->stream;
	uint64_t now = loop_now_ms();

	while (c->next < c->count && now < c->until_ms) {
		stream_io_close(s->io);
		s->io = NULL;
		c->error = start_attempt(s, &c->address[c->next++]);
		if (c->error)
			continue;
		bool last = c->next == c->count || now + STREAM_ATTEMPT_MS > c->until_ms;
		loop_timer_set(s->timer, last ? c->until_ms : now + STREAM_ATTEMPT_MS);
		return;
	}
	stream_fail(s, c->error ? c->error : -ENXIO);
}

/* The stream's timer while connecting: this attempt took too long. */
void stream_connecting_timed_out(struct stream *s)
{
	s->connecting->error = -ETIMEDOUT;
	if (s->connecting->looking_up)
		stream_fail(s, -ENXIO);
	else if (s->remote.family) /* connected, but the proxy does not answer */
		stream_fail(s, -ETIMEDOUT);
	else
		try_next(s->connecting);
}

static void looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
	struct stream_connecting *c = (struct stream_connecting *)lookup;

	c->looking_up = false;
	for (struct addrinfo *i = status ? NULL : found; i && c->count < ADDRESSES_MAX; i = i->ai_next) {
		struct addr a = addr_from_sockaddr(i->ai_addr);
		a.port = c->port;
		if (a.family != ADDR_NONE)
			c->address[c->count++] = a;
	}
	uv_freeaddrinfo(found);
	if (!c->stream)
		free(c);
	else
		try_next(c);
}

/* A literal address needs no look-up, but its outcome, too, comes by callback: the timer is due at once. */
static int start(struct stream_connecting *c, struct stream *s, const char *host)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };

	c->until_ms = loop_now_ms() + STREAM_CONNECT_MS;
	if (addr_parse(&c->address[0], host, c->port) == 0) {
		c->address[0].port = c->port;
		c->count = 1;
		loop_timer_set(s->timer, 0);
		return 0;
	}
	loop_timer_set(s->timer, c->until_ms);
	int rc = uv_getaddrinfo(loop_uv(s->loop), &c->lookup, looked_up, host, NULL, &hints);
	c->looking_up = rc == 0;
	return rc;
}

static int add_tunnel(struct stream_connecting *c, const struct proxy *proxy, const char *host, uint16_t port)
{
	struct tunnel *t = calloc(1, sizeof *t);

	if (!t)
		return -ENOMEM;
	c->tunnel = t;
	c->port = proxy->port;
	c->stream->proxy_status = STREAM_PROXY_SILENT;
	t->request_len = proxy_request(proxy, host, port, t->request);
	return 0;
}

int stream_connect_via(struct stream **out, struct loop *l, const struct proxy *proxy, const char *host,
		       uint16_t port, struct tls_config *tls, const struct stream_handler *handler, void *arg)
{
	*out = NULL;
	if (!*host || strlen(host) > STREAM_HOST_MAX || port == 0)
		return -EINVAL;
	struct stream_connecting *c = calloc(1, sizeof *c);
	struct stream *s = c ? stream_create(l, tls, host) : NULL;
	if (!s) {
		free(c);
		return -ENOMEM;
	}
	s->connecting = c;
	c->stream = s;
	c->port = port;
	int rc = proxy ? add_tunnel(c, proxy, host, port) : 0;
	if (rc == 0)
		rc = start(c, s, proxy ? proxy->host : host);
	if (rc) {
		stream_close(s);
		return rc;
	}
	stream_attach(s, handler, arg);
	*out = s;
	return 0;
}

int stream_connect(struct stream **out, struct loop *l, const char *host, uint16_t port,
		   struct tls_config *tls, const struct stream_handler *handler, void *arg)
{
	return stream_connect_via(out, l, NULL, host, port, tls, handler, arg);
}

int stream_connect_by(struct stream **out, struct loop *l, const char *device, const struct addr *local,
		      const struct addr *to, const struct stream_handler *handler, void *arg)
{
	char host[ADDR_TEXT_MAX];

	*out = NULL;
	if (strlen(device) > STREAM_DEVICE_MAX || local->family == ADDR_NONE || local->family != to->family)
		return -EINVAL;
	int rc = stream_connect(out, l, addr_format_ip(to, host), to->port, NULL, handler, arg);
	if (rc)
		return rc;
	struct stream_connecting *c = (*out)->connecting; /* the attempt is made in the loop's next turn */
	strcpy(c->device, device);
	c->local = *local;
	c->local.port = 0;
	return 0;
}
