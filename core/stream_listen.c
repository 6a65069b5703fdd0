/* Listening on TCP and Unix sockets. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/sources.h"
#include "core/stream_impl.h"

enum { VICTIMS_LOOKED_AT = 256 };

struct stream_listener {
	struct loop *loop;
	struct stream_io *io;
	bool is_unix;
	struct tls_config *tls;
	void (*on_accept)(void *arg, struct stream *s);
	void *arg;
	bool (*may_come)(void *arg, const struct addr *from); /* NULL: whoever does */
	void *may_come_arg;
	struct stream *half_open, **half_open_tail;
	struct loop_timer *turn; /* the loop's next one */
	unsigned accepted;	 /* in this turn */
	bool one_waits; /* has been taken off the kernel's queue by libuv, which takes no more before we have it */
	struct sources sources; /* of the half-open ones */
	struct stream_listener_stats stats;
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

/* One of a source with many, so that a flood from few addresses meets itself; else the oldest. Only the oldest are looked
 * at, for this is done at the pace of the flood. */
static struct stream *who_makes_way(const struct stream_listener *ln)
{
	struct stream *s = ln->half_open;

	for (int i = 0; i < VICTIMS_LOOKED_AT && s; i++, s = s->half_open_next)
		if (sources_count(&ln->sources, &s->remote) > STREAM_HALF_OPEN_FAIR)
			return s;
	return ln->half_open;
}

static void half_open_add(struct stream_listener *ln, struct stream *s)
{
	if (ln->stats.half_open == STREAM_HALF_OPEN_MAX) {
		ln->stats.made_way++;
		stream_close(who_makes_way(ln));
	}
	sources_add(&ln->sources, &s->remote);
	s->listener = ln;
	s->half_open_at = ln->half_open_tail;
	*ln->half_open_tail = s;
	ln->half_open_tail = &s->half_open_next;
	ln->stats.half_open++;
}

static void half_open_remove(struct stream_listener *ln, struct stream *s)
{
	sources_remove(&ln->sources, &s->remote);
	*s->half_open_at = s->half_open_next;
	if (s->half_open_next)
		s->half_open_next->half_open_at = s->half_open_at;
	else
		ln->half_open_tail = s->half_open_at;
	ln->stats.half_open--;
	s->half_open_next = NULL;
	s->listener = NULL;
}

void stream_listener_forget(struct stream *s)
{
	struct stream_listener *ln = s->listener;

	if (!ln)
		return;
	ln->stats.failed++;
	half_open_remove(ln, s);
}

void stream_listener_up(struct stream *s)
{
	struct stream_listener *ln = s->listener;

	ln->stats.accepted++;
	half_open_remove(ln, s);
	ln->on_accept(ln->arg, s);
}

static struct addr remote_of(const struct stream_io *io)
{
	struct sockaddr_storage sa;
	int len = sizeof sa;

	if (uv_tcp_getpeername(&io->tcp, (struct sockaddr *)&sa, &len) != 0)
		return (struct addr) { 0 };
	return addr_from_sockaddr((struct sockaddr *)&sa);
}

static bool is_our_user(struct stream_io *io)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	int fd;

	if (uv_fileno(&io->handle, &fd) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

/* Who has closed while it waited in the kernel's queue wants no handshake any more. Making it nevertheless would keep those
 * behind it waiting until they have given up, too: a hub that was once behind would never catch up. */
static bool has_given_up(const struct stream_io *io)
{
	struct tcp_info info;
	socklen_t len = sizeof info;
	int fd;

	return uv_fileno(&io->handle, &fd) == 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       (info.tcpi_state == TCP_CLOSE_WAIT || info.tcpi_state == TCP_CLOSE);
}

/* The connection is taken off libuv first, whatever comes then: it accepts no other one before. */
static void accept_one(struct stream_listener *ln)
{
	struct stream_io *io = stream_io_create(ln->loop, ln->is_unix, AF_UNSPEC);

	if (!io)
		return;
	bool wanted = uv_accept(&ln->io->stream, &io->stream) == 0 && (!ln->is_unix || is_our_user(io));
	struct addr from = wanted && !ln->is_unix ? remote_of(io) : (struct addr) { 0 };
	if (ln->tls && wanted)
		wanted = !has_given_up(io);
	if (ln->may_come && wanted)
		wanted = ln->may_come(ln->may_come_arg, &from);
	struct stream *s = wanted ? stream_create(ln->loop, ln->tls, NULL) : NULL;
	if (!s) {
		stream_io_close(io);
		return;
	}
	s->io = io;
	io->owner = s;
	s->remote = from;
	if (!ln->is_unix)
		stream_io_tune(io);
	half_open_add(ln, s);
	stream_start(s);
}

/* When thousands come at once, their handshakes would keep the loop from everything else for seconds. */
static void on_connection(uv_stream_t *server, int status)
{
	struct stream_listener *ln = ((struct stream_io *)server)->listener;

	if (status)
		return;
	if (ln->accepted == 0)
		loop_timer_set(ln->turn, 0);
	ln->one_waits = ln->accepted == STREAM_ACCEPTS;
	if (ln->one_waits)
		return;
	ln->accepted++;
	accept_one(ln);
}

static void next_turn(void *arg)
{
	struct stream_listener *ln = arg;

	ln->accepted = 0;
	if (ln->one_waits)
		on_connection(&ln->io->stream, 0);
}

static struct stream_listener *listener_create(struct loop *l, bool is_unix, int family,
					       struct tls_config *tls,
					       void (*on_accept)(void *arg, struct stream *s), void *arg)
{
	struct stream_listener *ln = calloc(1, sizeof *ln);

	if (!ln)
		return NULL;
	ln->turn = loop_timer_create(l, next_turn, ln);
	ln->io = ln->turn ? stream_io_create(l, is_unix, family) : NULL;
	if (!ln->io) {
		loop_timer_destroy(ln->turn);
		free(ln);
		return NULL;
	}
	ln->io->listener = ln;
	ln->loop = l;
	ln->is_unix = is_unix;
	ln->tls = tls;
	ln->on_accept = on_accept;
	ln->arg = arg;
	ln->half_open_tail = &ln->half_open;
	struct rng rng;
	rng_init_system(&rng);
	sources_init(&ln->sources, &rng);
	return ln;
}

static int listen_tcp(struct stream_listener **out, struct loop *l, const char *device,
		      const struct addr *local, struct tls_config *tls,
		      void (*on_accept)(void *arg, struct stream *s), void *arg)
{
	int family = local->family == ADDR_V6 ? AF_INET6 : AF_INET;
	struct stream_listener *ln = listener_create(l, false, family, tls, on_accept, arg);

	*out = NULL;
	if (!ln)
		return -ENOMEM;
	int rc = stream_io_bind(ln->io, device, local);
	if (rc == 0)
		rc = uv_listen(&ln->io->stream, STREAM_BACKLOG, on_connection);
	if (rc)
		stream_listener_close(ln);
	else
		*out = ln;
	return rc;
}

int stream_listen(struct stream_listener **out, struct loop *l, const struct addr *local,
		  struct tls_config *tls, void (*on_accept)(void *arg, struct stream *s), void *arg)
{
	return listen_tcp(out, l, "", local, tls, on_accept, arg);
}

int stream_listen_by(struct stream_listener **out, struct loop *l, const char *device,
		     const struct addr *local, void (*on_accept)(void *arg, struct stream *s), void *arg)
{
	return listen_tcp(out, l, device, local, NULL, on_accept, arg);
}

/* Removes a socket file that nobody listens on any more; -EADDRINUSE if someone does. */
static int remove_stale(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0)
		rc = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		rc = unlink(sa->sun_path) == 0 ? 0 : -errno;
	else if (errno != ENOENT)
		rc = -errno;
	close(fd);
	return rc;
}

/* The descriptor of a bound socket of mode 0600. Nobody can connect before listen(), so the mode is set in time. */
static int bind_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof sa.sun_path)
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	int rc = remove_stale(&sa);
	if (rc)
		return rc;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || chmod(path, 0600) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int stream_listen_unix(struct stream_listener **out, struct loop *l, const char *path,
		       void (*on_accept)(void *arg, struct stream *s), void *arg)
{
	*out = NULL;
	struct stream_listener *ln = listener_create(l, true, AF_UNIX, NULL, on_accept, arg);
	if (!ln)
		return -ENOMEM;
	int fd = bind_unix(path);
	if (fd < 0) {
		stream_listener_close(ln);
		return fd;
	}
	strcpy(ln->path, path);
	int rc = uv_pipe_open(&ln->io->pipe, fd);
	if (rc)
		close(fd);
	else
		rc = uv_listen(&ln->io->stream, STREAM_BACKLOG, on_connection);
	if (rc)
		stream_listener_close(ln);
	else
		*out = ln;
	return rc;
}

struct addr stream_listener_addr(const struct stream_listener *ln)
{
	struct sockaddr_storage sa;
	int len = sizeof sa;

	if (ln->is_unix || uv_tcp_getsockname(&ln->io->tcp, (struct sockaddr *)&sa, &len) != 0)
		return (struct addr) { 0 };
	return addr_from_sockaddr((struct sockaddr *)&sa);
}

void stream_listener_set_tls(struct stream_listener *ln, struct tls_config *tls)
{
	ln->tls = tls;
}

void stream_listener_set_gate(struct stream_listener *ln,
			      bool (*may_come)(void *arg, const struct addr *from), void *arg)
{
	ln->may_come = may_come;
	ln->may_come_arg = arg;
}

struct stream_listener_stats stream_listener_stats(const struct stream_listener *ln)
{
	return ln->stats;
}

void stream_listener_close(struct stream_listener *ln)
{
	if (!ln)
		return;
	while (ln->half_open)
		stream_close(ln->half_open);
	if (ln->path[0])
		unlink(ln->path);
	loop_timer_destroy(ln->turn);
	stream_io_close(ln->io);
	sources_free(&ln->sources);
	free(ln);
}
