#include "core/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The forced size needs CAP_NET_ADMIN, the plain one is cut to net.core.[rw]mem_max. Neither failing is an error. */
static void ask_buffer(int fd, int forced, int plain, int size)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0)
		setsockopt(fd, SOL_SOCKET, plain, &size, sizeof size);
}

static int bind_socket(int fd, struct addr *local)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(local, &sa);
	int on = 1;

	if (local->family == ADDR_V6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, len) != 0)
		return -errno;
	len = sizeof sa;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return -errno;
	*local = addr_from_sockaddr((struct sockaddr *)&sa);
	return 0;
}

/* Room for the one control message that we ask for on receive: our own address. */
union local_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* What a batch is received into. */
struct batch {
	struct pkt *p[UDP_BATCH];
	struct mmsghdr m[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	struct sockaddr_storage from[UDP_BATCH];
	union local_control control[UDP_BATCH];
};

/* Takes packets for a batch from the pool, describes them to the kernel, and says how many there are. */
static unsigned prepare(struct udp_socket *s, struct batch *b, unsigned want)
{
	unsigned n = 0;

	for (; n < want && (b->p[n] = pkt_get(s->pool)); n++) {
		b->iov[n] = (struct iovec) { .iov_base = pkt_data(b->p[n]), .iov_len = PKT_DATA_MAX };
		b->m[n].msg_hdr = (struct msghdr) { .msg_name = &b->from[n],
						    .msg_namelen = sizeof b->from[n],
						    .msg_iov = &b->iov[n],
						    .msg_iovlen = 1 };
		if (s->wants_local) {
			b->m[n].msg_hdr.msg_control = &b->control[n];
			b->m[n].msg_hdr.msg_controllen = sizeof b->control[n];
		}
	}
	return n;
}

static struct addr local_of(struct msghdr *m, uint16_t port)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info4;
	struct addr local;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info4, CMSG_DATA(c), sizeof info4);
			return addr_from_ip(ADDR_V4, (const uint8_t *)&info4.ipi_spec_dst, port);
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, CMSG_DATA(c), sizeof info6);
			local = addr_from_ip(ADDR_V6, info6.ipi6_addr.s6_addr, port);
			local.scope = addr_is_link_local(&local) ? info6.ipi6_ifindex : 0;
			return local;
		}
	}
	return (struct addr) { 0 };
}

/* Hands the received ones out and the others back, the last first, so that the pool's order stays. */
static void deliver(struct udp_socket *s, struct batch *b, unsigned received, unsigned prepared)
{
	while (prepared > received)
		pkt_put(s->pool, b->p[--prepared]);
	s->stats.rx += received;
	for (unsigned i = 0; i < received; i++) {
		struct pkt *p = b->p[i];
		p->len = b->m[i].msg_len;
		p->addr = addr_from_sockaddr((const struct sockaddr *)&b->from[i]);
		if (s->wants_local)
			p->local = local_of(&b->m[i].msg_hdr, s->local.port);
		if (s->watch)
			s->handler.on_packet(s->arg, p);
		else
			pkt_put(s->pool, p);
	}
}

/* Without a buffer a datagram is still taken off the socket: else the loop would spin on it. */
static int discard_one(struct udp_socket *s)
{
	char byte;

	if (recv(s->fd, &byte, 1, MSG_TRUNC) < 0)
		return -errno;
	s->stats.rx_no_buffer++;
	return 1;
}

/* Number of datagrams taken, or a negative errno. */
static int receive_batch(struct udp_socket *s, unsigned want)
{
	struct batch b;
	unsigned prepared = prepare(s, &b, want);

	if (!prepared)
		return discard_one(s);
	int n = recvmmsg(s->fd, b.m, prepared, MSG_DONTWAIT, NULL);
	int error = n < 0 ? -errno : 0;
	deliver(s, &b, error ? 0 : (unsigned)n, prepared);
	return error ? error : n;
}

static void on_readable(void *arg, unsigned events)
{
	struct udp_socket *s = arg;

	(void)events;
	for (unsigned left = UDP_BUDGET; left && s->watch;) {
		unsigned want = left < UDP_BATCH ? left : UDP_BATCH;
		int n = receive_batch(s, want);
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			s->stats.rx_errors += n != -EINTR;
			left--;
			continue;
		}
		left -= (unsigned)n;
		if ((unsigned)n < want)
			break;
	}
	if (s->watch && s->handler.on_batch)
		s->handler.on_batch(s->arg);
}

void udp_set_buffer(struct udp_socket *s, int bytes)
{
	ask_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
	ask_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, bytes);
}

/* Kept by the socket, for the kernel takes no such wish with a datagram. PROBE: marked as not to be split, whatever the
 * kernel believes of the path. Otherwise not marked, where that is possible: routers that tell nobody why they drop
 * what is too large then split it. */
static void set_dont_fragment(struct udp_socket *s, bool dont)
{
	bool v6 = s->local.family == ADDR_V6;
	int mode = dont ? IP_PMTUDISC_PROBE : v6 ? IPV6_PMTUDISC_WANT : IP_PMTUDISC_DONT;

	setsockopt(s->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &mode,
		   sizeof mode);
	s->dont_fragment = dont;
}

int udp_open(struct udp_socket *s, struct loop *l, struct pkt_pool *pool, const struct addr *local,
	     const struct udp_handler *handler, void *arg)
{
	int family = local->family == ADDR_V6 ? AF_INET6 : AF_INET;
	int rc;

	*s = (struct udp_socket) { .fd = -1, .local = *local, .pool = pool, .handler = *handler, .arg = arg };
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	s->fd = fd;
	udp_set_buffer(s, UDP_BUFFER);
	set_dont_fragment(s, false);
	rc = bind_socket(fd, &s->local);
	if (rc)
		goto fail;
	rc = -ENOMEM;
	s->watch = loop_fd_create(l, fd, on_readable, s);
	if (!s->watch)
		goto fail;
	rc = loop_fd_want(s->watch, LOOP_READ);
	if (rc == 0)
		return 0;
	loop_fd_destroy(s->watch);
fail:
	close(fd);
	*s = (struct udp_socket) { .fd = -1 };
	return rc;
}

void udp_close(struct udp_socket *s)
{
	if (!s->watch)
		return;
	loop_fd_destroy(s->watch);
	close(s->fd);
	s->watch = NULL;
	s->fd = -1;
}

bool udp_is_open(const struct udp_socket *s)
{
	return s->watch;
}

int udp_want_local(struct udp_socket *s)
{
	bool v6 = s->local.family == ADDR_V6;
	int on = 1;

	if (!s->watch)
		return -EBADF;
	if (setsockopt(s->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on,
		       sizeof on) != 0)
		return -errno;
	s->wants_local = true;
	return 0;
}

/* Control messages of one datagram that is sent. */
union send_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void attach(struct msghdr *m, union send_control *control, int level, int type, const void *data,
		   size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)(control->bytes + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	m->msg_control = control;
	m->msg_controllen += CMSG_SPACE(len);
}

static void attach_ttl(struct msghdr *m, union send_control *control, enum addr_family family, int ttl)
{
	if (family == ADDR_V6)
		attach(m, control, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof ttl);
	else
		attach(m, control, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
}

static void attach_local(struct msghdr *m, union send_control *control, const struct addr *local)
{
	struct in6_pktinfo info6 = { .ipi6_ifindex = local->scope };
	struct in_pktinfo info4 = { 0 };

	if (local->family == ADDR_V6) {
		memcpy(&info6.ipi6_addr, local->ip, sizeof info6.ipi6_addr);
		attach(m, control, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof info6);
	} else {
		memcpy(&info4.ipi_spec_dst, local->ip, sizeof info4.ipi_spec_dst);
		attach(m, control, IPPROTO_IP, IP_PKTINFO, &info4, sizeof info4);
	}
}

/* A socket also reports there what an ICMP message said about an earlier datagram. Such an error is used up by telling
 * it, so this datagram deserves a second try. */
static int send_message(struct udp_socket *s, const struct msghdr *m)
{
	for (int attempt = 0; attempt < 3; attempt++) {
		if (sendmsg(s->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR && errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH)
			break;
	}
	return -errno;
}

static int send_bytes(struct udp_socket *s, const struct addr *local, const void *data, size_t len,
		      const struct addr *to, uint8_t ttl)
{
	union send_control control;
	struct sockaddr_storage sa;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };

	if (!s->watch)
		return -EBADF;
	if (to->family != s->local.family ||
	    (local && local->family != ADDR_NONE && local->family != to->family))
		return -EAFNOSUPPORT;
	struct msghdr m = { .msg_name = &sa, .msg_iov = &iov, .msg_iovlen = 1 };
	m.msg_namelen = addr_to_sockaddr(to, &sa);
	if (ttl)
		attach_ttl(&m, &control, (enum addr_family)to->family, ttl);
	if (local && local->family != ADDR_NONE)
		attach_local(&m, &control, local);
	return send_message(s, &m);
}

static int counted(struct udp_socket *s, int rc)
{
	if (rc == 0)
		s->stats.tx++;
	else if (rc == -EAGAIN || rc == -ENOBUFS)
		s->stats.tx_full++;
	else
		s->stats.tx_errors++;
	return rc;
}

int udp_send(struct udp_socket *s, const struct pkt *p)
{
	if (s->watch && p->dont_fragment != s->dont_fragment)
		set_dont_fragment(s, p->dont_fragment);
	return counted(s, send_bytes(s, &p->local, p->buf + p->off, p->len, &p->addr, p->ttl));
}

int udp_send_bytes(struct udp_socket *s, const void *data, size_t len, const struct addr *to)
{
	return udp_send_bytes_from(s, NULL, data, len, to);
}

int udp_send_bytes_from(struct udp_socket *s, const struct addr *local, const void *data, size_t len,
			const struct addr *to)
{
	if (s->watch && s->dont_fragment)
		set_dont_fragment(s, false);
	return counted(s, send_bytes(s, local, data, len, to, 0));
}
