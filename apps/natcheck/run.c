#include "apps/natcheck/run.h"

#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apps/natcheck/family.h"
#include "apps/natcheck/sock.h"
#include "apps/natcheck/tcp.h"
#include "apps/natcheck/worker.h"
#include "core/loop.h"

enum {
	RESOLVER_MS = 1500, /* NAT64 is not waited for any longer */
	WORKER_POLL_MS = 20,
	PROGRESS_MS = 1000,
	LIFETIME_PRECISION_S = 5,
};

struct run {
	struct check *check;
	const struct run_config *config;
	uint64_t start_ms, end_ms;
	struct family families[2];
	struct worker *nat64, *tcp;
};

/* --- Servers. */

static bool is_known(const struct check *c, const struct addr *a)
{
	for (size_t i = 0; i < c->count; i++) {
		if (addr_equal(&c->servers[i].addr, a))
			return true;
	}
	return false;
}

int run_add_server(struct check *c, const char *host, const char *port, enum addr_family family)
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
			c->servers[c->count++].addr = a;
	}
	freeaddrinfo(found);
	return 0;
}

/* --- The check. */

static bool is_over(struct run *r, uint64_t now)
{
	struct nat64 nat64;
	struct tcp tcp;

	if (now >= r->end_ms)
		return family_has_ended_mappings(&r->families[0]) &&
		       family_has_ended_mappings(&r->families[1]);
	if (r->nat64 && !worker_collect(r->nat64, &nat64) && now - r->start_ms < RESOLVER_MS)
		return false;
	if (r->tcp && !worker_collect(r->tcp, &tcp))
		return false;
	return family_is_over(&r->families[0]) && family_is_over(&r->families[1]);
}

static void wait_for_news(struct run *r, uint64_t now)
{
	struct pollfd fds[2 * FAMILY_SOCKETS];
	uint64_t due = now + WORKER_POLL_MS;

	for (int i = 0; i < 2; i++) {
		uint64_t d = family_deadline(&r->families[i]);
		due = d < due ? d : due;
		memcpy(fds + i * FAMILY_SOCKETS, r->families[i].fds, sizeof r->families[i].fds);
	}
	if (poll(fds, 2 * FAMILY_SOCKETS, due > now ? (int)(due - now) : 0) <= 0)
		return;
	for (unsigned i = 0; i < 2 * FAMILY_SOCKETS; i++) {
		if (fds[i].revents)
			family_receive(&r->families[i / FAMILY_SOCKETS], i % FAMILY_SOCKETS);
	}
}

static void ask(struct run *r)
{
	uint64_t now;

	while (!is_over(r, now = loop_now_ms())) {
		for (int i = 0; i < 2; i++) {
			struct family *f = &r->families[i];
			family_go_on(f, now);
			if (now >= r->end_ms)
				family_cut(f, now);
			family_send(f, now);
		}
		wait_for_news(r, now);
	}
}

static void start_workers(struct run *r)
{
	struct nat64 nat64 = { 0 };
	struct tcp tcp = { 0 };

	if (r->check->ip6.tried)
		r->nat64 = worker_start(nat64_find, &nat64, sizeof nat64);
	if (r->config->tcp_host && tcp_plan(&tcp, r->config->tcp_host, r->config->tcp_port))
		r->tcp = worker_start(tcp_try, &tcp, sizeof tcp);
}

static void collect(struct run *r)
{
	struct tcp tcp;

	for (int i = 0; i < 2; i++) {
		family_judge(&r->families[i]);
		family_stop(&r->families[i]);
	}
	worker_collect(r->nat64, &r->check->nat64);
	if (worker_collect(r->tcp, &tcp))
		r->check->tcp = tcp.answer;
	worker_release(r->nat64);
	worker_release(r->tcp);
}

int run_check(struct check *c, const struct run_config *config, struct rng *rng)
{
	struct run r = { .check = c, .config = config, .start_ms = loop_now_ms() };
	struct family_config with = { rng, r.start_ms, config->no_mapping };

	r.end_ms = r.start_ms + config->timeout_ms;
	int ret = family_start(&r.families[0], c, ADDR_V4, &with);
	int ret6 = family_start(&r.families[1], c, ADDR_V6, &with);
	if (!ret && !ret6) {
		start_workers(&r);
		ask(&r);
	}
	collect(&r);
	return ret ? ret : ret6;
}

/* --- The lifetime of a mapping. */

static const struct check_server *first_answered(const struct check *c)
{
	enum addr_family family = c->ip4.udp == CHECK_UDP_OK ? ADDR_V4 : ADDR_V6;

	for (size_t i = 0; i < c->count; i++) {
		if (c->servers[i].answer == CHECK_ANSWERED && c->servers[i].addr.family == family)
			return &c->servers[i];
	}
	return NULL;
}

static void hear_lifetime(struct lifetime *l, const struct pollfd *fds)
{
	struct sock_datagram d;
	uint8_t msg[2048];

	for (unsigned i = 0; i < LIFETIME_SOCKETS; i++) {
		while (fds[i].revents && sock_receive(fds[i].fd, msg, sizeof msg, &d))
			lifetime_on_message(l, i, &d.from, msg, d.len, loop_now_ms());
	}
}

static void watch_lifetime(struct lifetime *l, struct pollfd *fds, struct rng *rng,
			   void (*on_progress)(const struct lifetime *l))
{
	uint64_t told_ms = 0, now;
	struct ask_out out;

	while (l->running) {
		now = loop_now_ms();
		while (lifetime_next(l, rng, now, &out))
			sock_send(fds[out.socket].fd, &out.to, out.msg, out.len);
		if (on_progress && now - told_ms >= PROGRESS_MS) {
			on_progress(l);
			told_ms = now;
		}
		uint64_t due = lifetime_deadline(l), wake = now + PROGRESS_MS;
		wake = due < wake ? due : wake;
		poll(fds, LIFETIME_SOCKETS, wake > now ? (int)(wake - now) : 0);
		hear_lifetime(l, fds);
	}
}

int run_lifetime(struct check *c, struct rng *rng, void (*on_progress)(const struct lifetime *l))
{
	const struct check_server *server = first_answered(c);
	struct pollfd fds[LIFETIME_SOCKETS] = { { .fd = -1 }, { .fd = -1 } };
	struct lifetime_config config = { .max_s = LIFETIME_MAX_S, .precision_s = LIFETIME_PRECISION_S };
	int ret = 0;

	c->aged = true;
	c->lifetime.unknown = true;
	if (!server)
		return 0;
	config.server = server->addr;
	for (unsigned i = 0; i < LIFETIME_SOCKETS && !ret; i++) {
		struct addr any = { .family = server->addr.family };
		int fd = sock_open(&any, SOCK_ORDINARY);
		fds[i] = (struct pollfd) { .fd = fd, .events = POLLIN };
		ret = fd < 0 ? fd : 0;
	}
	if (!ret) {
		lifetime_start(&c->lifetime, &config, rng, loop_now_ms());
		watch_lifetime(&c->lifetime, fds, rng, on_progress);
	}
	for (unsigned i = 0; i < LIFETIME_SOCKETS; i++) {
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	}
	return ret;
}
