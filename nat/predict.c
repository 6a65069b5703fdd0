#include "nat/predict.h"

#include <math.h>
#include <stdlib.h>

/* Which allocation it is, is decided by description length: each hypothesis is charged, in nats, what it takes to write
 * the ports down by it. Random: a uniform draw each. Sequential: the beginning of each counter, the step, and for each
 * further port the foreign allocations in between (geometric), or that it breaks the sequence, and a draw. Chance makes
 * a sequence that is cheaper by b nats with a probability of e^-b at most. */

enum {
	LEAST_PORT = 1024,
	MOST_PORT = 65535,
	ALL_PORTS = MOST_PORT - LEAST_PORT + 1,
	MOST_FOREIGN = 1023, /* between two of ours */
	BLOCK_GRAIN = 64,    /* what blocks of no common size are rounded to */
};

static const double LEAST_GAIN = 8;    /* nats; e^-8 = 0.03 % */
static const double BREAKS = 1.0 / 16; /* share of ports that break a sequence: reordering, wraps */
static const double PRESERVED = 0.75;  /* share of ports that are the local ones */
static const double BLOCK_BY_CHANCE =
	1e-3; /* a block is claimed when all ports lie as close with less than this */

/* A hypothesis, and how it explains the samples. */
struct fit {
	enum nat_scope scope;
	int step;
	double cost;
	unsigned gaps, explained;
	unsigned foreign;
	uint64_t while_ms;
};

struct samples {
	const struct predict_sample *at[PREDICT_SAMPLES];
	size_t count;
};

/* Only what made a mapping: the same socket seen at the same place again did not. */
static struct samples new_mappings(const struct predict_sample *samples, size_t count)
{
	struct samples s = { .count = 0 };

	for (size_t i = 0; i < count && s.count < PREDICT_SAMPLES; i++) {
		bool known = samples[i].mapped.family == ADDR_NONE;
		for (size_t j = 0; j < s.count && !known; j++)
			known = s.at[j]->socket == samples[i].socket &&
				addr_equal(&s.at[j]->mapped, &samples[i].mapped);
		if (!known)
			s.at[s.count++] = &samples[i];
	}
	return s;
}

static bool same_counter(enum nat_scope scope, const struct predict_sample *a, const struct predict_sample *b)
{
	if (!addr_same_ip(&a->mapped, &b->mapped))
		return false;
	if (scope == SCOPE_DESTINATION)
		return addr_equal(&a->server, &b->server);
	return scope != SCOPE_SOCKET || a->socket == b->socket;
}

/* The sample before the i-th by the same counter, or NULL. */
static const struct predict_sample *previous(const struct samples *s, enum nat_scope scope, size_t i)
{
	for (size_t j = i; j-- > 0;)
		if (same_counter(scope, s->at[j], s->at[i]))
			return s->at[j];
	return NULL;
}

/* The shorter way round. */
static int difference(const struct predict_sample *a, const struct predict_sample *b)
{
	int d = (int)b->mapped.port - (int)a->mapped.port;

	if (d > ALL_PORTS / 2)
		return d - ALL_PORTS;
	return d < -ALL_PORTS / 2 ? d + ALL_PORTS : d;
}

/* The entropy of a geometric distribution, which needs no more than its mean. */
static double foreign_cost(double mean)
{
	return mean > 0 ? (1 + mean) * log(1 + mean) - mean * log(mean) : 0;
}

static struct fit fit_step(const struct samples *s, enum nat_scope scope, int step)
{
	struct fit f = { .scope = scope, .step = step };
	double draw = log(ALL_PORTS);

	for (size_t i = 0; i < s->count; i++) {
		const struct predict_sample *before = previous(s, scope, i);
		if (!before)
			continue;
		int d = difference(before, s->at[i]);
		f.gaps++;
		if (d % step || d / step < 1 || d / step > MOST_FOREIGN + 1)
			continue;
		f.explained++;
		f.foreign += (unsigned)(d / step - 1);
		f.while_ms += s->at[i]->sent_ms - before->sent_ms;
	}
	f.cost = (double)(s->count - f.gaps + 1) * draw + (f.gaps - f.explained) * (draw - log(BREAKS)) -
		 f.explained * log(1 - BREAKS);
	if (f.explained)
		f.cost += f.explained * foreign_cost((double)f.foreign / f.explained);
	return f;
}

static int common_divisor(int a, int b)
{
	while (b) {
		int rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static void keep_better(struct fit *best, const struct samples *s, enum nat_scope scope, int step)
{
	if (step == 0)
		return;
	struct fit f = fit_step(s, scope, step);
	if (best->step == 0 || f.cost < best->cost)
		*best = f;
}

/* Steps worth a try are the differences, and what divides two that follow each other: with much noise none may be free
 * of it. */
static void fit_scope(struct fit *best, const struct samples *s, enum nat_scope scope)
{
	int last = 0;

	for (size_t i = 1; i < s->count; i++) {
		const struct predict_sample *before = previous(s, scope, i);
		int d = before ? difference(before, s->at[i]) : 0;
		if (d == 0)
			continue;
		int divisor = abs(common_divisor(d, last));
		keep_better(best, s, scope, d);
		if (last)
			keep_better(best, s, scope, d < 0 ? -divisor : divisor);
		last = d;
	}
}

static bool one_server(const struct samples *s)
{
	for (size_t i = 1; i < s->count; i++)
		if (!addr_equal(&s->at[0]->server, &s->at[i]->server))
			return false;
	return true;
}

/* In order of simplicity: the more counters there are, the more beginnings are paid for. */
static struct fit fit_sequence(const struct samples *s)
{
	struct fit best = { 0 };

	fit_scope(&best, s, SCOPE_GLOBAL);
	fit_scope(&best, s, SCOPE_DESTINATION);
	fit_scope(&best, s, SCOPE_SOCKET);
	if (best.scope == SCOPE_GLOBAL && one_server(s))
		best.scope = SCOPE_UNKNOWN;
	return best;
}

struct span {
	int min, max;
	double estimate; /* of the block's size */
};

static struct span span_of(const struct samples *s)
{
	struct span span = { MOST_PORT, 0, 0 };

	for (size_t i = 0; i < s->count; i++) {
		int port = s->at[i]->mapped.port;
		span.min = port < span.min ? port : span.min;
		span.max = port > span.max ? port : span.max;
	}
	if (s->count > 1)
		span.estimate = 1 + (double)(span.max - span.min) * (double)(s->count + 1) /
					    (double)(s->count - 1);
	return span;
}

/* Two more numbers tell the block. */
static double random_cost(const struct samples *s)
{
	double n = (double)s->count, draw = log(ALL_PORTS);

	return fmin(n * draw, 2 * draw + n * log(span_of(s).estimate));
}

static void set_block(struct prediction *p, int lo, int hi)
{
	p->block = true;
	p->lo = (uint16_t)(lo > LEAST_PORT ? lo : LEAST_PORT);
	p->hi = (uint16_t)(hi < MOST_PORT ? hi : MOST_PORT);
}

/* Widens lo..hi by the blocks of `size`, counted from 0 or from the first usable port, that hold all samples. */
static bool add_aligned(const struct span *span, int size, int *lo, int *hi)
{
	static const int origins[] = { 0, LEAST_PORT };
	bool found = false;

	for (size_t i = 0; i < 2; i++) {
		int first = span->min - (span->min - origins[i]) % size, last = first + size - 1;
		if (first < LEAST_PORT || last > MOST_PORT || last < span->max)
			continue;
		*lo = first < *lo ? first : *lo;
		*hi = last > *hi ? last : *hi;
		found = true;
	}
	return found;
}

/* The smallest block of a common size that holds all samples and is not much larger than they let expect. Between 1,000
 * and 1,024 they cannot decide: all of those that they may come from. */
static bool find_aligned(struct prediction *p, const struct span *span)
{
	static const int sizes[] = { 64, 128, 256, 512, 1000, 1024, 2048, 4096, 8192, 16384, 32768 };
	int lo = span->min, hi = span->max, found = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && sizes[i] <= 1.75 * span->estimate; i++) {
		if (found && sizes[i] > found * 9 / 8)
			break;
		if (add_aligned(span, sizes[i], &lo, &hi))
			found = sizes[i];
	}
	if (found)
		set_block(p, lo, hi);
	return found != 0;
}

/* Beyond the outermost samples another 1/(k - 1) of the span is expected on either side; with three times that, either
 * side is covered in 95 of 100 cases. */
static void find_block(struct prediction *p, const struct samples *s)
{
	struct span span = span_of(s);
	double k = (double)s->count, wide = (double)(span.max - span.min + 1) / ALL_PORTS;

	if (s->count < PREDICT_FRESH_SOCKETS || p->pooling || span.min < LEAST_PORT ||
	    k * pow(wide, k - 1) > BLOCK_BY_CHANCE)
		return;
	if (find_aligned(p, &span))
		return;
	int beyond = (int)ceil(3 * (span.max - span.min) / (k - 1));
	set_block(p, (span.min - beyond) / BLOCK_GRAIN * BLOCK_GRAIN,
		  ((span.max + beyond) / BLOCK_GRAIN + 1) * BLOCK_GRAIN - 1);
}

static bool pools(const struct samples *s)
{
	for (size_t i = 1; i < s->count; i++)
		if (!addr_same_ip(&s->at[0]->mapped, &s->at[i]->mapped))
			return true;
	return false;
}

static bool keeps_port(const struct samples *s)
{
	size_t kept = 0, known = 0;

	for (size_t i = 0; i < s->count; i++) {
		known += s->at[i]->local_port != 0;
		kept += s->at[i]->local_port == s->at[i]->mapped.port;
	}
	return known >= PREDICT_MIN_SAMPLES && (double)kept >= PRESERVED * (double)known;
}

static bool keeps_parity(const struct samples *s)
{
	size_t known = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (!s->at[i]->local_port)
			continue;
		known++;
		if ((s->at[i]->local_port ^ s->at[i]->mapped.port) & 1)
			return false;
	}
	return known >= PREDICT_MIN_SAMPLES;
}

static unsigned per_cent(double share)
{
	return share >= 0.99 ? 99 : share <= 0 ? 0 : (unsigned)(100 * share);
}

static void say_sequential(struct prediction *p, const struct fit *f, double gain)
{
	p->allocation = ALLOCATION_SEQUENTIAL;
	p->scope = f->scope;
	p->step = f->step;
	/* Requests of one millisecond: reckon with all of it. */
	p->noise_per_s = f->foreign * 1000.0 / (double)(f->while_ms ? f->while_ms : 1);
	p->confidence = per_cent((double)f->explained / f->gaps * (1 - exp(-gain / LEAST_GAIN)));
}

struct prediction predict(const struct predict_sample *samples, size_t count)
{
	struct samples s = new_mappings(samples, count);
	struct prediction p = { .lo = LEAST_PORT, .hi = MOST_PORT, .pooling = pools(&s) };
	double many = 1 - exp(-(double)s.count / 5);

	if (s.count < PREDICT_MIN_SAMPLES)
		return p;
	p.keeps_parity = keeps_parity(&s);
	if (keeps_port(&s)) {
		p.allocation = ALLOCATION_PRESERVING;
		p.confidence = per_cent(many);
		return p;
	}
	struct fit f = fit_sequence(&s);
	double gain = f.step ? random_cost(&s) - f.cost : 0;
	if (gain >= LEAST_GAIN) {
		say_sequential(&p, &f, gain);
		return p;
	}
	p.allocation = ALLOCATION_RANDOM;
	p.confidence = per_cent(many * (1 - exp((gain - LEAST_GAIN) / LEAST_GAIN)));
	find_block(&p, &s);
	return p;
}

unsigned predict_rendezvous_ahead(double noise_per_s, uint32_t wait_ms)
{
	double expected = noise_per_s * wait_ms / 1000;

	return (unsigned)ceil(expected + 4 * sqrt(expected)) + 4;
}

unsigned predict_rendezvous_sockets(unsigned ahead)
{
	return (ahead * 133 + 99) / 100;
}

uint16_t predict_port(const struct prediction *p, uint16_t base, int ahead)
{
	bool inside = p->lo >= LEAST_PORT && p->lo <= base && base <= p->hi;
	int64_t lo = inside ? p->lo : LEAST_PORT, hi = inside ? p->hi : MOST_PORT, range = hi - lo + 1;
	int64_t at = (base - lo + (int64_t)p->step * ahead) % range;

	return (uint16_t)(lo + (at < 0 ? at + range : at));
}

void predict_to_verdict(const struct prediction *p, struct verdict *v)
{
	double noise = round(p->noise_per_s * 10);

	v->allocation = (uint8_t)p->allocation;
	v->scope = (uint8_t)p->scope;
	v->step = (int16_t)(p->step > INT16_MAX ? INT16_MAX : p->step < INT16_MIN ? INT16_MIN : p->step);
	v->noise_per_10s = noise < UINT16_MAX ? (uint16_t)noise : UINT16_MAX;
	v->block_lo = p->block ? p->lo : 0;
	v->block_hi = p->block ? p->hi : 0;
	v->pooling = p->pooling;
	v->confidence = (uint8_t)p->confidence;
}

struct prediction predict_from_verdict(const struct verdict *v)
{
	bool block = v->block_lo || v->block_hi;

	return (struct prediction) {
		.allocation = v->allocation,
		.scope = v->scope,
		.step = v->step,
		.noise_per_s = v->noise_per_10s / 10.0,
		.lo = block ? v->block_lo : LEAST_PORT,
		.hi = block ? v->block_hi : MOST_PORT,
		.block = block,
		.pooling = v->pooling,
		.confidence = v->confidence,
	};
}
