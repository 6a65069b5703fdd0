/* Trains are laid out as messages for one sendmmsg: a train is one message with UDP_SEGMENT, or one for each of its
 * datagrams where that is not to be had. */
#include "core/udp_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

enum { MESSAGES = 64, ATTEMPTS = 3 };

/* TTL, our own address and the stride. */
union send_control {
	struct cmsghdr align;
	uint8_t bytes[2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* What the messages of one train have in common. */
struct head {
	struct sockaddr_storage to;
	union send_control control;
};

/* Messages of trains in order, the first of which may begin within its train. */
struct layout {
	unsigned count, heads;
	struct mmsghdr m[MESSAGES];
	struct iovec iov[MESSAGES];
	uint16_t datagrams[MESSAGES];
	struct head head[MESSAGES];
};

/* How far the trains of a call are sent. */
struct progress {
	struct udp_train *t;
	unsigned count;
	unsigned at; /* the train that is next */
	size_t off;  /* of it, bytes that are done with */
};

static void attach(struct msghdr *m, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)m->msg_control + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	m->msg_controllen += CMSG_SPACE(len);
}

static void attach_ttl(struct msghdr *m, uint8_t family, int ttl)
{
	if (family == ADDR_V6)
		attach(m, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof ttl);
	else
		attach(m, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
}

static void attach_local(struct msghdr *m, const struct addr *local)
{
	struct in6_pktinfo info6 = { .ipi6_ifindex = local->scope };
	struct in_pktinfo info4 = { 0 };

	if (local->family == ADDR_V6) {
		memcpy(&info6.ipi6_addr, local->ip, sizeof info6.ipi6_addr);
		attach(m, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof info6);
	} else {
		memcpy(&info4.ipi_spec_dst, local->ip, sizeof info4.ipi_spec_dst);
		attach(m, IPPROTO_IP, IP_PKTINFO, &info4, sizeof info4);
	}
}

/* A message without data yet: where it goes and how. */
static void begin_message(const struct udp_socket *s, struct msghdr *m, struct head *head,
			  const struct udp_train *t)
{
	*m = (struct msghdr) { .msg_name = &head->to, .msg_control = &head->control, .msg_iovlen = 1 };
	m->msg_namelen = addr_to_sockaddr(&t->addr, &head->to);
	if (t->ttl)
		attach_ttl(m, t->addr.family, t->ttl);
	if (t->local.family != ADDR_NONE && !addr_same_ip(&t->local, &s->local))
		attach_local(m, &t->local);
}

static int check(const struct udp_socket *s, const struct udp_train *t)
{
	if (!s->watch)
		return -EBADF;
	if (t->addr.family != s->local.family ||
	    (t->local.family != ADDR_NONE && t->local.family != t->addr.family))
		return -EAFNOSUPPORT;
	return t->len && !t->stride ? -EINVAL : 0;
}

static size_t datagrams_in(const struct udp_train *t, size_t len)
{
	return len ? (len + t->stride - 1) / t->stride : 1;
}

/* A socket also reports there what an ICMP message said about an earlier datagram. Such an error is used up by telling
 * it, so this datagram deserves another try. */
static bool is_of_another(int error)
{
	return error == EINTR || error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH;
}

/* --- Destinations without trains. */

static bool is_narrow(struct udp_socket *s, const struct udp_train *t)
{
	uint64_t now = s->narrow_count ? loop_now_ms() : 0;

	for (unsigned i = 0; i < s->narrow_count; i++) {
		struct udp_narrow *n = &s->narrow[i];
		if (addr_same_ip(&n->addr, &t->addr) && t->stride >= n->stride && now < n->until_ms)
			return true;
	}
	return false;
}

/* The entry of the destination, else a free one, else the one that was taken first. */
static struct udp_narrow *narrow_entry(struct udp_socket *s, const struct addr *to)
{
	for (unsigned i = 0; i < s->narrow_count; i++)
		if (addr_same_ip(&s->narrow[i].addr, to))
			return &s->narrow[i];
	if (s->narrow_count < UDP_NARROW)
		return &s->narrow[s->narrow_count++];
	return &s->narrow[s->narrow_next++ % UDP_NARROW];
}

static void remember_narrow(struct udp_socket *s, const struct udp_train *t)
{
	*narrow_entry(s, &t->addr) = (struct udp_narrow) { .addr = t->addr,
							   .stride = t->stride,
							   .until_ms = loop_now_ms() + UDP_NARROW_MS };
}

/* --- Layout. */

static void add_message(struct layout *l, const struct msghdr *like, const struct udp_train *t, size_t off,
			size_t len)
{
	struct mmsghdr *m = &l->m[l->count];

	l->iov[l->count] = (struct iovec) { t->data + off, len };
	l->datagrams[l->count] = (uint16_t)datagrams_in(t, len);
	m->msg_hdr = *like;
	m->msg_hdr.msg_iov = &l->iov[l->count++];
}

/* Lays out the train from `off` on, or as much of it as there is room for. False: there was not enough. */
static bool add_train(struct udp_socket *s, struct layout *l, const struct udp_train *t, size_t off)
{
	struct head *head = &l->head[l->heads++];
	size_t left = t->len - off, step = left;
	struct msghdr like;

	begin_message(s, &like, head, t);
	if (left > t->stride) {
		uint16_t stride = (uint16_t)t->stride;
		if (s->gso && !is_narrow(s, t))
			attach(&like, SOL_UDP, UDP_SEGMENT, &stride, sizeof stride);
		else
			step = t->stride;
	}
	do {
		if (l->count == MESSAGES)
			return false;
		add_message(l, &like, t, off, step < left ? step : left);
		off += step;
		left -= step < left ? step : left;
	} while (left);
	return true;
}

/* All that can go by one system call: as long as nothing about the socket has to be changed in between. */
static void lay_out(struct udp_socket *s, struct layout *l, const struct progress *p)
{
	size_t off = p->off;

	l->count = l->heads = 0;
	for (unsigned i = p->at; i < p->count && l->count < MESSAGES; i++, off = 0) {
		const struct udp_train *t = &p->t[i];
		if (check(s, t) != 0 || t->dont_fragment != p->t[p->at].dont_fragment)
			break;
		if (!add_train(s, l, t, off))
			break;
	}
}

/* --- Sending. */

/* Goes on behind the next `len` bytes: a message, sent or given up. */
static void advance(struct progress *p, size_t len)
{
	p->off += len;
	if (p->off < p->t[p->at].len)
		return;
	p->at++;
	p->off = 0;
}

static void sent(struct udp_socket *s, struct progress *p, const struct layout *l, unsigned from,
		 unsigned count)
{
	for (unsigned i = from; i < from + count; i++) {
		s->stats.tx += l->datagrams[i];
		s->stats.tx_trains++;
		advance(p, l->iov[i].iov_len);
	}
}

/* What to do about a message that failed. */
enum remedy { REMEDY_RETRY, REMEDY_SKIP, REMEDY_WAIT, REMEDY_LAY_OUT };

/* The kernel splits no segments of a train, so one by one they may pass where it did not, unless they must not be split
 * either. Older kernels say EINVAL for EMSGSIZE. EIO: the way out cannot make the checksums. */
static enum remedy remedy_for(struct udp_socket *s, const struct udp_train *t, unsigned datagrams, int error,
			      unsigned attempt)
{
	if (error == EAGAIN)
		return REMEDY_WAIT;
	if (is_of_another(error) && attempt < ATTEMPTS)
		return REMEDY_RETRY;
	if (datagrams == 1)
		return REMEDY_SKIP;
	if (error == EIO) {
		s->gso = false;
		return REMEDY_LAY_OUT;
	}
	if (error == EINVAL || (error == EMSGSIZE && !t->dont_fragment)) {
		remember_narrow(s, t);
		return REMEDY_LAY_OUT;
	}
	return REMEDY_SKIP;
}

/* False if the kernel's buffer is full. */
static bool send_layout(struct udp_socket *s, const struct layout *l, struct progress *p)
{
	unsigned attempt = 0;

	for (unsigned i = 0; i < l->count;) {
		int n = sendmmsg(s->fd, (struct mmsghdr *)(uintptr_t)&l->m[i], l->count - i,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			sent(s, p, l, i, (unsigned)n);
			i += (unsigned)n;
			attempt = 0;
			continue;
		}
		switch (remedy_for(s, &p->t[p->at], l->datagrams[i], errno, ++attempt)) {
		case REMEDY_RETRY: break;
		case REMEDY_WAIT: s->stats.tx_full++; return false;
		case REMEDY_LAY_OUT: return true;
		case REMEDY_SKIP:
			s->stats.tx_errors += l->datagrams[i];
			advance(p, l->iov[i++].iov_len);
			attempt = 0;
		}
	}
	return true;
}

static void skip_train(struct udp_socket *s, struct progress *p)
{
	const struct udp_train *t = &p->t[p->at];

	s->stats.tx_errors += t->stride ? datagrams_in(t, t->len) : 1;
	advance(p, t->len);
}

unsigned udp_send_trains(struct udp_socket *s, struct udp_train *t, unsigned count)
{
	struct progress p = { .t = t, .count = count };
	struct layout l;

	while (p.at < count) {
		if (check(s, &t[p.at]) != 0) {
			skip_train(s, &p);
			continue;
		}
		if (t[p.at].dont_fragment != s->dont_fragment)
			udp_set_dont_fragment(s, t[p.at].dont_fragment);
		lay_out(s, &l, &p);
		if (!send_layout(s, &l, &p))
			break;
	}
	if (p.off) {
		t[p.at].data += p.off;
		t[p.at].len -= p.off;
	}
	return p.at;
}

/* --- Single datagrams. */

static int send_message(struct udp_socket *s, const struct msghdr *m)
{
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (sendmsg(s->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (!is_of_another(errno))
			break;
	}
	return -errno;
}

static int send_one(struct udp_socket *s, const struct udp_train *t)
{
	struct iovec iov = { t->data, t->len };
	struct head head;
	struct msghdr m;
	int rc = check(s, t);

	if (rc)
		return rc;
	if (t->dont_fragment != s->dont_fragment)
		udp_set_dont_fragment(s, t->dont_fragment);
	begin_message(s, &m, &head, t);
	m.msg_iov = &iov;
	return send_message(s, &m);
}

static int counted(struct udp_socket *s, int rc)
{
	if (rc == 0) {
		s->stats.tx++;
		s->stats.tx_trains++;
	} else if (rc == -EAGAIN) {
		s->stats.tx_full++;
	} else {
		s->stats.tx_errors++;
	}
	return rc;
}

int udp_send(struct udp_socket *s, const struct pkt *p)
{
	const struct udp_train t = { .data = (uint8_t *)(uintptr_t)p->buf + p->off,
				     .len = p->len,
				     .stride = p->len,
				     .addr = p->addr,
				     .local = p->local,
				     .ttl = p->ttl,
				     .dont_fragment = p->dont_fragment };

	return counted(s, send_one(s, &t));
}

int udp_send_bytes(struct udp_socket *s, const void *data, size_t len, const struct addr *to)
{
	return udp_send_bytes_from(s, &(struct addr) { 0 }, data, len, to);
}

int udp_send_bytes_from(struct udp_socket *s, const struct addr *local, const void *data, size_t len,
			const struct addr *to)
{
	const struct udp_train t = {
		.data = (uint8_t *)(uintptr_t)data, .len = len, .stride = len, .addr = *to, .local = *local
	};

	return counted(s, send_one(s, &t));
}
