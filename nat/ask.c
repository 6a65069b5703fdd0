#include "nat/ask.h"

#include <string.h>

void ask_start(struct ask *a, const struct ask_plan *plan, struct rng *rng)
{
	*a = (struct ask) { .state = ASK_WAITING, .plan = *plan, .next_ms = plan->start_ms };
	rng_fill(rng, a->txid, sizeof a->txid);
}

bool ask_next(struct ask *a, uint64_t now_ms, struct ask_out *out)
{
	if (a->state != ASK_WAITING || now_ms < a->next_ms)
		return false;
	if (a->sent == a->plan.tries) {
		a->state = ASK_SILENT;
		return false;
	}

	struct stun_msg request = { .cls = STUN_REQUEST,
				    .method = STUN_BINDING,
				    .change_request = a->plan.change,
				    .response_port = a->plan.response_port };
	memcpy(request.txid, a->txid, sizeof request.txid);
	if (!a->sent++)
		a->first_ms = now_ms;
	a->next_ms = now_ms + a->plan.every_ms;
	out->socket = a->plan.socket;
	out->to = a->plan.to;
	out->len = (size_t)stun_encode(&request, false, out->msg, STUN_MAX);
	return true;
}

uint64_t ask_deadline(const struct ask *a)
{
	return a->state == ASK_WAITING ? a->next_ms : UINT64_MAX;
}

static bool is_diverted(const struct ask_plan *p)
{
	return p->change || p->response_port;
}

/* The txid was seen by the server alone, so an answer from elsewhere is its doing. But only where that was asked for:
 * else it would be taken for what `to` says. */
static bool is_ours(const struct ask *a, unsigned socket, const struct addr *from, const struct stun_msg *m)
{
	const struct ask_plan *p = &a->plan;

	return a->state == ASK_WAITING && a->sent && m->method == STUN_BINDING &&
	       (m->cls == STUN_SUCCESS || m->cls == STUN_ERROR) &&
	       memcmp(m->txid, a->txid, sizeof a->txid) == 0 && (socket == p->socket || socket == p->lands) &&
	       (p->change || addr_equal(from, &p->to));
}

static enum ask_state outcome(const struct ask_plan *p, unsigned socket, const struct addr *from,
			      const struct stun_msg *m)
{
	bool as_wanted = is_diverted(p) ? socket == p->lands && !(p->change && addr_equal(from, &p->to))
					: m->mapped.family == p->to.family;

	return m->cls == STUN_SUCCESS && m->unknown_count == 0 && as_wanted ? ASK_ANSWERED : ASK_REFUSED;
}

bool ask_on_message(struct ask *a, unsigned socket, const struct addr *from, const struct stun_msg *m,
		    uint64_t now_ms)
{
	if (!is_ours(a, socket, from, m))
		return false;
	a->state = outcome(&a->plan, socket, from, m);
	a->from = *from;
	a->mapped = m->mapped;
	a->other = m->other_address;
	a->answered_ms = now_ms;
	return true;
}
