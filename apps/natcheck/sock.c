#include "apps/natcheck/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void set_fragments(int fd, enum addr_family family, enum sock_kind kind)
{
	int on = 1;

	if (family == ADDR_V4) {
		int mode = kind == SOCK_WHOLE ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT;
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof mode);
		setsockopt(fd, IPPROTO_IP, IP_RECVFRAGSIZE, &on, sizeof on);
	} else {
		int mode = kind == SOCK_WHOLE ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_WANT;
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, sizeof mode);
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVFRAGSIZE, &on, sizeof on);
	}
}

int sock_open(const struct addr *bind_to, enum sock_kind kind)
{
	struct sockaddr_storage sa;
	unsigned len = addr_to_sockaddr(bind_to, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	if (bind_to->family == ADDR_V6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (kind != SOCK_ORDINARY)
		set_fragments(fd, bind_to->family, kind);
	if (bind(fd, (struct sockaddr *)&sa, len)) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

struct addr sock_local(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;

	if (getsockname(fd, (struct sockaddr *)&sa, &len))
		return (struct addr) { 0 };
	return addr_from_sockaddr((struct sockaddr *)&sa);
}

/* A connected UDP socket knows it without a packet. */
struct addr sock_towards(const struct addr *server)
{
	struct addr any = { .family = server->family }, local = { 0 };
	struct sockaddr_storage sa;
	unsigned len = addr_to_sockaddr(server, &sa);
	int fd = sock_open(&any, SOCK_ORDINARY);

	if (fd < 0)
		return local;
	if (!connect(fd, (struct sockaddr *)&sa, len)) {
		local = sock_local(fd);
		local.port = 0;
	}
	close(fd);
	return local;
}

int sock_send(int fd, const struct addr *to, const void *data, size_t len)
{
	struct sockaddr_storage sa;
	unsigned sa_len = addr_to_sockaddr(to, &sa);

	return sendto(fd, data, len, 0, (struct sockaddr *)&sa, sa_len) < 0 ? -errno : 0;
}

static unsigned fragment_size(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		bool ip4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVFRAGSIZE;
		bool ip6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVFRAGSIZE;
		int size;
		if (!ip4 && !ip6)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof size);
		return (unsigned)size;
	}
	return 0;
}

bool sock_receive(int fd, void *data, size_t cap, struct sock_datagram *out)
{
	struct sockaddr_storage sa = { 0 };
	struct iovec iov = { data, cap };
	char control[128];
	struct msghdr m = {
		.msg_name = &sa,
		.msg_namelen = sizeof sa,
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control,
	};
	ssize_t len = recvmsg(fd, &m, 0);

	if (len < 0)
		return false;
	*out = (struct sock_datagram) { addr_from_sockaddr((struct sockaddr *)&sa), (size_t)len,
					fragment_size(&m) };
	return true;
}
