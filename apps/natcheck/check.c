#include "apps/natcheck/check.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop.h"

enum {
	FIRST_RTO_MS = 250, /* three retransmissions fit into the 3 s of a verdict */
	BATCH = 64,	    /* datagrams between two looks at the clock: a flood must not hold us */
};

/* One socket for each family: what is compared are mappings of the same local port. */
struct sockets {
	struct pollfd ip4, ip6; /* fd -1: not needed */
};

/* --- Servers. */

static bool is_known(const struct check *c, const struct addr *a)
{
	for (size_t i = 0; i < c->count; i++) {
		if (addr_equal(&c->servers[i].client.server, a))
			return true;
	}
	return false;
}

int check_add_server(struct check *c, const char *host, const char *port, enum addr_family family)
{
	static const int system_family[] = {
		[ADDR_NONE] = AF_UNSPEC, [ADDR_V4] = AF_INET, [ADDR_V6] = AF_INET6
	};
	struct addrinfo hints = { .ai_family = system_family[family], .ai_socktype = SOCK_DGRAM };
	struct addrinfo *found;
	int ret = getaddrinfo(host, port, &hints, &found);

	if (ret)
		return ret;
	for (struct addrinfo *ai = found; ai && c->count < CHECK_MAX_SERVERS; ai = ai->ai_next) {
		struct addr a = addr_from_sockaddr(ai->ai_addr);
		if (!is_known(c, &a))
			c->servers[c->count++].client.server = a;
	}
	freeaddrinfo(found);
	return 0;
}

/* --- Sockets. */

static int open_socket(const struct addr *bind_to)
{
	struct sockaddr_storage sa;
	unsigned len = addr_to_sockaddr(bind_to, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	if (bind_to->family == ADDR_V6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&sa, len)) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static struct addr local_address(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;

	if (getsockname(fd, (struct sockaddr *)&sa, &len))
		return (struct addr) { 0 };
	return addr_from_sockaddr((struct sockaddr *)&sa);
}

/* The source that the system would choose: a connected UDP socket knows it without a packet. ADDR_NONE: no route. */
static struct addr local_towards(const struct addr *server, uint16_t port)
{
	struct addr any = { .family = server->family }, local = { 0 };
	struct sockaddr_storage sa;
	unsigned len = addr_to_sockaddr(server, &sa);
	int fd = open_socket(&any);

	if (fd < 0)
		return local;
	if (!connect(fd, (struct sockaddr *)&sa, len)) {
		local = local_address(fd);
		local.port = port;
	}
	close(fd);
	return local;
}

static struct pollfd *socket_for(struct sockets *s, const struct addr *server)
{
	return server->family == ADDR_V4 ? &s->ip4 : &s->ip6;
}

static int open_for(struct sockets *s, const struct addr *server)
{
	struct pollfd *p = socket_for(s, server);
	struct addr any = { .family = server->family };

	if (p->fd >= 0)
		return 0;
	int fd = open_socket(&any);
	if (fd == -EAFNOSUPPORT) /* a machine without IPv6: its servers are unreachable, that is all */
		return 0;
	if (fd < 0)
		return fd;
	*p = (struct pollfd) { .fd = fd, .events = POLLIN };
	return 0;
}

static void close_all(struct sockets *s)
{
	if (s->ip4.fd >= 0)
		close(s->ip4.fd);
	if (s->ip6.fd >= 0)
		close(s->ip6.fd);
}

/* --- Asking. */

static int start(struct check *c, struct sockets *s, struct rng *rng, uint64_t now_ms)
{
	for (size_t i = 0; i < c->count; i++) {
		struct check_server *server = &c->servers[i];
		struct addr to = server->client.server;
		int ret = open_for(s, &to), fd = socket_for(s, &to)->fd;

		if (ret)
			return ret;
		server->local = fd < 0 ? (struct addr) { 0 } : local_towards(&to, local_address(fd).port);
		if (server->local.family == ADDR_NONE)
			continue;
		server->answer = CHECK_SILENT;
		stun_client_start(&server->client, &to, FIRST_RTO_MS, rng, now_ms);
	}
	return 0;
}

/* A request that cannot be sent counts like one that was lost. */
static void send_due(struct check *c, struct sockets *s, uint64_t now_ms)
{
	for (size_t i = 0; i < c->count; i++) {
		struct stun_client *client = &c->servers[i].client;
		struct sockaddr_storage sa;
		uint8_t msg[STUN_MAX];
		size_t len = stun_client_next(client, now_ms, msg);

		if (!len)
			continue;
		unsigned sa_len = addr_to_sockaddr(&client->server, &sa);
		sendto(socket_for(s, &client->server)->fd, msg, len, 0, (struct sockaddr *)&sa, sa_len);
	}
}

/* When something is due; UINT64_MAX when nothing is awaited any more. */
static uint64_t next_due(const struct check *c)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < c->count; i++) {
		uint64_t d = stun_client_deadline(&c->servers[i].client);
		due = d < due ? d : due;
	}
	return due;
}

static void on_datagram(struct check_server *s, const uint8_t *msg, size_t len, const struct addr *from,
			uint64_t now_ms)
{
	if (s->answer == CHECK_ANSWERED || !addr_equal(from, &s->client.server))
		return;
	stun_client_on_message(&s->client, msg, len, from, now_ms);
	s->answer = s->client.state == STUN_DONE ? CHECK_ANSWERED : CHECK_STRANGE;
}

static void receive(struct check *c, const struct pollfd *p)
{
	uint8_t msg[1500];
	struct sockaddr_storage sa;

	if (p->fd < 0 || !p->revents)
		return;
	for (unsigned n = 0; n < BATCH; n++) {
		socklen_t sa_len = sizeof sa;
		ssize_t len = recvfrom(p->fd, msg, sizeof msg, 0, (struct sockaddr *)&sa, &sa_len);
		if (len < 0)
			return;
		struct addr from = addr_from_sockaddr((struct sockaddr *)&sa);
		for (size_t i = 0; i < c->count; i++)
			on_datagram(&c->servers[i], msg, (size_t)len, &from, loop_now_ms());
	}
}

static void ask(struct check *c, struct sockets *s, uint64_t end_ms)
{
	for (;;) {
		uint64_t now = loop_now_ms();
		send_due(c, s, now);
		uint64_t due = next_due(c);
		if (due == UINT64_MAX || now >= end_ms)
			return;
		due = due < end_ms ? due : end_ms;
		struct pollfd fds[] = { s->ip4, s->ip6 };
		poll(fds, 2, due > now ? (int)(due - now) : 0);
		receive(c, &fds[0]);
		receive(c, &fds[1]);
	}
}

/* --- Judging. */

static struct check_view view_of(const struct check *c, enum addr_family family)
{
	struct classify_sample samples[CHECK_MAX_SERVERS] = { 0 };
	struct check_view view = { 0 };
	size_t answers = 0;
	bool strange = false;

	for (size_t i = 0; i < c->count; i++) {
		const struct check_server *s = &c->servers[i];
		if (s->client.server.family != family || s->answer == CHECK_UNREACHABLE)
			continue;
		view.tried = true;
		strange |= s->answer == CHECK_STRANGE;
		if (s->answer == CHECK_ANSWERED)
			samples[answers++] = (struct classify_sample) { s->local, s->client.server,
									s->client.mapped };
	}
	view.nat = classify(samples, answers);
	if (answers) {
		view.udp = CHECK_UDP_OK;
		view.local = samples[0].local;
		view.mapped = samples[0].mapped;
	} else if (view.tried && !strange) {
		view.udp = CHECK_UDP_BLOCKED;
	}
	return view;
}

int check_run(struct check *c, uint32_t timeout_ms, struct rng *rng)
{
	struct sockets s = { { .fd = -1 }, { .fd = -1 } };
	uint64_t now = loop_now_ms();
	int ret = start(c, &s, rng, now);

	if (!ret)
		ask(c, &s, now + timeout_ms);
	close_all(&s);
	c->ip4 = view_of(c, ADDR_V4);
	c->ip6 = view_of(c, ADDR_V6);
	return ret;
}

const struct check_view *check_main_view(const struct check *c)
{
	if (c->ip4.udp == CHECK_UDP_OK)
		return &c->ip4;
	return c->ip6.udp == CHECK_UDP_OK || !c->ip4.tried ? &c->ip6 : &c->ip4;
}

enum check_verdict check_verdict(const struct check *c)
{
	const struct check_view *view = check_main_view(c);

	if (view->udp == CHECK_UDP_BLOCKED)
		return CHECK_BLOCKED;
	struct verdict verdict = { .mapping = view->nat.mapping };
	if (verdict_is_easy(&verdict))
		return CHECK_EASY;
	return verdict_is_hard(&verdict) ? CHECK_HARD : CHECK_INCONCLUSIVE;
}
