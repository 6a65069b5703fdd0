#include "nat/hops.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>

#include "core/crypto.h"
#include "nat/stun.h"

/* A socket for each TTL: an ICMP error need not quote enough of a packet to tell more than the socket's tuple.
 * The first half of the TTLs goes out at once, the other when the server was not found that near. */
enum {
	WAVE = HOPS_MAX / 2,
	SECOND_WAVE_MS = 300,
	REPEAT_MS = 500,
	SILENT_MS =
		600, /* how long to wait for silent routers once the way's end is known: they are asked again */
	ICMP_TIME_EXCEEDED = 11,
	ICMP6_TIME_EXCEEDED = 3,
};

struct probe {
	int fd;
	uint64_t due_ms;
	bool answered, end; /* by a router, or by what is no router on the way */
	struct addr router;
};

struct trace {
	struct probe probes[HOPS_MAX];
	uint8_t request[STUN_MAX];
	size_t len;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int set_options(int fd, enum addr_family family, int ttl)
{
	const int on = 1;

	if (family == ADDR_V4)
		return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on) ||
		       setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
	return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on) ||
	       setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof ttl);
}

static int open_probe(const struct addr *server, int ttl)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(server, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (set_options(fd, server->family, ttl) || connect(fd, (struct sockaddr *)&sa, len)) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static void make_request(struct trace *t)
{
	struct stun_msg request = { .cls = STUN_REQUEST, .method = STUN_BINDING };
	struct rng rng;

	rng_init_system(&rng);
	rng_fill(&rng, request.txid, sizeof request.txid);
	t->len = (size_t)stun_encode(&request, false, t->request, sizeof t->request);
}

static int open_all(struct trace *t, const struct addr *server, uint64_t start_ms)
{
	for (int i = 0; i < HOPS_MAX; i++) {
		struct probe *p = &t->probes[i];
		p->due_ms = start_ms + (i < WAVE ? 0 : SECOND_WAVE_MS);
		p->fd = open_probe(server, i + 1);
		if (p->fd < 0)
			return p->fd;
	}
	return 0;
}

static void close_all(struct trace *t)
{
	for (int i = 0; i < HOPS_MAX; i++) {
		if (t->probes[i].fd >= 0)
			close(t->probes[i].fd);
	}
}

/* --- Hearing */

static void on_icmp(struct probe *p, const struct sock_extended_err *e)
{
	bool ip4 = e->ee_origin == SO_EE_ORIGIN_ICMP, ip6 = e->ee_origin == SO_EE_ORIGIN_ICMP6;

	if (!ip4 && !ip6)
		return;
	p->answered = true;
	if (e->ee_type == (ip4 ? ICMP_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED))
		p->router = addr_from_sockaddr(SO_EE_OFFENDER(e));
	else
		p->end = true;
}

static void read_error(struct probe *p)
{
	char control[512];
	struct msghdr m = { .msg_control = control, .msg_controllen = sizeof control };

	if (recvmsg(p->fd, &m, MSG_ERRQUEUE) < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		bool ip4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
		bool ip6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
		struct sock_extended_err e;
		if ((ip4 || ip6) && c->cmsg_len >= CMSG_LEN(sizeof e + sizeof(struct sockaddr_in)))
			on_icmp(p, (struct sock_extended_err *)CMSG_DATA(c));
	}
}

static void hear(struct probe *p, short revents)
{
	char answer[1];

	if (revents & POLLERR)
		read_error(p);
	if (revents & POLLIN && recv(p->fd, answer, sizeof answer, 0) >= 0)
		p->answered = p->end = true;
}

static bool is_end(const struct probe *p)
{
	return p->end || (p->router.family != ADDR_NONE && !addr_is_private(&p->router));
}

/* The number of the first that ended the way; HOPS_MAX when none did. */
static unsigned end_of(const struct trace *t)
{
	unsigned i = 0;

	while (i < HOPS_MAX && !is_end(&t->probes[i]))
		i++;
	return i;
}

static bool all_answered(const struct trace *t, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!t->probes[i].answered)
			return false;
	}
	return true;
}

/* --- Asking */

/* What is beyond the end is not asked. When the next is due. */
static uint64_t send_due(struct trace *t, unsigned end, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < end; i++) {
		struct probe *p = &t->probes[i];
		if (p->answered)
			continue;
		if (now >= p->due_ms) {
			send(p->fd, t->request, t->len, 0);
			p->due_ms = now + REPEAT_MS;
		}
		next = p->due_ms < next ? p->due_ms : next;
	}
	return next;
}

static void wait_until(struct trace *t, uint64_t until)
{
	struct pollfd fds[HOPS_MAX];
	uint64_t now = now_ms();

	for (int i = 0; i < HOPS_MAX; i++)
		fds[i] = (struct pollfd) { .fd = t->probes[i].answered ? -1 : t->probes[i].fd,
					   .events = POLLIN };
	if (poll(fds, HOPS_MAX, until > now ? (int)(until - now) : 0) <= 0)
		return;
	for (int i = 0; i < HOPS_MAX; i++)
		hear(&t->probes[i], fds[i].revents);
}

static void ask(struct trace *t, uint64_t start_ms)
{
	uint64_t limit = start_ms + HOPS_LIMIT_MS, now = start_ms;
	unsigned end = HOPS_MAX;

	while (now < limit) {
		unsigned found = end_of(t);
		if (found < end)
			limit = now + SILENT_MS < limit ? now + SILENT_MS : limit;
		end = found;
		if (all_answered(t, end))
			return;
		uint64_t next = send_due(t, end, now);
		wait_until(t, next < limit ? next : limit);
		now = now_ms();
	}
}

int hops_trace(const struct addr *server, struct hops *out)
{
	struct trace t = { 0 };
	uint64_t start_ms = now_ms();

	*out = (struct hops) { 0 };
	for (int i = 0; i < HOPS_MAX; i++)
		t.probes[i].fd = -1;
	make_request(&t);
	int ret = open_all(&t, server, start_ms);
	if (!ret) {
		ask(&t, start_ms);
		unsigned end = end_of(&t);
		out->count = end < HOPS_MAX && !t.probes[end].end ? end + 1 : end;
		for (unsigned i = 0; i < out->count; i++)
			out->router[i] = t.probes[i].router;
	}
	close_all(&t);
	return ret;
}

/* --- Judging */

unsigned hops_depth(const struct hops *h)
{
	unsigned depth = 0;

	for (unsigned i = 0; i < h->count; i++) {
		if (addr_is_private(&h->router[i]))
			depth = i + 1;
	}
	return depth;
}

static bool is_shared(const struct addr *a)
{
	const struct addr shared = addr_from_ip(ADDR_V4, (const uint8_t[]) { 100, 64, 0, 0 }, 0);

	return addr_in_prefix(a, &shared, 10);
}

bool hops_cgnat(const struct hops *h)
{
	const struct addr *last = NULL;

	for (unsigned i = 0; i < h->count; i++) {
		const struct addr *r = &h->router[i];
		if (r->family != ADDR_V4 || !addr_is_private(r))
			continue;
		if (is_shared(r) || (last && !addr_in_prefix(last, r, 24)))
			return true;
		last = r;
	}
	return false;
}
