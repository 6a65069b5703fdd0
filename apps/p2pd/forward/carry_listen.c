/* The sockets that visitors come to, one for each port. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "apps/p2pd/forward/carry_impl.h"
#include "core/log.h"

enum {
	BACKLOG = 4096,
	RETRY_MS = 100,		 /* where the system could not give us one that waits */
	UDP_BUFFER_IN = 1 << 20, /* all flows of a port come in here */
};

/* --- Opening. */

static bool set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* What a listener has of these its connections inherit: one call less for each. */
static void set_tcp(int fd)
{
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

static void set_udp(int fd)
{
	if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER_IN))
		set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER_IN);
}

static int bind_socket(const struct carry *c, const struct carry_entry *e, unsigned index, int fd)
{
	struct sockaddr_storage ss;
	struct addr a = e->listen;

	a.port = (uint16_t)(a.port + index);
	unsigned len = addr_to_sockaddr(&a, &ss);
	if (a.family == ADDR_V6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
		return -errno;
	if (e->side == FORWARD_OWNER &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, c->tun, (socklen_t)strlen(c->tun) + 1) != 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&ss, len) != 0)
		return -errno;
	return e->proto == FORWARD_TCP && listen(fd, BACKLOG) != 0 ? -errno : 0;
}

static int open_socket(struct carry *c, const struct carry_entry *e, unsigned index)
{
	int family = e->listen.family == ADDR_V4 ? AF_INET : AF_INET6;
	int type = e->proto == FORWARD_TCP ? SOCK_STREAM : SOCK_DGRAM;
	int fd = carry_fd_keep(c, socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));

	if (fd < 0)
		return fd;
	if (type == SOCK_STREAM)
		set_tcp(fd);
	else
		set_udp(fd);
	int error = bind_socket(c, e, index, fd);
	if (!error)
		return fd;
	carry_fd_close(c, fd);
	return error;
}

/* --- Who comes. */

static struct addr peer_address(const struct sockaddr_storage *ss)
{
	return addr_from_sockaddr((const struct sockaddr *)ss);
}

/* What the queue holds, for the next time, cannot be given to us now. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Other errors are those of the connection that would have been (accept(2)): the next one waits behind it. */
static void accept_one(struct carry *c, struct carry_listener *ln)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	int fd = accept4(ln->watch.fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		bool shortage = is_shortage(errno);
		ln->watch.readable = errno != EAGAIN && !shortage;
		if (shortage) {
			log_limited(&c->logged_ms, c->now_ms, "carry", "no connection taken: %s",
				    strerror(errno));
			carry_due(c, &ln->job, c->now_ms + RETRY_MS);
		}
		return;
	}
	struct addr from = peer_address(&ss);
	carry_tcp_begin(c, ln, carry_fd_keep(c, fd), &from);
}

static void tcp_turn(struct carry *c, struct carry_job *j)
{
	struct carry_listener *ln = (struct carry_listener *)j;

	for (size_t work = 0; ln->watch.readable && work < CARRY_SHARE_WORK; work += CARRY_WORK_ACCEPT) {
		accept_one(c, ln);
		c->work += CARRY_WORK_ACCEPT;
	}
	if (ln->watch.readable)
		carry_queue(c, j);
}

static void tcp_due(struct carry *c, struct carry_job *j)
{
	struct carry_listener *ln = (struct carry_listener *)j;

	ln->watch.readable = true;
	carry_queue(c, j);
}

static const struct carry_kind tcp_listener = { tcp_turn, tcp_due };

/* --- All ports of an entry. */

static int listen_one(struct carry *c, struct carry_entry *e, unsigned index)
{
	struct carry_listener *ln = &e->listeners[index];
	int fd = open_socket(c, e, index);

	if (fd < 0)
		return fd;
	int rc = carry_job_begin(c, &ln->job, e->proto == FORWARD_TCP ? &tcp_listener : &carry_udp_listener);
	if (rc) {
		carry_fd_close(c, fd);
		return rc;
	}
	ln->entry = e;
	ln->index = (uint16_t)index;
	rc = carry_watch_begin(c, &ln->watch, &ln->job, fd);
	if (rc)
		carry_job_end(c, &ln->job);
	return rc;
}

static void unlisten_first(struct carry *c, struct carry_entry *e, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		carry_job_end(c, &e->listeners[i].job);
		carry_watch_end(c, &e->listeners[i].watch);
	}
	carry_share_drop(e->rule->share, count);
	free(e->listeners);
	e->listeners = NULL;
}

void carry_unlisten(struct carry *c, struct carry_entry *e)
{
	unlisten_first(c, e, e->count);
}

static const char *meaning(int error)
{
	switch (error) {
	case -EADDRINUSE: return "another program has this port";
	case -EADDRNOTAVAIL: return "this machine does not have this address";
	case -EACCES:
	case -EPERM: return "no right to use this port (run as root, or give CAP_NET_BIND_SERVICE)";
	case -EMFILE:
	case -ENFILE:
		return "too few file descriptors: allow more (LimitNOFILE= in the service's unit, or ulimit "
		       "-Hn)";
	case -ENODEV: return "the tunnel's device is not there";
	default: return strerror(-error);
	}
}

static void explain(char why[static CARRY_WHY], const struct carry_entry *e, unsigned index, int error)
{
	char text[ADDR_TEXT_MAX];
	struct addr a = e->listen;

	a.port = (uint16_t)(a.port + index);
	snprintf(why, CARRY_WHY, "%s/%s: %s", addr_format(&a, text), e->proto == FORWARD_TCP ? "tcp" : "udp",
		 meaning(error));
}

int carry_listen(struct carry *c, struct carry_entry *e, char why[static CARRY_WHY])
{
	if (!carry_fd_room(c, e->count) || !carry_share_room(c, e->rule->share, e->count)) {
		explain(why, e, 0, -EMFILE);
		return -EMFILE;
	}
	e->listeners = calloc(e->count, sizeof *e->listeners);
	if (!e->listeners)
		return -ENOMEM;
	for (unsigned i = 0; i < e->count; i++) {
		int rc = listen_one(c, e, i);
		if (rc == 0) {
			carry_share_hold(e->rule->share, 1);
			continue;
		}
		explain(why, e, i, rc);
		unlisten_first(c, e, i);
		return rc == -EPERM ? -EACCES : rc;
	}
	return 0;
}
