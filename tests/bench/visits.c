/* Visitors of a TCP service, many of them, and the service: each connection sends one byte and gets it back.
 *
 *   visits serve PORT                          the service, until it is ended
 *   visits hold ADDRESS PORT COUNT             opens COUNT connections and prints how many of them live; at the end of
 *                                              stdin asks each of them once more and prints how many answered
 *   visits rate ADDRESS PORT SECONDS TOGETHER  one after the other, TOGETHER at a time, each closed when it was answered;
 *                                              prints {"per_s", "p50_ms", "p99_ms", "failed"} */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS = 256,
	BACKLOG = 4096,
	FILES_MAX = 1 << 18,
	BEGIN_TOGETHER = 100, /* of those that are to be held */
	PATIENCE_MS = 5000,   /* without any progress: what is not open yet has failed */
	TIMES_MAX = 1 << 20,
};

enum visit_state { VISIT_NONE, VISIT_CONNECTING, VISIT_ASKED, VISIT_ANSWERED };

struct visit {
	enum visit_state state;
	double since;
};

static struct visit visits[FILES_MAX]; /* by descriptor */
static struct sockaddr_in to;
static float times[TIMES_MAX];
static unsigned answered, failed, under_way;
static int epfd;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(int op, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };
	if (epoll_ctl(epfd, op, fd, &e) < 0)
		fail("epoll_ctl");
}

/* --- The service */

static int listen_at(const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0)
		fail("listen");
	return fd;
}

static void take_all(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			return;
		watch(EPOLL_CTL_ADD, fd, EPOLLIN);
	}
}

static void give_back(int fd)
{
	char bytes[64];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	if (n <= 0 || send(fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

_Noreturn static void serve(char **arg)
{
	struct epoll_event events[EVENTS];
	int listener = listen_at(arg[0]);
	watch(EPOLL_CTL_ADD, listener, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epfd, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				take_all(listener);
			else
				give_back(events[i].data.fd);
		}
	}
}

/* --- Visitors */

static void end(int fd, bool good)
{
	visits[fd].state = VISIT_NONE;
	failed += !good;
	under_way--;
	close(fd);
}

static void begin(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || fd >= FILES_MAX || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		fail("socket");
	under_way++;
	visits[fd] = (struct visit) { VISIT_CONNECTING, now() };
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		end(fd, false);
		return;
	}
	watch(EPOLL_CTL_ADD, fd, EPOLLOUT);
}

static void ask(int fd)
{
	if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) {
		end(fd, false);
		return;
	}
	visits[fd].state = VISIT_ASKED;
	watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

/* `keep`: it stays open. */
static void hear(int fd, bool keep)
{
	char byte;
	if (recv(fd, &byte, 1, 0) != 1) {
		end(fd, false);
		return;
	}
	if (answered < TIMES_MAX)
		times[answered] = (float)(now() - visits[fd].since);
	answered++;
	visits[fd].state = VISIT_ANSWERED;
	if (!keep)
		end(fd, true);
}

/* False: nothing happened for `wait_ms`. */
static bool turn(int wait_ms, bool keep)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(epfd, events, EVENTS, wait_ms);
	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;
		if (visits[fd].state == VISIT_CONNECTING)
			ask(fd);
		else
			hear(fd, keep);
	}
	return n > 0;
}

static void target(char **arg)
{
	to = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[1])) };
	if (inet_pton(AF_INET, arg[0], &to.sin_addr) != 1) {
		fprintf(stderr, "visits: no IPv4 address: %s\n", arg[0]);
		exit(2);
	}
}

static unsigned asked_again(void)
{
	answered = 0;
	for (int fd = 0; fd < FILES_MAX; fd++)
		if (visits[fd].state == VISIT_ANSWERED)
			ask(fd);
	while (answered < under_way && turn(PATIENCE_MS, true))
		;
	return answered;
}

static int hold(char **arg)
{
	unsigned count = (unsigned)atoi(arg[2]), begun = 0;
	char nothing[64];
	target(arg);
	do {
		for (; begun < count && begun - answered - failed < BEGIN_TOGETHER; begun++)
			begin();
	} while (answered + failed < count && turn(PATIENCE_MS, true));
	printf("%u\n", answered);
	fflush(stdout);
	while (read(STDIN_FILENO, nothing, sizeof(nothing)) > 0)
		;
	printf("%u\n", asked_again());
	return 0;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static int rate(char **arg)
{
	double seconds = atof(arg[2]), start = now(), passed = 0;
	unsigned together = (unsigned)atoi(arg[3]);
	target(arg);
	while (passed < seconds) {
		for (unsigned n = under_way; n < together; n++)
			begin();
		turn(100, false);
		passed = now() - start;
	}
	unsigned n = answered < TIMES_MAX ? answered : TIMES_MAX;
	qsort(times, n, sizeof(*times), by_size);
	printf("{\"per_s\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"failed\": %u}\n", answered / passed,
	       n ? 1000.0 * times[n / 2] : 0, n ? 1000.0 * times[n * 99 / 100] : 0, failed);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("getrlimit");
	files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("setrlimit");
	epfd = epoll_create1(0);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve(argv + 2);
	if (argc == 5 && strcmp(argv[1], "hold") == 0)
		return hold(argv + 2);
	if (argc == 6 && strcmp(argv[1], "rate") == 0)
		return rate(argv + 2);
	fprintf(stderr,
		"usage: visits serve PORT | hold ADDRESS PORT COUNT | rate ADDRESS PORT SECONDS TOGETHER\n");
	return 2;
}
