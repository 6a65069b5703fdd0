#include "apps/natcheck/query.h"

#include <string.h>

#include "core/bytes.h"

/* An attribute that no server knows or has to know (RFC 8489 section 14: from 0x8000 on). */
enum { FILLER = 0xfffe, ATTR_HEADER = 4, LENGTH_AT = 2 };

void query_start(struct query *q, const struct query_plan *plan, uint64_t now_ms)
{
	*q = (struct query) { .state = QUERY_WAITING, .plan = *plan, .next_ms = now_ms };
}

static size_t fill_up(uint8_t *msg, size_t len, size_t size)
{
	if (size < len + ATTR_HEADER || size > QUERY_MAX)
		return len;
	memset(msg + len, 0, size - len);
	store_be16(msg + len, FILLER);
	store_be16(msg + len + 2, (uint16_t)(size - len - ATTR_HEADER));
	store_be16(msg + LENGTH_AT, (uint16_t)(size - STUN_HEADER));
	return size;
}

size_t query_next(struct query *q, uint64_t now_ms, uint8_t out[static QUERY_MAX])
{
	if (q->state != QUERY_WAITING || now_ms < q->next_ms)
		return 0;
	if (q->sent == q->plan.tries) {
		q->state = QUERY_SILENT;
		return 0;
	}
	/* The last wait is as long as the one before: there is nothing to be gentle for any more. */
	unsigned doubled = q->sent + 1 < q->plan.tries || !q->sent ? q->sent : q->sent - 1;
	q->sent++;
	q->sent_ms = now_ms;
	q->next_ms = now_ms + ((uint64_t)q->plan.rto_ms << doubled);
	int len = stun_encode(&q->plan.request, false, out, QUERY_MAX);
	return len < 0 ? 0 : fill_up(out, (size_t)len, q->plan.size);
}

void query_fail(struct query *q)
{
	if (q->state == QUERY_WAITING)
		q->state = QUERY_SILENT;
}

uint64_t query_deadline(const struct query *q)
{
	return q->state == QUERY_WAITING ? q->next_ms : UINT64_MAX;
}

static bool decode(const struct query *q, struct stun_msg *m, const uint8_t *msg, size_t len)
{
	const struct stun_msg *r = &q->plan.request;

	if (r->classic ? stun_decode_classic(m, msg, len) : stun_decode(m, msg, len))
		return false;
	return (m->cls == STUN_SUCCESS || m->cls == STUN_ERROR) && m->method == STUN_BINDING &&
	       m->classic_id == r->classic_id && !memcmp(m->txid, r->txid, sizeof r->txid);
}

bool query_on_message(struct query *q, unsigned listen, const struct addr *from, const uint8_t *msg,
		      size_t len, unsigned fragment, uint64_t now_ms)
{
	struct stun_msg m;

	if (q->state != QUERY_WAITING || listen != q->plan.listen || !decode(q, &m, msg, len) ||
	    (!q->plan.any_source && !addr_equal(from, &q->plan.to)))
		return false;
	bool usable = m.cls == STUN_SUCCESS && !m.unknown_count &&
		      (q->plan.any_source || m.mapped.family != ADDR_NONE);
	q->state = usable ? QUERY_ANSWERED : QUERY_REFUSED;
	q->from = *from;
	q->mapped = m.mapped;
	q->len = len;
	q->fragment = fragment;
	q->rtt_ms = q->sent == 1 ? (uint32_t)(now_ms - q->sent_ms) : 0;
	return true;
}

bool query_is_over(const struct query *q)
{
	return q->state != QUERY_WAITING;
}
