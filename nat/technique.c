#include "nat/technique.h"

#include <math.h>
#include <stddef.h>

#include "nat/budget.h"
#include "nat/predict.h"

enum {
	ALL_PORTS = 65536 - BUDGET_MIN_PORT,
	LEAST_OPENED = 32, /* B4: s = 16 or 32 in a block; the greater share of it when it is small */
	OPENED_SHARE = 16, /* of a block; about where sockets and ports to try are equally many */
	OPENED_LIMIT = 4,  /* s <= block / 4: never run it dry */
	HARD_SOCKETS = 64,
	OPEN_MEAN_MS = 150,
	OPEN_WORST_MS = 1000, /* goals of the notes: p50 <= 300 ms, p95 <= 1 s */
};

/* Of a block little more than 99 % costs little more: 105 ports for 71 with 64 sockets in 1,024. */
static const double BLOCK_CHANCE = 0.999;

enum kind { KIND_UNKNOWN, KIND_EASY, KIND_SEQUENTIAL, KIND_RANDOM };

/* What a side is to the other. */
struct end {
	const struct technique_side *side;
	enum kind kind;
	bool blocked, block;
	uint16_t lo, hi; /* where its next mappings lie, widened by the rounds that failed */
	unsigned range;
};

static bool is_sequence(const struct verdict *v)
{
	return v->allocation == ALLOCATION_SEQUENTIAL && v->step && v->scope != SCOPE_DESTINATION &&
	       v->confidence >= TECHNIQUE_MIN_CONFIDENCE;
}

static enum kind kind_of(const struct verdict *v)
{
	if (verdict_is_easy(v))
		return KIND_EASY;
	if (!verdict_is_hard(v))
		return KIND_UNKNOWN;
	return is_sequence(v) ? KIND_SEQUENTIAL : KIND_RANDOM;
}

/* The block, twice as large for each round that missed it, about its middle. */
static void find_range(struct end *e, const struct verdict *v, unsigned round)
{
	int size = v->block_hi - v->block_lo + 1, wider;

	e->lo = BUDGET_MIN_PORT;
	e->hi = UINT16_MAX;
	e->block = v->block_lo >= BUDGET_MIN_PORT && v->block_lo <= v->block_hi &&
		   v->confidence >= TECHNIQUE_MIN_CONFIDENCE;
	if (e->block) {
		wider = round < 8 ? size * ((1 << round) - 1) / 2 : ALL_PORTS;
		e->lo = (uint16_t)(v->block_lo - wider > BUDGET_MIN_PORT ? v->block_lo - wider
									 : BUDGET_MIN_PORT);
		e->hi = (uint16_t)(v->block_hi + wider < UINT16_MAX ? v->block_hi + wider : UINT16_MAX);
	}
	e->range = (unsigned)(e->hi - e->lo) + 1;
}

static struct end make_end(const struct technique_side *side, unsigned round)
{
	struct end e = { .side = side, .kind = kind_of(&side->nat), .blocked = side->nat.udp_blocked };

	find_range(&e, &side->nat, round);
	return e;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

double technique_birthday_chance(unsigned sockets, unsigned ports, unsigned range)
{
	if (ports >= range)
		return sockets ? 1 : 0;
	return 1 - pow(1 - (double)ports / range, sockets);
}

unsigned technique_birthday_ports(double chance, unsigned sockets, unsigned range)
{
	if (sockets == 0)
		return range;
	return least(range, (unsigned)ceil(range * (1 - pow(1 - chance, 1.0 / sockets))));
}

double technique_rendezvous_chance(double expected, unsigned ahead)
{
	double term = exp(-expected), sum = 0;

	for (unsigned k = 0; k < ahead; k++) {
		sum += term;
		term *= expected / (k + 1);
	}
	return sum < 1 ? sum : 1;
}

double technique_hard_chance(unsigned probes, unsigned our_range, unsigned their_range)
{
	return 1 - exp(-(double)probes * probes / ((double)our_range * their_range));
}

static uint32_t ms_of(double probes)
{
	return (uint32_t)lround(probes * 1000 / BUDGET_PPS);
}

/* The mean number of probes of those rounds that hit. */
static double mean_probes(const struct technique_plan *p, unsigned range)
{
	double chance = technique_birthday_chance(p->sockets, p->ports, range), sum = 0;

	for (unsigned n = 0; n < p->ports; n++)
		sum += 1 - technique_birthday_chance(p->sockets, n, range);
	return chance > 0 ? (sum - p->ports * (1 - chance)) / chance : 0;
}

static unsigned sockets_for(const struct end *opens)
{
	unsigned block = (unsigned)(opens->side->nat.block_hi - opens->side->nat.block_lo) + 1,
		 s = TECHNIQUE_MAX_SOCKETS;

	if (opens->block) {
		s = block / OPENED_SHARE > LEAST_OPENED ? block / OPENED_SHARE : LEAST_OPENED;
		s = least(s, block >= OPENED_LIMIT ? block / OPENED_LIMIT : 1);
	}
	return least(least(s, TECHNIQUE_MAX_SOCKETS), opens->side->max_sockets);
}

static void plan_birthday(struct technique_plan *p, const struct end *opens)
{
	p->technique = TECHNIQUE_BIRTHDAY;
	p->lo = opens->lo;
	p->hi = opens->hi;
	p->sockets = sockets_for(opens);
	p->ports = TECHNIQUE_PORTS;
	if (opens->block)
		p->ports = least(p->ports, technique_birthday_ports(BLOCK_CHANCE, p->sockets, opens->range));
	p->success = technique_birthday_chance(p->sockets, p->ports, opens->range);
	p->mean_ms = ms_of(mean_probes(p, opens->range));
	p->worst_ms = ms_of(p->ports);
}

/* Foreign allocations while a base grows old. */
static double expected_noise(const struct end *e)
{
	return e->side->nat.noise_per_10s / 10.0 * TECHNIQUE_WAIT_MS / 1000;
}

static void plan_sequential(struct technique_plan *p, const struct end *opens, unsigned round)
{
	double noise = expected_noise(opens);
	unsigned ports = TECHNIQUE_OUTWARD_PORTS << least(round, 3);

	p->technique = TECHNIQUE_SEQUENTIAL;
	p->lo = opens->lo;
	p->hi = opens->hi;
	p->sockets = least(TECHNIQUE_OUTWARD_SOCKETS, opens->side->max_sockets);
	p->ports = least(ports, opens->range);
	/* Three of four probes go ahead. */
	p->success = p->sockets ? technique_rendezvous_chance(noise, p->ports * 3 / 4) : 0;
	p->mean_ms = ms_of(least((unsigned)lround((noise + 1) * 4 / 3), p->ports));
	p->worst_ms = ms_of(p->ports);
}

static void plan_rendezvous(struct technique_plan *p, const struct end *us, const struct end *them,
			    unsigned round)
{
	double ours = expected_noise(us), theirs = expected_noise(them);
	uint32_t wait_ms = TECHNIQUE_WAIT_MS * (least(round, 8) + 1);
	double rate = fmax(us->side->nat.noise_per_10s, them->side->nat.noise_per_10s) / 10;
	unsigned most = least(least(us->side->max_sockets, them->side->max_sockets), TECHNIQUE_MAX_SOCKETS);

	p->technique = TECHNIQUE_RENDEZVOUS;
	p->role = ROLE_BOTH;
	p->lo = them->lo;
	p->hi = them->hi;
	p->ports = 1;
	p->ahead = predict_rendezvous_ahead(rate, wait_ms);
	if (predict_rendezvous_sockets(p->ahead) > most)
		p->ahead = most * 100 / 133;
	p->sockets = least(most, predict_rendezvous_sockets(p->ahead));
	p->success = p->sockets ? technique_rendezvous_chance(ours, p->ahead) *
					  technique_rendezvous_chance(theirs, p->ahead)
				: 0;
	p->mean_ms = ms_of(p->ahead);
	p->worst_ms = ms_of(p->sockets);
}

/* Both random: the probes of either are pairs of ports, drawn by its NAT, and named by it. */
static void plan_hard(struct technique_plan *p, const struct end *us, const struct end *them)
{
	unsigned s = least(least(sockets_for(us), sockets_for(them)), HARD_SOCKETS), n = 0;
	double area = (double)us->range * them->range;

	p->technique = TECHNIQUE_HARD_BIRTHDAY;
	p->role = ROLE_BOTH;
	p->lo = them->lo;
	p->hi = them->hi;
	p->sockets = s;
	if (s) {
		n = (unsigned)least((unsigned)ceil(sqrt(-log(1 - BLOCK_CHANCE) * area)), BUDGET_TUPLES);
		p->ports = least(least((n + s - 1) / s, BUDGET_TUPLES / s), least(us->range, them->range));
	}
	p->success = technique_hard_chance(p->ports * s, us->range, them->range);
	p->mean_ms = ms_of(least((unsigned)(sqrt(area * M_PI) / 2), p->ports * s));
	p->worst_ms = ms_of(p->ports * s);
}

/* The sequential side pre-opens one socket to all the places where the random side's may lie, which aim at where it will
 * be. It is a birthday if one mapping serves all ports of an address, else each pair of ports has one chance. */
static void plan_mixed(struct technique_plan *p, const struct end *random, const struct end *sequential)
{
	plan_birthday(p, random);
	p->technique = TECHNIQUE_HARD_BIRTHDAY;
	if (sequential->side->nat.mapping != MAPPING_ADDRESS_DEPENDENT)
		p->success = (double)least(p->sockets, random->range) / random->range * p->ports /
			     random->range;
}

static bool lets_strangers_in(const struct end *easy, const struct end *hard)
{
	const struct verdict *v = &easy->side->nat;

	return v->filtering == FILTERING_ENDPOINT_INDEPENDENT ||
	       (v->filtering == FILTERING_ADDRESS_DEPENDENT && !hard->side->nat.pooling);
}

static void plan_simultaneous(struct technique_plan *p, bool known, const char *why)
{
	p->technique = TECHNIQUE_SIMULTANEOUS_OPEN;
	p->role = ROLE_BOTH;
	p->sockets = p->ports = 1;
	p->lo = BUDGET_MIN_PORT;
	p->hi = UINT16_MAX;
	p->success = known ? 0.995 : 0;
	p->mean_ms = OPEN_MEAN_MS;
	p->worst_ms = OPEN_WORST_MS;
	p->why = why;
}

static void plan_easy_with_hard(struct technique_plan *p, const struct end *us, const struct end *them,
				unsigned round)
{
	bool ours = them->kind == KIND_EASY;
	const struct end *hard = ours ? us : them;

	if (lets_strangers_in(ours ? them : us, hard)) {
		plan_simultaneous(
			p, true,
			ours ? "the other side lets our packets in, whatever port the NAT here gives them"
			     : "we let the other side's packets in, whatever port its NAT gives them");
		return;
	}
	p->role = ours ? ROLE_OPENS : ROLE_PROBES;
	if (hard->kind == KIND_SEQUENTIAL) {
		plan_sequential(p, hard, round);
		p->why = ours ? "the NAT here gives each destination the next port in a row, so the other "
				"side looks for it there"
			      : "the NAT there gives each destination the next port in a row, so we look for "
				"it there";
		return;
	}
	plan_birthday(p, hard);
	if (hard->block)
		p->why = ours ? "the NAT here gives each destination another port out of a block, so we open "
				"many and the other side tries the block"
			      : "the NAT there gives each destination another port out of a block, so it "
				"opens many and we try the block";
	else
		p->why = ours ? "the NAT here gives each destination another port, so we open many and the "
				"other side tries until it meets one"
			      : "the NAT there gives each destination another port, so it opens many and we "
				"try until we meet one";
}

static bool is_small(const struct end *e)
{
	const struct verdict *v = &e->side->nat;

	return e->block && v->block_hi - v->block_lo < TECHNIQUE_SMALL_BLOCK;
}

static void give_up(struct technique_plan *p, const char *why)
{
	p->technique = TECHNIQUE_NONE;
	p->role = ROLE_BOTH;
	p->sockets = p->ports = 0;
	p->success = 0;
	p->mean_ms = p->worst_ms = 0;
	p->why = why;
}

static void plan_hard_with_hard(struct technique_plan *p, const struct end *us, const struct end *them,
				unsigned round)
{
	bool allowed = us->side->allows_hard && them->side->allows_hard;
	bool random = us->kind == KIND_RANDOM && them->kind == KIND_RANDOM;

	if (us->kind == KIND_SEQUENTIAL && them->kind == KIND_SEQUENTIAL) {
		plan_rendezvous(p, us, them, round);
		p->why = "both NATs give each destination the next port in a row, so both meet at ports "
			 "further along";
	} else if (random && !(is_small(us) && is_small(them))) {
		give_up(p, "both NATs give each destination another port, and out of too many to be found");
	} else if (!us->side->allows_hard) {
		give_up(p, "both NATs give each destination another port, and trying for those is off "
			   "here (`p2pd up --hard-nat`)");
	} else if (!allowed) {
		give_up(p, "both NATs give each destination another port, and trying for those is off "
			   "there (`p2pd up --hard-nat`)");
	} else if (random) {
		plan_hard(p, us, them);
		p->why =
			"both NATs give each destination another port out of a small block, so both try many";
	} else if (us->kind == KIND_RANDOM) {
		plan_mixed(p, us, them);
		p->role = ROLE_OPENS;
		p->why = "the NAT here gives each destination another port, the one there the next in a row, "
			 "so we aim at that";
	} else {
		plan_mixed(p, them, us);
		p->role = ROLE_PROBES;
		p->why = "the NAT there gives each destination another port, the one here the next in a row, "
			 "so it aims at that";
	}
}

struct technique_plan technique_choose(const struct technique_side *ours, const struct technique_side *theirs,
				       unsigned round)
{
	struct technique_plan p = { 0 };
	struct end us = make_end(ours, round), them = make_end(theirs, round);

	if (us.blocked)
		give_up(&p, "UDP does not get out of the network here");
	else if (them.blocked)
		give_up(&p, "UDP does not get out of the network there");
	else if (us.kind == KIND_UNKNOWN)
		plan_simultaneous(
			&p, false,
			"the NAT here is not known, so both send to all addresses that they know of");
	else if (them.kind == KIND_UNKNOWN)
		plan_simultaneous(
			&p, false,
			"the NAT there is not known, so both send to all addresses that they know of");
	else if (us.kind == KIND_EASY && them.kind == KIND_EASY)
		plan_simultaneous(&p, true, "both sides can be told beforehand where the other will be");
	else if (us.kind == KIND_EASY || them.kind == KIND_EASY)
		plan_easy_with_hard(&p, &us, &them, round);
	else
		plan_hard_with_hard(&p, &us, &them, round);
	if (p.technique != TECHNIQUE_NONE && p.sockets == 0)
		give_up(&p,
			"too few sockets can be opened for a NAT that gives each destination another port");
	return p;
}

const char *technique_name(enum technique t)
{
	switch (t) {
	case TECHNIQUE_SIMULTANEOUS_OPEN: return "simultaneous-open";
	case TECHNIQUE_BIRTHDAY: return "birthday";
	case TECHNIQUE_SEQUENTIAL: return "sequential";
	case TECHNIQUE_RENDEZVOUS: return "rendezvous";
	case TECHNIQUE_HARD_BIRTHDAY: return "hard-birthday";
	case TECHNIQUE_NONE: break;
	}
	return "none";
}
