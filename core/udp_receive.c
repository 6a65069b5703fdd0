#include "core/udp_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* A slot's distance from the next: not a multiple of a page's size, else the beginnings of all slots, which is all of
 * them that small datagrams touch, would fall on the same few lines of the processor's cache. */
enum { SLOT_DISTANCE = UDP_SLOT + 192, SLAB_BYTES = UDP_SLOTS * SLOT_DISTANCE };
enum { SLOTS_FIRST = 4 }; /* of a wake-up */

/* Room for the control messages that we ask for on receive: our own address, and the stride. */
union receive_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

struct udp_slab {
	uint8_t *memory;
	struct udp_socket *receiving; /* NULL once it was closed by a callback */
	struct mmsghdr m[UDP_SLOTS];
	struct iovec iov[UDP_SLOTS];
	struct sockaddr_storage from[UDP_SLOTS];
	union receive_control control[UDP_SLOTS];
};

/* Mapped, not allocated: pages that nothing was received into take no memory, and huge pages would undo that. */
struct udp_slab *udp_slab_create(void)
{
	struct udp_slab *slab = calloc(1, sizeof *slab);
	void *memory = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!slab || memory == MAP_FAILED) {
		free(slab);
		if (memory != MAP_FAILED)
			munmap(memory, SLAB_BYTES);
		return NULL;
	}
	madvise(memory, SLAB_BYTES, MADV_NOHUGEPAGE);
	slab->memory = memory;
	for (size_t i = 0; i < UDP_SLOTS; i++)
		slab->iov[i] = (struct iovec) { slab->memory + i * SLOT_DISTANCE, UDP_SLOT };
	return slab;
}

void udp_slab_destroy(struct udp_slab *slab)
{
	if (!slab)
		return;
	munmap(slab->memory, SLAB_BYTES);
	free(slab);
}

static void prepare(struct udp_slab *slab, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		slab->m[i].msg_hdr = (struct msghdr) { .msg_name = &slab->from[i],
						       .msg_namelen = sizeof slab->from[i],
						       .msg_iov = &slab->iov[i],
						       .msg_iovlen = 1,
						       .msg_control = &slab->control[i],
						       .msg_controllen = sizeof slab->control[i] };
}

static struct addr local4(const struct cmsghdr *c, uint16_t port)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	return addr_from_ip(ADDR_V4, (const uint8_t *)&info.ipi_spec_dst, port);
}

static struct addr local6(const struct cmsghdr *c, uint16_t port)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	struct addr local = addr_from_ip(ADDR_V6, info.ipi6_addr.s6_addr, port);
	local.scope = addr_is_link_local(&local) ? info.ipi6_ifindex : 0;
	return local;
}

static size_t stride_of(const struct cmsghdr *c, size_t len)
{
	int stride;

	memcpy(&stride, CMSG_DATA(c), sizeof stride);
	return stride > 0 && (size_t)stride < len ? (size_t)stride : len;
}

static struct udp_train train_of(const struct udp_slab *slab, unsigned slot, const struct udp_socket *s)
{
	struct msghdr *m = (struct msghdr *)(uintptr_t)&slab->m[slot].msg_hdr;
	size_t len = slab->m[slot].msg_len;
	struct udp_train t = { .data = slab->iov[slot].iov_base, .len = len, .stride = len };

	t.addr = addr_from_sockaddr((const struct sockaddr *)&slab->from[slot]);
	if (s->wants_local)
		t.local = s->local;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
			t.stride = stride_of(c, len);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			t.local = local4(c, s->local.port);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			t.local = local6(c, s->local.port);
	}
	return t;
}

/* Hands the trains of a system call out, for as long as the socket is open. Returns their bytes. */
static size_t deliver(struct udp_slab *slab, struct udp_socket *s, unsigned count)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < count && slab->receiving; i++) {
		struct udp_train t = train_of(slab, i, s);
		if (slab->m[i].msg_hdr.msg_flags & MSG_TRUNC) {
			s->stats.rx_errors++;
			continue;
		}
		s->stats.rx_trains++;
		s->stats.rx += t.len ? (t.len + t.stride - 1) / t.stride : 1;
		bytes += t.len;
		s->handler.on_train(s->arg, &t);
	}
	if (slab->receiving && s->handler.on_batch)
		s->handler.on_batch(s->arg);
	return bytes;
}

/* How many slots the next system call of a wake-up gets, after so many trains and bytes: a few at first, then what keeps
 * within the budget if the next are as long. So bulk stays in little memory, and many small datagrams, which no GRO puts
 * together when they are of many senders, take few system calls: 4 slots each cost 5 to 9 % more time than 16 or 32,
 * and 32 make longer runs for the one who gets them. */
static unsigned slots_for(unsigned trains, size_t bytes)
{
	unsigned left = UDP_BUDGET - trains, most = left < UDP_SLOTS ? left : UDP_SLOTS;

	if (!trains)
		return SLOTS_FIRST;
	size_t fit = (UDP_BUDGET_BYTES - bytes) / (bytes / trains + 1) + 1;
	return fit < most ? (unsigned)fit : most;
}

/* `s` may be gone once a callback has run: slab->receiving tells. */
void udp_receive(struct udp_socket *s)
{
	struct udp_slab *slab = s->slab;
	unsigned trains = 0;
	size_t bytes = 0;
	bool brought = false;

	slab->receiving = s;
	while (slab->receiving && trains < UDP_BUDGET && bytes < UDP_BUDGET_BYTES) {
		unsigned want = slots_for(trains, bytes);
		prepare(slab, want);
		int n = recvmmsg(s->fd, slab->m, want, MSG_DONTWAIT, NULL);
		s->full = n == (int)want;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			s->stats.rx_errors += errno != EINTR;
			trains++;
			continue;
		}
		bytes += deliver(slab, s, (unsigned)n);
		brought = true;
		trains += (unsigned)n;
		if ((unsigned)n < want)
			break;
	}
	/* Woken for nothing: what had a wrong checksum is dropped only now. */
	if (slab->receiving && !brought && s->handler.on_batch)
		s->handler.on_batch(s->arg);
	if (slab->receiving)
		udp_fit_buffer(s, bytes);
	slab->receiving = NULL;
}

bool udp_has_more(const struct udp_socket *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	return s->full && poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

void udp_receive_stop(struct udp_socket *s)
{
	if (s->slab->receiving == s)
		s->slab->receiving = NULL;
}
