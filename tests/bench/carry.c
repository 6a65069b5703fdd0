/* Measures what carries forwarded ports by our own sockets (carry.sh).
 *
 *   carry relay LISTEN TARGET        carries TCP and UDP until it is killed
 *   carry load LISTEN TARGET N       is both ends of a relay, any: N connections one after the other, PARALLEL at a time, a
 *                                    byte there and back on each; prints how many a second
 *   carry hold LISTEN TARGET N PID   the same, but all are held; prints by how many KiB the process grew
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apps/p2pd/forward/carry.h"

enum { PARALLEL = 64, EVENTS = 256 };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "carry: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct addr parse(const char *text)
{
	struct addr a;

	if (addr_parse(&a, text, 0) != 0) {
		fprintf(stderr, "carry: \"%s\" is no ADDRESS:PORT\n", text);
		exit(2);
	}
	return a;
}

static int relay(const char *listen_at, const char *target)
{
	struct loop *l = loop_create();
	struct carry *c = carry_create(l, "lo");
	struct forward_entry e[2] = {
		{ .side = FORWARD_OWNER, .proto = FORWARD_TCP, .count = 1, .idle_s = 90 }
	};
	char why[CARRY_WHY] = "";
	size_t failed;

	e->listen = parse(listen_at);
	e->target = parse(target);
	e[1] = e[0];
	e[1].proto = FORWARD_UDP;
	if (carry_apply(c, e, 2, &failed, why)) {
		fprintf(stderr, "carry: %s\n", why);
		return 1;
	}
	loop_run(l);
	return 0;
}

/* --- Both ends, by one epoll: whose an event is stands beside the descriptor. */

enum role { LISTENER, SERVER, CLIENT };

struct load {
	struct sockaddr_storage to;
	unsigned to_len;
	int epoll, listener;
	unsigned wanted, begun, done;
	bool hold;
};

static void watch(const struct load *l, int fd, enum role role)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = (uint64_t)role << 32 | (unsigned)fd };

	must(epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) == 0, "epoll");
}

/* Blocking: the kernel's queue takes it at once, and a byte always has room. */
static void begin_one(struct load *l)
{
	int fd = socket(l->to.ss_family, SOCK_STREAM, 0);

	must(fd >= 0 && connect(fd, (struct sockaddr *)&l->to, l->to_len) == 0, "connect");
	must(send(fd, "x", 1, MSG_NOSIGNAL) == 1, "send");
	l->begun++;
	watch(l, fd, CLIENT);
}

static void serve(struct load *l, int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	if (n > 0)
		must(send(fd, &byte, 1, MSG_NOSIGNAL) == 1, "answer");
	else
		close(fd);
	(void)l;
}

static void answered(struct load *l, int fd)
{
	char byte;

	must(recv(fd, &byte, 1, 0) == 1, "the answer");
	l->done++;
	if (l->hold)
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
	else
		close(fd);
	if (l->begun < l->wanted)
		begin_one(l);
}

static void handle(struct load *l, const struct epoll_event *e)
{
	int fd = (int)(uint32_t)e->data.u64;

	switch ((enum role)(e->data.u64 >> 32)) {
	case LISTENER: watch(l, accept(fd, NULL, NULL), SERVER); break;
	case SERVER: serve(l, fd); break;
	case CLIENT: answered(l, fd); break;
	}
}

static void load_begin(struct load *l, const char *relay_at, const char *target)
{
	struct addr to = parse(relay_at), at = parse(target);
	struct sockaddr_storage ss;
	unsigned len = addr_to_sockaddr(&at, &ss);
	struct rlimit files;
	int one = 1;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	l->to_len = addr_to_sockaddr(&to, &l->to);
	l->epoll = epoll_create1(0);
	l->listener = socket(ss.ss_family, SOCK_STREAM, 0);
	setsockopt(l->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	must(bind(l->listener, (struct sockaddr *)&ss, len) == 0 && listen(l->listener, 4096) == 0, target);
	watch(l, l->listener, LISTENER);
}

static void load_run(struct load *l)
{
	struct epoll_event events[EVENTS];

	for (unsigned i = 0; i < PARALLEL && l->begun < l->wanted; i++)
		begin_one(l);
	while (l->done < l->wanted) {
		int n = epoll_wait(l->epoll, events, EVENTS, 10000);
		must(n > 0, "waited in vain");
		for (int i = 0; i < n; i++)
			handle(l, &events[i]);
	}
}

static long resident_kib(const char *pid)
{
	char path[64], line[128];
	long kib = 0;

	snprintf(path, sizeof path, "/proc/%s/status", pid);
	FILE *f = fopen(path, "r");
	must(f != NULL, path);
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = strtol(line + 6, NULL, 10);
	fclose(f);
	return kib;
}

int main(int argc, char **argv)
{
	struct load l = { .wanted = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0 };

	if (argc == 4 && strcmp(argv[1], "relay") == 0)
		return relay(argv[2], argv[3]);
	if (argc < 5 || l.wanted == 0) {
		fprintf(stderr, "usage: carry relay LISTEN TARGET | load LISTEN TARGET N | hold LISTEN "
				"TARGET N PID\n");
		return 2;
	}
	l.hold = argc == 6;
	load_begin(&l, argv[2], argv[3]);
	long before = l.hold ? resident_kib(argv[5]) : 0;
	uint64_t began = loop_now_ms();
	load_run(&l);
	uint64_t took = loop_now_ms() - began;
	if (l.hold)
		printf("%ld\n", resident_kib(argv[5]) - before);
	else
		printf("%llu\n", (unsigned long long)(l.wanted * 1000ULL / (took ? took : 1)));
	return 0;
}
