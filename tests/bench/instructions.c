/* The pure functions of the data path, each on its own, so that their instructions can be counted (instructions.sh).
 *
 *   instructions list        names the works
 *   instructions WORK N      prepares PACKETS packets of SIZE bytes, does WORK on the superframes that hold the first N,
 *                            and prints how many packets these were: a run with N = 0 has the preparations alone
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"
#include "core/sealer.h"
#include "tun/checksum.h"
#include "tun/offload.h"
#include "tun/vnet.h"

enum {
	SIZE = 1392, /* of a packet: the MTU between our own nodes */
	TRAIN = 45,  /* packets of a superframe, about 60 KB */
	SUPERFRAMES = 20,
	PACKETS = TRAIN * SUPERFRAMES,
	STRIDE = SIZE + SEALER_OVERHEAD_MAX,
	IP_HEADER = 20,
	TCP_HEADER = 32, /* with timestamps */
	UDP_HEADER = 8,
	TCP = 6,
	UDP = 17,
};

struct superframe {
	uint8_t vnet[VNET_LEN];
	uint8_t packet[OFFLOAD_FRAME_MAX];
	size_t len;
};

static struct superframe superframes[SUPERFRAMES];
static uint8_t packets[PACKETS][STRIDE], messages[PACKETS][STRIDE];
static struct sealer sealer;
static struct opener opener;
static struct offload_merge merge;
static volatile uint32_t kept; /* so that nothing is left out as unused */

static size_t l4_header(uint8_t protocol)
{
	return protocol == TCP ? TCP_HEADER : UDP_HEADER;
}

/* As the kernel hands it over: the checksum's field has the pseudo-header's sum. */
static void make_superframe(struct superframe *f, uint8_t protocol, uint32_t seq, struct rng *rng)
{
	uint8_t *p = f->packet, *l4 = p + IP_HEADER;
	size_t headers = IP_HEADER + l4_header(protocol);
	f->len = headers + TRAIN * (SIZE - headers);
	vnet_store(f->vnet, &(struct vnet) { VNET_NEEDS_CSUM, protocol == TCP ? VNET_GSO_TCP4 : VNET_GSO_UDP,
					     (uint16_t)headers, (uint16_t)(SIZE - headers), IP_HEADER,
					     protocol == TCP ? VNET_TCP_OFFSET : VNET_UDP_OFFSET });
	rng_fill(rng, p, f->len);
	memset(p, 0, headers);
	p[0] = 0x45;
	store_be16(p + 2, (uint16_t)f->len);
	store_be16(p + 6, 0x4000);
	p[8] = 64;
	p[9] = protocol;
	store_be32(p + 12, 0x0a4d0001);
	store_be32(p + 16, 0x0a4d0002);
	store_be16(p + 10, (uint16_t)~checksum_fold(checksum_sum(p, IP_HEADER)));
	store_be16(l4, 4000);
	store_be16(l4 + 2, 5000);
	uint32_t pseudo = checksum_sum(p + 12, 8) + protocol + (uint32_t)(f->len - IP_HEADER);
	if (protocol == TCP) {
		store_be32(l4 + 4, seq);
		l4[12] = TCP_HEADER / 4 << 4;
		l4[13] = 0x10; /* ACK */
		l4[20] = l4[21] = 1;
		l4[22] = 8;
		l4[23] = 10;
		store_be16(l4 + VNET_TCP_OFFSET, checksum_fold(pseudo));
	} else {
		store_be16(l4 + 4, (uint16_t)(f->len - IP_HEADER));
		store_be16(l4 + VNET_UDP_OFFSET, checksum_fold(pseudo));
	}
}

static void make_superframes(uint8_t protocol)
{
	struct rng rng;
	rng_init_seed(&rng, 1);
	for (uint32_t i = 0; i < SUPERFRAMES; i++)
		make_superframe(&superframes[i], protocol, i * TRAIN * (SIZE - IP_HEADER - TCP_HEADER), &rng);
}

static void fail(const char *what)
{
	fprintf(stderr, "instructions: %s\n", what);
	exit(1);
}

static void split(struct superframe *f, uint8_t (*out)[STRIDE])
{
	struct offload_split s;
	size_t len;
	uint8_t *segment;
	if (offload_split_begin(&s, f->vnet, f->packet, f->len) < 0 || offload_split_count(&s) != TRAIN)
		fail("a superframe is not split as it should be");
	for (unsigned i = 0; (segment = offload_split_next(&s, &len)); i++) {
		if (out)
			memcpy(out[i], segment, len);
		kept += segment[10];
	}
}

static void prepare_tcp(void)
{
	make_superframes(TCP);
}
static void prepare_udp(void)
{
	make_superframes(UDP);
}

static void prepare_packets(uint8_t protocol)
{
	make_superframes(protocol);
	for (unsigned i = 0; i < SUPERFRAMES; i++)
		split(&superframes[i], &packets[i * TRAIN]);
}

static void prepare_tcp_packets(void)
{
	prepare_packets(TCP);
}
static void prepare_udp_packets(void)
{
	prepare_packets(UDP);
}

static void prepare_keys(enum cipher cipher)
{
	prepare_tcp_packets();
	sealer = (struct sealer) { .end = PACKETS, .receiver = 7, .cipher = cipher, .mtu = SIZE };
	memset(sealer.key, 1, sizeof(sealer.key));
	opener.has_aegis = true;
	memcpy(opener.chacha, sealer.key, sizeof(sealer.key));
	memcpy(opener.aegis, sealer.key, sizeof(sealer.key));
}

static void prepare_aegis(void)
{
	prepare_keys(CIPHER_AEGIS256);
}
static void prepare_chacha20(void)
{
	prepare_keys(CIPHER_CHACHA20);
}

static void do_seal(unsigned frame)
{
	for (unsigned i = frame * TRAIN; i < (frame + 1) * TRAIN; i++)
		sealer_seal(&sealer, messages[i], packets[i], SIZE);
}

static void prepare_messages(void)
{
	for (unsigned i = 0; i < SUPERFRAMES; i++)
		do_seal(i);
}

static void prepare_aegis_messages(void)
{
	prepare_aegis();
	prepare_messages();
}

static void prepare_chacha20_messages(void)
{
	prepare_chacha20();
	prepare_messages();
}

static void do_open(unsigned frame)
{
	size_t tag = sealer.cipher == CIPHER_AEGIS256 ? 32 : 16;
	struct opened opened;
	for (unsigned i = frame * TRAIN; i < (frame + 1) * TRAIN; i++) {
		if (opener_open(&opener, messages[i], SEALER_HEADER + SIZE + tag, &opened) < 0)
			fail("a message does not open");
	}
}

static void do_split(unsigned frame)
{
	split(&superframes[frame], NULL);
}

static void do_merge(unsigned frame)
{
	int slices;
	offload_merge_reset(&merge, true, true);
	for (unsigned i = frame * TRAIN; i < (frame + 1) * TRAIN; i++) {
		if (!offload_merge_add(&merge, packets[i], SIZE, false))
			fail("a packet finds no room");
	}
	if (offload_merge_count(&merge) != 1)
		fail("a flow is not merged");
	kept += offload_merge_frame(&merge, 0, &slices)->iov_len > 0;
}

static void do_checksum(unsigned frame)
{
	for (unsigned i = frame * TRAIN; i < (frame + 1) * TRAIN; i++)
		kept += checksum_fold(checksum_sum(packets[i], SIZE));
}

static const struct work {
	const char *name;
	void (*prepare)(void);
	void (*superframe)(unsigned frame);
} works[] = {
	{ "seal-aegis", prepare_aegis, do_seal },
	{ "seal-chacha20", prepare_chacha20, do_seal },
	{ "open-aegis", prepare_aegis_messages, do_open },
	{ "open-chacha20", prepare_chacha20_messages, do_open },
	{ "split-tcp", prepare_tcp, do_split },
	{ "split-udp", prepare_udp, do_split },
	{ "merge-tcp", prepare_tcp_packets, do_merge },
	{ "merge-udp", prepare_udp_packets, do_merge },
	{ "checksum", prepare_tcp_packets, do_checksum },
};

static int work(const struct work *w, unsigned count)
{
	if (crypto_init() < 0)
		fail("crypto_init");
	w->prepare();
	for (unsigned i = 0; i < count; i++)
		w->superframe(i);
	printf("%u packets\n", count * TRAIN);
	return 0;
}

int main(int argc, char **argv)
{
	bool list = argc == 2 && strcmp(argv[1], "list") == 0;
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
		if (list)
			puts(works[i].name);
		else if (argc == 3 && strcmp(argv[1], works[i].name) == 0 && atoi(argv[2]) <= PACKETS)
			return work(&works[i], (unsigned)atoi(argv[2]) / TRAIN);
	}
	if (!list)
		fprintf(stderr, "usage: instructions list | WORK PACKETS (at most %d)\n", PACKETS);
	return list ? 0 : 2;
}
