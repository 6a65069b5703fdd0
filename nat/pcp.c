#include "nat/pcp.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"

enum {
	VERSION = 2,
	RESPONSE = 0x80,
	HEADER = 24,
	UDP = 17,
	FIRST_WAIT_MS = 250,
	LONGEST_WAIT_MS = 1024000, /* MRT, section 8.1.1 */
	EPOCH_SLACK_S = 2,
};

/* ::ffff:0:0/96, in which PCP writes IPv4. */
static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static void write_ip(struct writer *w, const struct addr *a)
{
	if (a->family == ADDR_V6) {
		write_bytes(w, a->ip, 16);
		return;
	}
	write_bytes(w, v4_mapped, sizeof v4_mapped);
	write_bytes(w, a->ip, 4);
}

/* Without a suggestion: the address of all zeros of the family (section 11.1). */
static void write_suggested(struct writer *w, const struct pcp_map *m)
{
	struct addr any = { .family = m->client.family };

	write_be16(w, m->suggested.port);
	write_ip(w, m->suggested.family == m->client.family ? &m->suggested : &any);
}

void pcp_encode_map(const struct pcp_map *m, uint8_t out[static PCP_MAP_LEN])
{
	struct writer w = writer_over(out, PCP_MAP_LEN);

	write_u8(&w, VERSION);
	write_u8(&w, PCP_MAP);
	write_be16(&w, 0);
	write_be32(&w, m->lifetime_s);
	write_ip(&w, &m->client);
	write_bytes(&w, m->nonce, PCP_NONCE);
	write_u8(&w, UDP);
	write_zeros(&w, 3);
	write_be16(&w, m->client.port);
	write_suggested(&w, m);
}

static struct addr read_endpoint(struct reader *r)
{
	uint16_t port = read_be16(r);
	uint8_t ip[16];

	read_into(r, ip, sizeof ip);
	struct addr a = addr_from_ip(ADDR_V6, ip, port);
	return addr_is_unusable(&a) ? (struct addr) { 0 } : a;
}

static int read_map(struct pcp_response *out, struct reader *r)
{
	read_into(r, out->nonce, PCP_NONCE);
	bool udp = read_u8(r) == UDP;
	read_bytes(r, 3);
	out->internal_port = read_be16(r);
	out->external = read_endpoint(r);
	return r->bad || !udp ? -EBADMSG : 0;
}

/* Options may follow; none of them changes what is asked here. */
int pcp_decode(struct pcp_response *out, const uint8_t *msg, size_t len)
{
	struct reader r = reader_over(msg, len);

	*out = (struct pcp_response) { 0 };
	uint8_t version = read_u8(&r), opcode = read_u8(&r);
	read_u8(&r);
	out->result = read_u8(&r);
	out->lifetime_s = read_be32(&r);
	out->epoch_s = read_be32(&r);
	if (len > PCP_MAX || !(opcode & RESPONSE))
		return -EBADMSG;
	out->opcode = opcode & ~RESPONSE;
	/* A gateway of another version answers in that one (section 9; RFC 6886 section 3.5: 8 bytes). */
	if (version != VERSION) {
		out->result = PCP_UNSUPP_VERSION;
		return len < 8 || load_be16(msg + 2) != PCP_UNSUPP_VERSION ? -EBADMSG : 0;
	}
	read_bytes(&r, HEADER - 12);
	if (r.bad || len % 4 || out->opcode > PCP_MAP)
		return -EBADMSG;
	return out->opcode == PCP_MAP ? read_map(out, &r) : 0;
}

/* ---- Epochs */

/* The elapsed times of the two clocks must not differ by more than 1/16 and the slack. */
static bool agree(uint64_t client_s, uint64_t server_s)
{
	return client_s + EPOCH_SLACK_S >= server_s - server_s / 16 &&
	       server_s + EPOCH_SLACK_S >= client_s - client_s / 16;
}

bool pcp_epoch_note(struct pcp_epoch *e, uint32_t epoch_s, uint64_t now_ms)
{
	bool valid = true;

	/* A second back is what answers that overtook each other show. */
	if (e->known && epoch_s + 1ull < e->server_s)
		valid = false;
	else if (e->known)
		valid = agree((now_ms - e->client_ms) / 1000,
			      epoch_s > e->server_s ? epoch_s - e->server_s : 0);
	*e = (struct pcp_epoch) { .known = true, .server_s = epoch_s, .client_ms = now_ms };
	return valid;
}

/* ---- One request */

void pcp_client_start(struct pcp_client *c, const struct pcp_map *map, uint64_t now_ms)
{
	*c = (struct pcp_client) {
		.state = PCP_WAITING,
		.map = *map,
		.next_ms = now_ms,
		.wait_ms = FIRST_WAIT_MS,
	};
}

size_t pcp_client_next(struct pcp_client *c, uint64_t now_ms, uint8_t out[static PCP_MAP_LEN])
{
	if (c->state != PCP_WAITING || now_ms < c->next_ms)
		return 0;
	pcp_encode_map(&c->map, out);
	c->next_ms = now_ms + c->wait_ms;
	c->wait_ms = c->wait_ms * 2 < LONGEST_WAIT_MS ? c->wait_ms * 2 : LONGEST_WAIT_MS;
	return PCP_MAP_LEN;
}

uint64_t pcp_client_deadline(const struct pcp_client *c)
{
	return c->state == PCP_WAITING ? c->next_ms : UINT64_MAX;
}

static bool is_awaited(const struct pcp_client *c, const struct pcp_response *r)
{
	if (r->result == PCP_UNSUPP_VERSION)
		return true;
	return r->opcode == PCP_MAP && r->internal_port == c->map.client.port &&
	       memcmp(r->nonce, c->map.nonce, PCP_NONCE) == 0;
}

/* A mapping granted without an address, or of the other family, is none; nothing has to be said of one that ended. */
static bool is_granted(const struct pcp_client *c, const struct pcp_response *r)
{
	if (r->result != PCP_SUCCESS)
		return false;
	return !c->map.lifetime_s || (r->lifetime_s && r->external.family == c->map.client.family);
}

bool pcp_client_on_message(struct pcp_client *c, const uint8_t *msg, size_t len)
{
	struct pcp_response r;

	if (c->state != PCP_WAITING || pcp_decode(&r, msg, len) || !is_awaited(c, &r))
		return false;
	c->response = r;
	c->state = is_granted(c, &r) ? PCP_DONE : PCP_FAILED;
	return true;
}
