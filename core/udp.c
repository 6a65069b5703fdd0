/* The life of a socket. Others: udp_receive.c, udp_send.c. */
#include "core/udp_impl.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/utsname.h>
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

void udp_set_buffer(struct udp_socket *s, int bytes)
{
	ask_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
	ask_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, bytes);
	s->buffer = s->buffer_least = bytes;
}

int udp_buffer_for(size_t bytes, uint64_t ms, int least)
{
	uint64_t want = (uint64_t)bytes * UDP_BUFFER_US / 1000 / (ms ? ms : 1);

	if (want > UDP_BUFFER_MAX)
		want = UDP_BUFFER_MAX;
	return want > (uint64_t)least ? (int)want : least;
}

void udp_fit_buffer(struct udp_socket *s, size_t bytes)
{
	s->came += bytes;
	if (s->came < UDP_BUFFER_LOOK)
		return;
	uint64_t now_ms = loop_now_ms();
	int want = udp_buffer_for(s->came, now_ms - s->came_since_ms, s->buffer_least);
	if (want != s->buffer)
		ask_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, want);
	s->buffer = want;
	s->came = 0;
	s->came_since_ms = now_ms;
}

/* PROBE: marked as not to be split, whatever the kernel believes of the path. Otherwise not marked, where that is
 * possible: routers that tell nobody why they drop what is too large then split it. */
void udp_set_dont_fragment(struct udp_socket *s, bool dont)
{
	bool v6 = s->local.family == ADDR_V6;
	int mode = dont ? IP_PMTUDISC_PROBE : v6 ? IPV6_PMTUDISC_WANT : IP_PMTUDISC_DONT;

	setsockopt(s->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &mode,
		   sizeof mode);
	s->dont_fragment = dont;
}

/* Linux before 5.12 computed wrong checksums of trains with an odd stride, and dropped them ("udp: fix
 * skb_copy_and_csum_datagram with odd segment sizes"). */
static bool gro_is_sound(void)
{
	struct utsname u;
	char *end;

	if (uname(&u) != 0)
		return false;
	unsigned long major = strtoul(u.release, &end, 10);
	unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major > 5 || (major == 5 && minor >= 12);
}

static void use_offloads(struct udp_socket *s, enum udp_offload most)
{
	int segment, on = 1;
	socklen_t len = sizeof segment;

	s->gso = most >= UDP_OFFLOAD_GSO && getsockopt(s->fd, SOL_UDP, UDP_SEGMENT, &segment, &len) == 0;
	s->gro = most >= UDP_OFFLOAD_GRO && gro_is_sound() &&
		 setsockopt(s->fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
}

static void on_ready(void *arg, unsigned events)
{
	struct udp_socket *s = arg;

	if (!(events & LOOP_WRITE)) {
		udp_receive(s);
		return;
	}
	/* What there is to read has the next turn. The socket may be gone after the call. */
	loop_fd_want(s->watch, LOOP_READ);
	s->handler.on_writable(s->arg);
}

static int share_port(int fd)
{
	int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 ? 0 : -errno;
}

/* `s` tells slab, local, handler and arg. */
static int open_socket(struct udp_socket *s, struct loop *l, enum udp_offload most, bool beside)
{
	int family = s->local.family == ADDR_V6 ? AF_INET6 : AF_INET;
	int rc;

	s->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	udp_set_buffer(s, UDP_BUFFER);
	udp_set_dont_fragment(s, false);
	use_offloads(s, most);
	rc = beside ? share_port(s->fd) : 0;
	if (rc == 0)
		rc = bind_socket(s->fd, &s->local);
	if (rc)
		goto fail;
	rc = -ENOMEM;
	s->watch = loop_fd_create(l, s->fd, on_ready, s);
	if (!s->watch)
		goto fail;
	rc = loop_fd_want(s->watch, LOOP_READ);
	if (rc == 0)
		return 0;
	loop_fd_destroy(s->watch);
fail:
	close(s->fd);
	*s = (struct udp_socket) { .fd = -1 };
	return rc;
}

int udp_open(struct udp_socket *s, struct loop *l, struct udp_slab *slab, enum udp_offload most,
	     const struct addr *local, const struct udp_handler *handler, void *arg)
{
	*s = (struct udp_socket) { .local = *local, .slab = slab, .handler = *handler, .arg = arg };
	return open_socket(s, l, most, false);
}

/* The first was bound alone, so that a port in use is found out; it may be told afterwards to let others in. */
int udp_open_beside(struct udp_socket *s, struct loop *l, struct udp_slab *slab, enum udp_offload most,
		    const struct udp_socket *first, const struct udp_handler *handler, void *arg)
{
	int rc = share_port(first->fd);

	*s = (struct udp_socket) {
		.fd = -1, .local = first->local, .slab = slab, .handler = *handler, .arg = arg
	};
	return rc ? rc : open_socket(s, l, most, true);
}

/* A program of classic BPF that says which of the sockets gets a datagram, by its order of opening. It sees the payload;
 * what is too short for a load goes to the first one. Type and place of the index: core/sealer.h, relay/relay_client.h. */
int udp_steer(struct udp_socket *first, unsigned others)
{
	enum { DATA = 4, DATA_AEGIS = 0x83, RELAYED = 0x81, RECEIVER = 4, RELAY_HEADER = 8 };
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DATA, 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DATA_AEGIS, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RELAYED, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, RELAY_HEADER + RECEIVER),
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, RECEIVER),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, others),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };

	if (setsockopt(first->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
		return -errno;
	return 0;
}

void udp_close(struct udp_socket *s)
{
	if (!s->watch)
		return;
	udp_receive_stop(s);
	loop_fd_destroy(s->watch);
	close(s->fd);
	s->watch = NULL;
	s->fd = -1;
}

bool udp_is_open(const struct udp_socket *s)
{
	return s->watch;
}

int udp_want_writable(struct udp_socket *s)
{
	return s->watch ? loop_fd_want(s->watch, LOOP_READ | LOOP_WRITE) : -EBADF;
}

int udp_want_local(struct udp_socket *s)
{
	bool v6 = s->local.family == ADDR_V6;
	int on = 1;

	if (!s->watch)
		return -EBADF;
	s->wants_local = true;
	if (!addr_is_any(&s->local))
		return 0; /* it is that one */
	if (setsockopt(s->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on,
		       sizeof on) != 0)
		return -errno;
	return 0;
}
