#include "nat/discover_internal.h"

#include "nat/classify.h"

static void judge_mapping(struct discover *d)
{
	struct classify_sample samples[DISCOVER_ENDPOINTS];
	const struct ask *first = discover_first_answer(d);
	struct verdict *v = &d->result.verdict;
	size_t count = 0;

	if (!first)
		return;
	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++) {
		const struct ask *a = &d->asks[i];
		if (!discover_answered(d, i))
			continue;
		samples[count++] = (struct classify_sample) { d->local[DISCOVER_MAIN], a->plan.to,
							      a->mapped };
		v->pooling |= !addr_same_ip(&a->mapped, &first->mapped);
	}
	struct classify_result nat = classify(samples, count);
	v->mapping = (uint8_t)nat.mapping;
	d->result.across_addresses = nat.across_addresses;
	d->result.keeps_port = nat.keeps_port;
	d->result.mapped = first->mapped;
	if (first->mapped.family == ADDR_V4) {
		v->public_ip = first->mapped;
		v->public_ip.port = 0;
	}
}

static void judge_fresh(struct discover *d)
{
	struct predict_sample samples[DISCOVER_FRESH_ASKS];
	bool pooling = d->result.verdict.pooling;
	size_t count = 0;

	for (unsigned i = 0; i < DISCOVER_FRESH_ASKS; i++) {
		const struct ask *a = &d->asks[ASK_FRESH + i];
		unsigned socket = a->plan.socket;
		if (a->state != ASK_ANSWERED)
			continue;
		samples[count++] = (struct predict_sample) { .sent_ms = a->first_ms,
							     .socket = (uint16_t)socket,
							     .local_port = d->local[socket].port,
							     .server = a->plan.to,
							     .mapped = a->mapped };
	}
	if (!count)
		return;
	struct prediction p = predict(samples, count);
	predict_to_verdict(&p, &d->result.verdict);
	d->result.keeps_parity = p.keeps_parity;
	d->result.verdict.pooling |= pooling;
}

enum passage { PASSAGE_UNKNOWN, PASSAGE_OPEN, PASSAGE_CLOSED };

/* Did an answer come, and really from where it was wanted from? */
static bool came(const struct discover *d, unsigned i, const struct discover_stranger *s)
{
	const struct ask *a = &d->asks[i];
	bool other_ip = s->change & STUN_CHANGE_IP;

	return a->state == ASK_ANSWERED && (!s->change || addr_same_ip(&a->from, &a->plan.to) != other_ip);
}

static enum passage judge_passage(const struct discover *d, unsigned try, unsigned proof,
				  const struct discover_stranger *s)
{
	bool served = came(d, proof, s) || (s->change && verdict_is_hard(&d->result.verdict));

	if (came(d, try, s))
		return PASSAGE_OPEN;
	if (d->asks[try].state == ASK_SILENT && served && discover_answered(d, ASK_BEFORE) &&
	    discover_answered(d, ASK_AFTER))
		return PASSAGE_CLOSED;
	return PASSAGE_UNKNOWN;
}

static enum nat_filtering judge_filtering(const struct discover *d)
{
	enum passage ip = judge_passage(d, ASK_TRY_IP, ASK_PROOF_IP, &d->by_ip);
	enum passage port = judge_passage(d, ASK_TRY_PORT, ASK_PROOF_PORT, &d->by_port);

	if (ip == PASSAGE_OPEN)
		return FILTERING_ENDPOINT_INDEPENDENT;
	if (port == PASSAGE_CLOSED)
		return FILTERING_ADDRESS_AND_PORT_DEPENDENT;
	return ip == PASSAGE_CLOSED && port == PASSAGE_OPEN ? FILTERING_ADDRESS_DEPENDENT : FILTERING_UNKNOWN;
}

/* Silence tells only where the filter was open for it: behind an endpoint-dependent mapping it is not. */
static enum discover_answer judge_hairpin(const struct discover *d)
{
	if (d->result.hairpin == DISCOVER_YES)
		return DISCOVER_YES;
	return d->asks[ASK_HAIRPIN].state == ASK_SILENT &&
			       d->result.verdict.mapping == MAPPING_ENDPOINT_INDEPENDENT
		       ? DISCOVER_NO
		       : DISCOVER_UNKNOWN;
}

static enum discover_answer judge_clash(const struct discover *d)
{
	const struct discover_stranger *s = discover_clash_stranger(d);

	if (d->result.verdict.mapping == MAPPING_NONE)
		return DISCOVER_NO;
	if (!discover_answered(d, ASK_CLASH_AGAIN))
		return DISCOVER_UNKNOWN;
	if (!addr_equal(&d->asks[ASK_CLASH_AGAIN].mapped, &d->asks[ASK_CLASH_MAPPED].mapped))
		return DISCOVER_YES;
	return came(d, ASK_CLASH_STRANGER, s) || came(d, s == &d->by_ip ? ASK_PROOF_IP : ASK_PROOF_PORT, s)
		       ? DISCOVER_NO
		       : DISCOVER_UNKNOWN;
}

void discover_judge(struct discover *d)
{
	struct discover_result *r = &d->result;

	judge_mapping(d);
	/* Of half the samples a block is none yet. */
	if (d->phase <= DISCOVER_ASK_FRESH)
		return;
	judge_fresh(d);
	r->verdict.filtering = (uint8_t)judge_filtering(d);
	r->hairpin = judge_hairpin(d);
	r->clash_moves_port = judge_clash(d);
}
