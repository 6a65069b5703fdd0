#include "nat/stun_client.h"

#include <string.h>

/* RFC 8489 section 6.2.1. */
enum {
	DEFAULT_RTO_MS = 500,
	MAX_REQUESTS = 7,    /* Rc */
	LAST_WAIT_RTOS = 16, /* Rm: the wait after the last request, in RTOs */
};

void stun_client_start(struct stun_client *c, const struct addr *server, uint32_t rto_ms, struct rng *rng,
		       uint64_t now_ms)
{
	*c = (struct stun_client) {
		.state = STUN_WAITING,
		.server = *server,
		.next_ms = now_ms,
		.rto_ms = rto_ms ? rto_ms : DEFAULT_RTO_MS,
	};
	rng_fill(rng, c->txid, sizeof c->txid);
}

static uint64_t wait_after_request(const struct stun_client *c)
{
	if (c->sent == MAX_REQUESTS)
		return (uint64_t)c->rto_ms * LAST_WAIT_RTOS;
	return (uint64_t)c->rto_ms << (c->sent - 1);
}

size_t stun_client_next(struct stun_client *c, uint64_t now_ms, uint8_t out[static STUN_MAX])
{
	if (c->state != STUN_WAITING || now_ms < c->next_ms)
		return 0;
	if (c->sent == MAX_REQUESTS) {
		c->state = STUN_FAILED;
		return 0;
	}

	struct stun_msg request = { .cls = STUN_REQUEST, .method = STUN_BINDING };
	memcpy(request.txid, c->txid, sizeof request.txid);
	c->sent++;
	c->sent_ms = now_ms;
	c->next_ms = now_ms + wait_after_request(c);
	return (size_t)stun_encode(&request, false, out, STUN_MAX);
}

uint64_t stun_client_deadline(const struct stun_client *c)
{
	return c->state == STUN_WAITING ? c->next_ms : UINT64_MAX;
}

static bool is_awaited(const struct stun_client *c, const struct stun_msg *m, const struct addr *from)
{
	return (m->cls == STUN_SUCCESS || m->cls == STUN_ERROR) && m->method == STUN_BINDING &&
	       memcmp(m->txid, c->txid, sizeof c->txid) == 0 && addr_equal(from, &c->server);
}

/* RFC 8489 section 6.3.3: a success with attributes that we would have to understand is none. */
static bool is_usable(const struct stun_msg *m)
{
	return m->cls == STUN_SUCCESS && m->unknown_count == 0 && m->mapped.family != ADDR_NONE;
}

bool stun_client_on_message(struct stun_client *c, const uint8_t *msg, size_t len, const struct addr *from,
			    uint64_t now_ms)
{
	struct stun_msg m;

	if (c->state != STUN_WAITING || stun_decode(&m, msg, len) || !is_awaited(c, &m, from))
		return false;
	if (!is_usable(&m)) {
		c->state = STUN_FAILED;
		c->error_code = m.error_code;
		return true;
	}
	c->state = STUN_DONE;
	c->mapped = m.mapped;
	c->other_address = m.other_address;
	c->rtt_ms = c->sent == 1 ? (uint32_t)(now_ms - c->sent_ms) : 0;
	return true;
}
