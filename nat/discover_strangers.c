#include "nat/discover_internal.h"

enum {
	/* 10 % loss on each way: 81 % of the answers come. All of five are lost once in 4,000 times. */
	STRANGER_TRIES = 5,
	HAIRPIN_TRIES = 4,
	HAIRPIN_MS = 100, /* our own NAT is near */
	CLASH_TRIES = 3,
	LEAST_PORT = 1024,
};

static bool idle(const struct discover *d, unsigned i)
{
	return d->asks[i].state == ASK_IDLE;
}

/* Has a stranger's packet sent to `socket`, which the server sees as `mapped`. The socket of the hairpin test is the
 * one that asks for others: it may have sent to anywhere. */
static void ask_stranger(struct discover *d, unsigned i, const struct discover_stranger *s, unsigned socket,
			 const struct addr *mapped, struct rng *rng, uint64_t at_ms)
{
	struct ask_plan plan = { .socket = (uint8_t)(s->change ? socket : DISCOVER_HAIRPIN),
				 .lands = (uint8_t)socket,
				 .tries = i == ASK_CLASH_STRANGER ? CLASH_TRIES : STRANGER_TRIES,
				 .every_ms = i == ASK_CLASH_STRANGER ? d->every_ms / 2 : d->every_ms,
				 .change = s->change,
				 .response_port = s->change ? 0 : mapped->port,
				 .start_ms = at_ms,
				 .to = s->ask };

	if (s->ask.family != ADDR_NONE)
		ask_start(&d->asks[i], &plan, rng);
}

const struct discover_stranger *discover_clash_stranger(const struct discover *d)
{
	return d->by_ip.ask.family != ADDR_NONE ? &d->by_ip : &d->by_port;
}

static bool answers(const struct discover *d, const struct addr *endpoint)
{
	const struct ask *a = discover_find_endpoint(d, endpoint);

	return a && a->state == ASK_ANSWERED;
}

static struct discover_stranger told_our_port(const struct ask *other)
{
	return (struct discover_stranger) { .ask = other->plan.to, .comes_from = other->plan.to };
}

/* By the second port that the server announces, else by another that was given to us. */
static struct discover_stranger find_by_port(const struct discover *d, const struct ask *home)
{
	struct addr own = home->plan.to;

	own.port = home->other.port;
	if (own.port != home->plan.to.port && answers(d, &own))
		return (struct discover_stranger) { home->plan.to, own, STUN_CHANGE_PORT };
	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++) {
		const struct ask *a = &d->asks[i];
		if (a != home && discover_answered(d, i) && addr_same_ip(&a->plan.to, &home->plan.to))
			return told_our_port(a);
	}
	return (struct discover_stranger) { 0 };
}

/* By the second address that the server announces, else by another server. */
static struct discover_stranger find_by_ip(const struct discover *d, const struct ask *home)
{
	const struct addr *own = &home->other;
	const struct ask *other = discover_other_answer(d, home);

	if (!addr_same_ip(own, &home->plan.to) && answers(d, own))
		return (struct discover_stranger) { home->plan.to, *own, STUN_CHANGE_IP | STUN_CHANGE_PORT };
	if (other && !addr_same_ip(&other->plan.to, &home->plan.to))
		return told_our_port(other);
	return (struct discover_stranger) { 0 };
}

/* The server that the sockets of these tests send to, and no other: one that has a second address; else a second port;
 * else any. */
static void find_strangers(struct discover *d)
{
	unsigned best = 0;

	for (unsigned i = ASK_ENDPOINT; i < ASK_ENDPOINT + d->endpoint_count; i++) {
		const struct ask *a = &d->asks[i];
		if (a->state != ASK_ANSWERED)
			continue;
		struct discover_stranger ip = find_by_ip(d, a), port = find_by_port(d, a);
		unsigned worth = 1 + (port.ask.family ? 1 : 0) + (ip.ask.family ? 2 : 0) +
				 (ip.change ? 4 : 0);
		if (worth <= best)
			continue;
		best = worth;
		d->home = a->plan.to;
		d->by_ip = ip;
		d->by_port = port;
	}
}

/* Where MAIN is seen from where the stranger's packet comes from. */
static void ask_proof(struct discover *d, unsigned i, const struct discover_stranger *s, struct rng *rng,
		      uint64_t at_ms)
{
	const struct ask *seen = discover_find_endpoint(d, &s->comes_from);

	if (seen)
		ask_stranger(d, i, s, DISCOVER_MAIN, &seen->mapped, rng, at_ms);
}

void discover_start_strangers(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	if (!discover_first_answer(d))
		return;
	find_strangers(d);
	discover_ask_plain(d, ASK_BEFORE, DISCOVER_FILTERING, &d->home, rng, now_ms);
	if (d->result.verdict.mapping == MAPPING_NONE)
		return;
	discover_ask_plain(d, ASK_HAIRPIN_MAPPED, DISCOVER_HAIRPIN, &d->home, rng, now_ms);
	if (verdict_is_easy(&d->result.verdict) && discover_clash_stranger(d)->ask.family != ADDR_NONE)
		discover_ask_plain(d, ASK_CLASH_MAPPED, DISCOVER_CLASH, &d->home, rng, now_ms);
}

static void run_filtering(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	const struct addr *mapped = &d->asks[ASK_BEFORE].mapped;

	if (!discover_answered(d, ASK_BEFORE) || !idle(d, ASK_AFTER))
		return;
	ask_stranger(d, ASK_TRY_IP, &d->by_ip, DISCOVER_FILTERING, mapped, rng, now_ms);
	ask_stranger(d, ASK_TRY_PORT, &d->by_port, DISCOVER_FILTERING, mapped, rng, now_ms);
	ask_proof(d, ASK_PROOF_IP, &d->by_ip, rng, now_ms);
	ask_proof(d, ASK_PROOF_PORT, &d->by_port, rng, now_ms);
	discover_ask_plain(d, ASK_AFTER, DISCOVER_FILTERING, &d->home, rng,
			   now_ms + (uint64_t)(STRANGER_TRIES - 2) * d->every_ms);
}

/* What a server says where we are seen may be a lie, and is no place to send to then. */
static bool is_ours_outside(const struct addr *mapped)
{
	return !addr_is_unusable(mapped) && mapped->port >= LEAST_PORT;
}

/* MAIN sends, too: a router that hairpins filters all the same. */
static void run_hairpin(struct discover *d, struct rng *rng)
{
	const struct ask *seen = &d->asks[ASK_HAIRPIN_MAPPED];
	struct ask_plan there = { .socket = DISCOVER_HAIRPIN,
				  .lands = DISCOVER_HAIRPIN,
				  .tries = HAIRPIN_TRIES,
				  .every_ms = HAIRPIN_MS,
				  .start_ms = seen->answered_ms,
				  .to = d->result.mapped };
	struct ask_plan back = there;

	if (seen->state != ASK_ANSWERED || !idle(d, ASK_HAIRPIN) || !is_ours_outside(&d->result.mapped) ||
	    !is_ours_outside(&seen->mapped))
		return;
	back.socket = back.lands = DISCOVER_MAIN;
	back.to = seen->mapped;
	ask_start(&d->asks[ASK_HAIRPIN_OPENER], &back, rng);
	ask_start(&d->asks[ASK_HAIRPIN], &there, rng);
}

static void run_clash(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	const struct discover_stranger *s = discover_clash_stranger(d);
	const struct ask *sent = &d->asks[ASK_CLASH_STRANGER];

	if (discover_answered(d, ASK_CLASH_MAPPED) && sent->state == ASK_IDLE)
		ask_stranger(d, ASK_CLASH_STRANGER, s, DISCOVER_CLASH, &d->asks[ASK_CLASH_MAPPED].mapped, rng,
			     now_ms);
	else if ((sent->state == ASK_SILENT || sent->state == ASK_ANSWERED) && idle(d, ASK_CLASH_AGAIN))
		discover_ask_plain(d, ASK_CLASH_AGAIN, DISCOVER_CLASH, &s->comes_from, rng, now_ms);
}

void discover_run_strangers(struct discover *d, struct rng *rng, uint64_t now_ms)
{
	if (d->phase != DISCOVER_ASK_STRANGERS)
		return;
	run_filtering(d, rng, now_ms);
	run_hairpin(d, rng);
	run_clash(d, rng, now_ms);
}
