/* For the tests of carry: visitors and services on loopback, in the loop's own thread, and "lo" in the tunnel's place. */
#ifndef P2PD_TESTS_UNIT_CARRY_WORLD_H
#define P2PD_TESTS_UNIT_CARRY_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/p2pd/forward/carry.h"
#include "core/proxy_header.h"

enum { WORLD_GUARD_MS = 30000 };

struct world {
	struct loop *loop;
	struct carry *carry;
	struct loop_timer *tick;
	bool (*until)(void *arg);
	void *until_arg;
	uint64_t guard_ms;
};

static inline void world_tick(void *arg)
{
	struct world *w = arg;

	if (w->until(w->until_arg)) {
		loop_stop(w->loop);
		return;
	}
	if (loop_now_ms() > w->guard_ms)
		fail_msg("waited in vain");
	loop_timer_set(w->tick, loop_now_ms() + 1);
}

/* Runs the loop until that is so. */
static inline void world_await(struct world *w, bool (*until)(void *arg), void *arg)
{
	w->until = until;
	w->until_arg = arg;
	w->guard_ms = loop_now_ms() + WORLD_GUARD_MS;
	loop_timer_set(w->tick, 0);
	loop_run(w->loop);
}

/* Its place must not change. */
static inline void world_begin(struct world *w)
{
	*w = (struct world) { .loop = loop_create() };
	assert_non_null(w->loop);
	w->carry = carry_create(w->loop, "lo");
	w->tick = loop_timer_create(w->loop, world_tick, w);
	assert_non_null(w->carry);
	assert_non_null(w->tick);
}

static inline void world_end(struct world *w)
{
	carry_destroy(w->carry);
	loop_timer_destroy(w->tick);
	loop_destroy(w->loop);
}

/* --- Sockets of ours, nonblocking. */

static inline struct addr at(const char *ip, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, ip, 0), 0);
	a.port = port;
	return a;
}

static inline struct addr local_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	return addr_from_sockaddr((struct sockaddr *)&ss);
}

static inline int socket_at(const char *ip, int type)
{
	struct addr a = at(ip, 0);
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&a, &ss);
	int fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

/* A port that nobody has there, at this moment. */
static inline struct addr free_at(const char *ip, int type)
{
	int fd = socket_at(ip, type);
	struct addr a = local_of(fd);

	close(fd);
	return a;
}

static inline int service_at(const char *ip, struct addr *where)
{
	int fd = socket_at(ip, SOCK_STREAM);

	assert_int_equal(listen(fd, 4096), 0);
	*where = local_of(fd);
	return fd;
}

static inline int visit_from(const char *ip, int type, const struct addr *where)
{
	int fd = socket_at(ip, type);
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(where, &ss);

	if (connect(fd, (struct sockaddr *)&ss, len) != 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static inline bool is_ready(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static inline int world_accept(struct world *w, int service)
{
	world_await(w, is_ready, &service);
	int fd = accept4(service, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* So many bytes, exactly. */
struct reading {
	int fd;
	uint8_t *into;
	size_t want, got;
};

static inline bool has_read(void *arg)
{
	struct reading *r = arg;
	ssize_t n;

	while (r->got < r->want && (n = recv(r->fd, r->into + r->got, r->want - r->got, 0)) != -1) {
		if (n == 0)
			fail_msg("it ended after %zu bytes", r->got);
		r->got += (size_t)n;
	}
	return r->got == r->want;
}

static inline void world_read(struct world *w, int fd, void *into, size_t want)
{
	struct reading r = { fd, into, want, 0 };

	world_await(w, has_read, &r);
}

static inline void expect_bytes(struct world *w, int fd, const void *want, size_t len)
{
	uint8_t got[1024];

	assert_true(len <= sizeof got);
	world_read(w, fd, got, len);
	assert_memory_equal(got, want, len);
}

static inline void expect_text(struct world *w, int fd, const char *want)
{
	expect_bytes(w, fd, want, strlen(want));
}

static inline void send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline void expect_end(struct world *w, int fd)
{
	char byte;

	world_await(w, is_ready, &fd);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static inline void expect_reset(struct world *w, int fd)
{
	char byte;

	world_await(w, is_ready, &fd);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* --- Entries. */

static inline struct forward_entry entry(uint8_t id, enum forward_proto proto, struct addr listen_at,
					 struct addr target)
{
	return (struct forward_entry) { .id = { id },
					.side = FORWARD_OWNER,
					.proto = proto,
					.listen = listen_at,
					.target = target,
					.count = 1 };
}

static inline void apply(struct world *w, const struct forward_entry *entries, size_t count)
{
	char why[CARRY_WHY] = "";
	size_t failed = 0;

	if (carry_apply(w->carry, entries, count, &failed, why) != 0)
		fail_msg("entry %zu: %s", failed, why);
}

static inline struct forward_stats stats_of(struct world *w, uint8_t id)
{
	uint8_t full[FORWARD_ID] = { id };
	struct forward_stats s;

	assert_true(carry_stats(w->carry, full, &s));
	return s;
}

struct rejects {
	struct world *w;
	uint8_t id;
	enum forward_reject why;
	uint64_t want;
};

static inline bool has_rejected(void *arg)
{
	struct rejects *r = arg;

	return stats_of(r->w, r->id).rejected[r->why] >= r->want;
}

static inline void expect_rejects(struct world *w, uint8_t id, enum forward_reject why, uint64_t want)
{
	struct rejects r = { w, id, why, want };

	world_await(w, has_rejected, &r);
	assert_int_equal(stats_of(w, id).rejected[why], want);
}

struct connections {
	struct world *w;
	uint8_t id;
	uint32_t want;
};

static inline bool has_connections(void *arg)
{
	struct connections *c = arg;

	return stats_of(c->w, c->id).connections == c->want;
}

static inline void expect_connections(struct world *w, uint8_t id, uint32_t want)
{
	struct connections c = { w, id, want };

	world_await(w, has_connections, &c);
}

/* Descriptors of this process. */
static inline int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -3; /* "." and "..", and this one */

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

#endif
