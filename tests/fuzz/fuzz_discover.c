/* Discovery and the search for a mapping's lifetime, fed with answers that know the transaction id. Both must end in
 * time, whatever comes, and send nothing to where they must not. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "nat/discover.h"
#include "nat/lifetime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_SENT = 200, MOST_MS = 30000 };

static const uint8_t ip[4] = { 198, 51, 100, 1 }, inside[4] = { 192, 168, 1, 5 };

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* An answer or a request, with what the fuzzer says: from where, to which socket, and the attributes. */
struct input {
	struct addr from;
	unsigned socket;
	uint8_t msg[STUN_PADDED_MAX];
	size_t len;
};

static struct addr read_from(struct reader *r, const struct addr *server)
{
	uint8_t kind = read_u8(r);
	struct addr from = *server;

	if (kind & 1)
		from.port ^= 1;
	if (kind & 2)
		from.ip[3] ^= 3;
	if (kind & 4)
		read_into(r, from.ip, 4);
	return from;
}

/* The header is made to fit, so that attributes are reached. */
static struct input read_input(struct reader *r, const struct addr *server, unsigned sockets,
			       const uint8_t *txid)
{
	struct input in = { .from = read_from(r, server), .socket = read_u8(r) % sockets };
	static const uint16_t types[] = { 0x0101, 0x0111, 0x0001, 0x0011 };
	uint16_t type = types[read_u8(r) % 4], len = read_u8(r) & 0xfc;

	len = len > r->left ? (uint16_t)(r->left & ~(size_t)3) : len;
	struct writer w = writer_over(in.msg, sizeof in.msg);
	write_be16(&w, type);
	write_be16(&w, len);
	write_be32(&w, 0x2112a442);
	write_bytes(&w, txid, STUN_TXID);
	const uint8_t *attributes = read_bytes(r, len);
	if (attributes)
		write_bytes(&w, attributes, len);
	in.len = w.len;
	return in;
}

static void check_to(const struct addr *to, const struct addr *server)
{
	check(to->family == ADDR_V4 && to->port && !addr_is_unusable(to));
	check(!addr_is_private(to) || addr_is_private(server));
}

static void fuzz_discover(struct reader r, struct rng *rng)
{
	struct addr server = addr_from_ip(ADDR_V4, ip, 3478);
	struct discover_config c = { .servers = { server },
				     .server_count = 1,
				     .local = addr_from_ip(ADDR_V4, inside, 4000) };
	static struct discover d;
	struct ask_out out = { 0 };
	uint64_t now = 1;

	check(discover_start(&d, &c, rng, now) == 0);
	for (unsigned sent = 0; d.running;) {
		while (discover_next(&d, rng, now, &out)) {
			check(++sent < MOST_SENT && out.socket < DISCOVER_SOCKETS);
			struct input in = read_input(&r, &server, DISCOVER_SOCKETS,
						     out.msg + STUN_HEADER - STUN_TXID);
			if (out.socket != DISCOVER_MAIN && out.socket != DISCOVER_HAIRPIN)
				check_to(&out.to, &server);
			if (r.left)
				discover_on_message(&d, in.socket % 2 ? out.socket : in.socket, &c.local,
						    &in.from, in.msg, in.len, now);
		}
		check(!d.running || discover_deadline(&d) > now);
		now = d.running ? discover_deadline(&d) : now;
		check(now < MOST_MS);
	}
	check(verdict_type(&d.result.verdict) != NAT_TYPE_BLOCKED || !d.result.mapped.family);
}

static void fuzz_lifetime(struct reader r, struct rng *rng)
{
	struct lifetime_config c = { .server = addr_from_ip(ADDR_V4, ip, 3478),
				     .precision_s = 5,
				     .inbound = true };
	struct lifetime l;
	struct ask_out out = { 0 };
	uint64_t now = 1;

	lifetime_start(&l, &c, rng, now);
	for (unsigned sent = 0; l.running;) {
		while (lifetime_next(&l, rng, now, &out)) {
			check(++sent < 10 * MOST_SENT && addr_equal(&out.to, &c.server));
			struct input in = read_input(&r, &c.server, LIFETIME_SOCKETS,
						     out.msg + STUN_HEADER - STUN_TXID);
			if (r.left)
				lifetime_on_message(&l, in.socket, &in.from, in.msg, in.len, now);
		}
		check(!l.running || lifetime_deadline(&l) > now);
		now = l.running ? lifetime_deadline(&l) : now;
		check(now < 24 * 3600 * 1000);
	}
	check(l.dead_s == 0 || l.alive_s < l.dead_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rng rng;

	rng_init_seed(&rng, 1);
	fuzz_discover(reader_over(data, size), &rng);
	fuzz_lifetime(reader_over(data, size), &rng);
	return 0;
}
