/* Carries known bytes from one host to another and compares every one with what it must be: stronger than a hash of all,
 * since it tells which byte of which packet is wrong. What is lost on the way of UDP is counted only.
 *
 *   ferry serve PORT [gro]           until killed; `gro`: takes trains of datagrams as one, as the kernel merged them
 *   ferry tcp IP PORT BYTES [mss=N]  sends a stream there
 *   ferry udp IP PORT BYTES size=N [gso=N]    sends datagrams of N bytes, gso of them at a time in one call
 *
 * The sender prints what the server found, in one line: `MBIT_S ...`, and ends with 1 if a byte was wrong, a datagram had
 * another length or came twice. Each byte is a function of a transfer's seed, the datagram and its place; so nothing
 * that is moved, repeated or left over from before goes for right. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
	CHUNK = 256 << 10,
	DATAGRAM_MAX = 65507,
	TRAIN_MAX = 65000,    /* bytes that one call with UDP_SEGMENT takes */
	WINDOW_COUNT = 384,   /* datagrams under way: fewer than a TUN device queues */
	WINDOW = 256 << 10,   /* bytes of datagrams under way */
	WINDOW_STALL_MS = 20, /* after that, what was not heard of is taken for lost */
	WORD_LEN = 8,
	REPORT_BYTES = 32 << 10,
	REPORT_COUNT = 48,
	QUIET_MS = 250, /* after the sender's end: what is missing is lost */
	STREAM_IDLE_S = 60,
	SOCKET_BUFFER = 8 << 20,
};

/* The first bytes of a TCP connection. size 0: a stream follows; else datagrams come, and the connection is where
 * the server tells how many came. */
struct hello {
	uint64_t seed, bytes;
	uint32_t size, unused;
};

struct datagram {
	uint64_t seed, number;
	uint32_t len, unused;
};

struct report {
	uint64_t received;
	uint32_t wrong, twice, disordered, final;
};

static void die(const char *what)
{
	fprintf(stderr, "ferry: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- The bytes */

/* The finalizer of splitmix64: word `n` of the stream `seed`. */
static uint64_t word_at(uint64_t seed, uint64_t n)
{
	uint64_t z = seed + n * 0x9e3779b97f4a7c15U;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

static void fill(uint8_t *out, size_t len, uint64_t seed, uint64_t offset)
{
	uint64_t n = offset / WORD_LEN, w;
	size_t skip = offset % WORD_LEN;

	while (len > 0) {
		size_t part = WORD_LEN - skip < len ? WORD_LEN - skip : len;
		w = word_at(seed, n++);
		memcpy(out, (uint8_t *)&w + skip, part);
		out += part;
		len -= part;
		skip = 0;
	}
}

/* Where the first wrong byte is; -1 if none. */
static ssize_t first_wrong(const uint8_t *data, size_t len, uint64_t seed, uint64_t offset)
{
	static uint8_t want[CHUNK];

	fill(want, len, seed, offset);
	if (memcmp(want, data, len) == 0)
		return -1;
	size_t i = 0;
	while (want[i] == data[i])
		i++;
	return (ssize_t)i;
}

static uint64_t new_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		die("getrandom");
	return seed;
}

/* --- Sockets */

static bool send_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool receive_all(int fd, void *data, size_t len)
{
	return recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof value) < 0)
		die("setsockopt");
}

/* Who hears nothing for so long gives up. */
static void set_patience(int fd)
{
	struct timeval idle = { .tv_sec = STREAM_IDLE_S };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle) < 0)
		die("setsockopt");
}

static int open_socket(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (type == SOCK_DGRAM) {
		set(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER);
		set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER);
	}
	return fd;
}

static int serve_socket(int type, uint16_t port)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = open_socket(AF_INET6, type);

	set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (type == SOCK_STREAM)
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || (type == SOCK_STREAM && listen(fd, 8) < 0))
		die("bind");
	return fd;
}

static int connect_socket(const char *ip, const char *port, int type, int mss)
{
	struct addrinfo hints = { .ai_socktype = type, .ai_flags = AI_NUMERICHOST }, *ai;

	if (getaddrinfo(ip, port, &hints, &ai) != 0) {
		errno = EINVAL;
		die(ip);
	}
	int fd = open_socket(ai->ai_family, type);
	if (mss)
		set(fd, IPPROTO_TCP, TCP_MAXSEG, mss);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		die(ip);
	freeaddrinfo(ai);
	return fd;
}

/* --- The server */

struct count {
	const struct hello *hello;
	struct report report;
	uint64_t before; /* the seed of the transfer before: its stragglers are nobody's fault */
	uint8_t *seen;	 /* a bit for each datagram */
	uint64_t most, next;
};

static void take_datagram(struct count *c, const uint8_t *data, size_t len)
{
	const struct hello *h = c->hello;
	struct datagram d;

	if (len < sizeof d || (memcpy(&d, data, sizeof d), d.seed) != h->seed) {
		if (len >= sizeof d && d.seed == c->before)
			return;
		printf("a datagram of %zu bytes that is not of this transfer\n", len);
		c->report.wrong++;
		return;
	}
	ssize_t at = first_wrong(data + sizeof d, len - sizeof d, d.seed ^ word_at(d.number, 1), 0);
	if (d.number >= c->most || d.len != len || at >= 0) {
		printf("datagram %lu: %zu of %u bytes, wrong from byte %zd on\n", d.number, len, d.len, at);
		c->report.wrong++;
		return;
	}
	uint8_t *byte = &c->seen[d.number / 8], bit = (uint8_t)(1U << d.number % 8);
	c->report.twice += (*byte & bit) != 0;
	*byte |= bit;
	c->report.disordered += d.number < c->next;
	c->next = d.number + 1;
	c->report.received++;
}

/* One datagram, or with UDP_GRO a train of them. False if nothing was there. */
static bool take_train(struct count *c, int fd)
{
	static uint8_t buf[1 << 16];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { buf, sizeof buf };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
	int each = 0;

	if (n < 0)
		return false;
	for (struct cmsghdr *m = CMSG_FIRSTHDR(&msg); m; m = CMSG_NXTHDR(&msg, m)) {
		if (m->cmsg_level == IPPROTO_UDP && m->cmsg_type == UDP_GRO)
			memcpy(&each, CMSG_DATA(m), sizeof each);
	}
	size_t step = each > 0 ? (size_t)each : (size_t)n;
	for (size_t at = 0; at < (size_t)n; at += step)
		take_datagram(c, buf + at, (size_t)n - at < step ? (size_t)n - at : step);
	return true;
}

static void serve_datagrams(int tcp, int udp, const struct hello *h, uint64_t before)
{
	struct count c = { .hello = h, .before = before, .most = h->bytes / h->size + 1 };
	struct pollfd fds[] = { { .fd = udp, .events = POLLIN }, { .fd = tcp, .events = POLLIN } };
	uint64_t told = 0, ended_ms = 0, sent = UINT64_MAX;

	c.seen = calloc(c.most / 8 + 1, 1);
	if (!c.seen)
		die("calloc");
	while (c.report.received < sent && (ended_ms == 0 || clock_ms() < ended_ms + QUIET_MS)) {
		if (poll(fds, ended_ms ? 1 : 2, QUIET_MS) < 0)
			die("poll");
		while (take_train(&c, udp)) {
			if (ended_ms)
				ended_ms = clock_ms();
			if ((c.report.received - told) * h->size >= REPORT_BYTES ||
			    c.report.received - told >= REPORT_COUNT) {
				told = c.report.received;
				(void)!send(tcp, &c.report, sizeof c.report, MSG_NOSIGNAL | MSG_DONTWAIT);
			}
		}
		if (!ended_ms && fds[1].revents) {
			if (!receive_all(tcp, &sent, sizeof sent))
				break;
			ended_ms = clock_ms();
		}
	}
	c.report.final = 1;
	send_all(tcp, &c.report, sizeof c.report);
	free(c.seen);
}

static void serve_stream(int tcp, const struct hello *h)
{
	static uint8_t buf[CHUNK];
	struct report report = { .final = 1 };

	while (report.received < h->bytes && !report.wrong) {
		uint64_t left = h->bytes - report.received;
		ssize_t n = recv(tcp, buf, left < sizeof buf ? left : sizeof buf, 0);
		if (n <= 0) {
			printf("the stream ends after %lu of %lu bytes\n", report.received, h->bytes);
			return;
		}
		ssize_t at = first_wrong(buf, (size_t)n, h->seed, report.received);
		if (at >= 0) {
			printf("stream: byte %lu is wrong\n", report.received + (uint64_t)at);
			report.wrong = 1;
		}
		report.received += (uint64_t)n;
	}
	send_all(tcp, &report, sizeof report);
}

static void serve(uint16_t port, bool gro)
{
	int listener = serve_socket(SOCK_STREAM, port), udp = serve_socket(SOCK_DGRAM, port);
	uint64_t before = 0;
	struct hello h;

	if (gro)
		set(udp, IPPROTO_UDP, UDP_GRO, 1);
	for (;;) {
		int tcp = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (tcp < 0)
			die("accept");
		set_patience(tcp);
		set(tcp, IPPROTO_TCP, TCP_NODELAY, 1);
		if (receive_all(tcp, &h, sizeof h)) {
			if (h.size)
				serve_datagrams(tcp, udp, &h, before);
			else
				serve_stream(tcp, &h);
			before = h.seed;
		}
		close(tcp);
	}
}

/* --- The sender */

/* Prints the verdict; the exit code. */
static int verdict(int tcp, const struct hello *h, uint64_t sent, uint64_t started_ms)
{
	uint64_t each = h->size ? h->size : 1, took_ms;
	struct report r = { 0 };

	while (!r.final) {
		if (!receive_all(tcp, &r, sizeof r)) {
			fprintf(stderr,
				"ferry: the server found something wrong and hung up, or was not reached\n");
			return 1;
		}
	}
	took_ms = clock_ms() - started_ms + 1;
	if (h->size && r.received < sent)
		took_ms = took_ms > QUIET_MS ? took_ms - QUIET_MS : 1;
	printf("%.0f Mbit/s", (double)(r.received * each) * 8 / 1000 / (double)took_ms);
	if (h->size)
		printf(", %.1f %% of %lu lost, %u out of order",
		       100 * (1 - (double)r.received / (double)sent), sent, r.disordered);
	if (r.wrong || r.twice)
		printf(", %u WRONG, %u TWICE", r.wrong, r.twice);
	puts("");
	return r.wrong || r.twice || r.received == 0;
}

static int send_stream(const char *ip, const char *port, uint64_t bytes, int mss)
{
	static uint8_t buf[CHUNK];
	struct hello h = { .seed = new_seed(), .bytes = bytes };
	int fd = connect_socket(ip, port, SOCK_STREAM, mss);
	uint64_t started = clock_ms(), sent = 0;

	set_patience(fd);
	if (!send_all(fd, &h, sizeof h))
		die("send");
	while (sent < bytes) {
		size_t n = bytes - sent < sizeof buf ? bytes - sent : sizeof buf;
		fill(buf, n, h.seed, sent);
		if (!send_all(fd, buf, n))
			break;
		sent += n;
	}
	return verdict(fd, &h, sent, started);
}

/* Datagrams from `number` on, as many as there is room for; how many that are. */
static uint64_t put_train(uint8_t *buf, const struct hello *h, uint64_t number, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *p = buf + i * h->size;
		struct datagram d = { .seed = h->seed, .number = number + i, .len = h->size };
		memcpy(p, &d, sizeof d);
		fill(p + sizeof d, h->size - sizeof d, d.seed ^ word_at(d.number, 1), 0);
	}
	return count;
}

static bool full(uint64_t under_way, uint32_t size)
{
	return under_way * size > WINDOW || under_way > WINDOW_COUNT;
}

/* Waits while too much is under way; what was not heard of for a moment counts as lost. */
static void wait_for_room(int tcp, uint64_t *under_way, uint64_t *heard, uint32_t size)
{
	struct pollfd fd = { .fd = tcp, .events = POLLIN };
	struct report r;

	while (poll(&fd, 1, full(*under_way, size) ? WINDOW_STALL_MS : 0) > 0) {
		if (!receive_all(tcp, &r, sizeof r) || r.final)
			exit(1);
		uint64_t fresh = r.received - *heard;
		*heard = r.received;
		*under_way -= fresh < *under_way ? fresh : *under_way;
	}
	if (full(*under_way, size))
		*under_way = 0;
}

static int send_datagrams(const char *ip, const char *port, uint64_t bytes, uint32_t size, uint32_t gso)
{
	static uint8_t buf[DATAGRAM_MAX];
	struct hello h = { .seed = new_seed(), .bytes = bytes, .size = size };
	int tcp = connect_socket(ip, port, SOCK_STREAM, 0), udp = connect_socket(ip, port, SOCK_DGRAM, 0);
	uint64_t started = clock_ms(), most = bytes / size, under_way = 0, heard = 0, sent = 0;

	set_patience(tcp);
	set(tcp, IPPROTO_TCP, TCP_NODELAY, 1);
	if (gso > 1)
		set(udp, IPPROTO_UDP, UDP_SEGMENT, (int)size);
	if (!send_all(tcp, &h, sizeof h))
		die("send");
	while (sent < most) {
		uint64_t n = put_train(buf, &h, sent, most - sent < gso ? most - sent : gso);
		if (send(udp, buf, n * size, 0) < 0 && errno != ENOBUFS && errno != ECONNREFUSED)
			die("send");
		sent += n;
		under_way += n;
		wait_for_room(tcp, &under_way, &heard, size);
	}
	if (!send_all(tcp, &sent, sizeof sent))
		die("send");
	return verdict(tcp, &h, sent, started);
}

static long option(char **words, const char *key, long otherwise)
{
	size_t n = strlen(key);

	for (; *words; words++) {
		if (strncmp(*words, key, n) == 0 && (*words)[n] == '=')
			return strtol(*words + n + 1, NULL, 10);
	}
	return otherwise;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc >= 3 && strcmp(argv[1], "serve") == 0)
		serve((uint16_t)atoi(argv[2]), argc > 3 && strcmp(argv[3], "gro") == 0);
	if (argc >= 5) {
		uint64_t bytes = strtoull(argv[4], NULL, 10);
		long size = option(argv + 5, "size", 0), gso = option(argv + 5, "gso", 1);
		if (strcmp(argv[1], "tcp") == 0)
			return send_stream(argv[2], argv[3], bytes, (int)option(argv + 5, "mss", 0));
		if (strcmp(argv[1], "udp") == 0 && size >= (long)sizeof(struct datagram) && gso > 0 &&
		    size <= DATAGRAM_MAX && (gso == 1 || size * gso <= TRAIN_MAX))
			return send_datagrams(argv[2], argv[3], bytes, (uint32_t)size, (uint32_t)gso);
	}
	fprintf(stderr, "usage: ferry serve PORT [gro] | ferry tcp IP PORT BYTES [mss=N] | "
			"ferry udp IP PORT BYTES size=N [gso=N]\n");
	return 2;
}
