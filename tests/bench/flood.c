/* A flood of small UDP datagrams, as an application sends it: sendmmsg without UDP_SEGMENT, recvmmsg without UDP_GRO.
 *
 *   flood send ADDRESS PORT SIZE RATE SECONDS   RATE datagrams a second of SIZE bytes each; RATE 0: as fast as it goes
 *   flood recv PORT SECONDS                     counts what comes within SECONDS from the first datagram on; gives up
 *                                               when none has come after 2 s or none comes for 0.2 s
 *
 * Each prints one line: send the datagrams that the kernel took; recv what came, and how many of these overtook
 * another one. Datagrams carry their number (big-endian, 8 bytes). */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum {
	BATCH = 32,
	SIZE_MAX_HERE = 2048,
	SOCKET_BUFFER = 4 << 20, /* the receiver must be the last to lose anything */
	NAP_NS = 50000,
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	uint8_t data[BATCH][SIZE_MAX_HERE];
};

static struct batch batch;

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

static void batch_init(size_t size)
{
	for (int i = 0; i < BATCH; i++) {
		batch.iov[i] = (struct iovec) { batch.data[i], size };
		batch.messages[i].msg_hdr = (struct msghdr) { .msg_iov = &batch.iov[i], .msg_iovlen = 1 };
	}
}

static struct sockaddr_in address_of(const char *ip, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
		fprintf(stderr, "flood: no IPv4 address: %s\n", ip);
		exit(2);
	}
	return a;
}

/* How many may go now: what the rate allows up to this moment, a batch at most. */
static unsigned due(double rate, double passed, uint64_t sent)
{
	if (rate <= 0)
		return BATCH;
	double n = rate * passed - (double)sent;
	return n < 1 ? 0 : n > BATCH ? BATCH : (unsigned)n;
}

static int flood_send(char **arg)
{
	struct sockaddr_in to = address_of(arg[0], arg[1]);
	size_t size = (size_t)atoi(arg[2]);
	double rate = atof(arg[3]), seconds = atof(arg[4]), start;
	uint64_t offered = 0, taken = 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (size < 8 || size > SIZE_MAX_HERE)
		return 2;
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail("connect");
	batch_init(size);
	start = now();
	for (double passed = 0; passed < seconds; passed = now() - start) {
		unsigned n = due(rate, passed, offered);
		if (n == 0) {
			nanosleep(&(struct timespec) { .tv_nsec = NAP_NS }, NULL);
			continue;
		}
		for (unsigned i = 0; i < n; i++) {
			uint64_t number = htobe64(offered + i);
			memcpy(batch.data[i], &number, sizeof(number));
		}
		int done = sendmmsg(fd, batch.messages, n, 0);
		if (done < 0 && errno != ENOBUFS && errno != ECONNREFUSED && errno != EINTR)
			fail("sendmmsg");
		taken += done > 0 ? (unsigned)done : 0;
		offered += n; /* what it did not take is lost, as on any full queue */
	}
	printf("%llu datagrams\n", (unsigned long long)taken);
	return 0;
}

static void patience(int fd, long usec)
{
	struct timeval t = { .tv_sec = usec / 1000000, .tv_usec = usec % 1000000 };
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0)
		fail("SO_RCVTIMEO");
}

static int flood_recv(char **arg)
{
	struct sockaddr_in at = address_of("0.0.0.0", arg[0]);
	double seconds = atof(arg[1]), first = 0;
	uint64_t count = 0, overtaken = 0, next = 0;
	int size = SOCKET_BUFFER, fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		fail("bind");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		fail("SO_RCVBUFFORCE");
	patience(fd, 2000000);
	batch_init(SIZE_MAX_HERE);
	for (;;) {
		int n = recvmmsg(fd, batch.messages, BATCH, MSG_WAITFORONE, NULL);
		double t = now();
		if (n <= 0 || (count > 0 && t - first > seconds))
			break;
		if (count == 0) {
			first = t;
			patience(fd, 200000);
		}
		for (int i = 0; i < n; i++) {
			uint64_t number;
			memcpy(&number, batch.data[i], sizeof(number));
			number = be64toh(number);
			overtaken += number < next;
			next = number < next ? next : number + 1;
		}
		count += (unsigned)n;
	}
	printf("%llu datagrams, %llu overtaken\n", (unsigned long long)count, (unsigned long long)overtaken);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "send") == 0)
		return flood_send(argv + 2);
	if (argc == 4 && strcmp(argv[1], "recv") == 0)
		return flood_recv(argv + 2);
	fprintf(stderr, "usage: flood send ADDRESS PORT SIZE RATE SECONDS | flood recv PORT SECONDS\n");
	return 2;
}
