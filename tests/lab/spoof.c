/* Datagrams with forged sources, each from another address in 16.0.0.0/4, to the UDP port of a hub or relay: what its
 * protocols have, asked for by somebody who knows nothing of who is there.
 *
 *   spoof ADDRESS PORT COUNT RATE     COUNT datagrams (and sources), RATE a second
 *
 * They are by turns: binds, proofs, admissions with a ticket that is none, joins, data, STUN, and nonsense. Prints how many
 * the kernel took. IP(7): raw sockets with a header of one's own; needs CAP_NET_RAW. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	BATCH = 64,
	HEADERS = sizeof(struct iphdr) + sizeof(struct udphdr),
	PAYLOAD_MAX = 128,
	FIRST_SOURCE = 0x10000000,
	SOURCE_STEP = 193, /* most are in a /24 of their own */
	NAP_NS = 200000,
};

/* The relay's: relay/relay_wire.h. Bytes that are not said here are random. */
static const struct kind {
	uint8_t head[8], head_len, len;
} kinds[] = {
	{ { 0x82, 1, 0, 0 }, 4, 24 },			   /* a bind */
	{ { 0x82, 1, 0, 0, 0, 0, 0, 0 }, 8, 24 },	   /* a guest's */
	{ { 0x82, 3, 0, 0 }, 4, 40 },			   /* a proof */
	{ { 0x82, 6, 0, 0, 0, 0, 0, 0 }, 8, 96 },	   /* an admission */
	{ { 0x82, 7, 0, 0 }, 4, 24 },			   /* a join */
	{ { 0x81, 0, 0, 0 }, 4, 108 },			   /* data */
	{ { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42 }, 8, 20 }, /* a STUN binding */
	{ { 0x82, 9 }, 2, 8 },				   /* no message there is */
	{ { 0x81 }, 1, 3 },				   /* half a header */
	{ { 0 }, 0, 60 },				   /* anything */
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_in to;
	uint8_t data[BATCH][HEADERS + PAYLOAD_MAX];
};

static struct batch batch;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t draw(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15; /* xorshift64: the same flood each time */

	s ^= s << 13;
	s ^= s >> 7;
	return s ^= s << 17;
}

static void fill(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t r = draw();
		memcpy(out + i, &r, len - i < 8 ? len - i : 8);
	}
}

/* The kernel fills in the IP header's checksum and length; UDP over IPv4 may go without one. */
static void put(unsigned i, uint32_t number)
{
	const struct kind *k = &kinds[number % (sizeof kinds / sizeof *kinds)];
	size_t len = HEADERS + k->len;
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .tot_len = htons((uint16_t)len),
			    .ttl = 64,
			    .protocol = IPPROTO_UDP,
			    .saddr = htonl(FIRST_SOURCE + number * SOURCE_STEP),
			    .daddr = batch.to.sin_addr.s_addr };
	struct udphdr udp = { .source = htons((uint16_t)(1024 + number % 60000)),
			      .dest = batch.to.sin_port,
			      .len = htons((uint16_t)(len - sizeof ip)) };
	uint8_t *at = batch.data[i];

	memcpy(at, &ip, sizeof ip);
	memcpy(at + sizeof ip, &udp, sizeof udp);
	fill(at + HEADERS, k->len);
	memcpy(at + HEADERS, k->head, k->head_len);
	batch.iov[i] = (struct iovec) { at, len };
	batch.messages[i].msg_hdr = (struct msghdr) { .msg_name = &batch.to,
						      .msg_namelen = sizeof batch.to,
						      .msg_iov = &batch.iov[i],
						      .msg_iovlen = 1 };
}

static void send_batch(int fd, unsigned n)
{
	for (unsigned done = 0; done < n;) {
		int rc = sendmmsg(fd, batch.messages + done, n - done, 0);
		if (rc < 0 && errno != ENOBUFS && errno != EINTR && errno != EAGAIN) {
			perror("spoof: sendmmsg");
			exit(1);
		}
		done += rc > 0 ? (unsigned)rc : 0;
	}
}

static uint64_t flood(int fd, uint32_t count, uint64_t rate)
{
	uint64_t start = now_ns();

	for (uint32_t sent = 0; sent < count;) {
		uint64_t due = (now_ns() - start) * rate / 1000000000;
		unsigned n = 0;
		while (n < BATCH && sent + n < count && sent + n < due) {
			put(n, sent + n);
			n++;
		}
		if (n == 0)
			nanosleep(&(struct timespec) { .tv_nsec = NAP_NS }, NULL);
		send_batch(fd, n);
		sent += n;
	}
	return (now_ns() - start) / 1000000;
}

int main(int argc, char **argv)
{
	batch.to.sin_family = AF_INET;
	if (argc != 5 || inet_pton(AF_INET, argv[1], &batch.to.sin_addr) != 1) {
		fprintf(stderr, "usage: spoof ADDRESS PORT COUNT RATE\n");
		return 2;
	}
	batch.to.sin_port = htons((uint16_t)atoi(argv[2]));
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0) {
		perror("spoof: socket");
		return 1;
	}
	uint32_t count = (uint32_t)strtoul(argv[3], NULL, 10);
	uint64_t ms = flood(fd, count, strtoull(argv[4], NULL, 10));
	printf("%u datagrams in %llu ms\n", count, (unsigned long long)ms);
	return 0;
}
