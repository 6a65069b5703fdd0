/* Offers of a peer: what is read comes back as it was written, and whatever it says a plan made of it is within limits. */
#include <assert.h>
#include <string.h>

#include "nat/birthday.h"
#include "nat/offer.h"
#include "nat/predict.h"

static struct technique_side our_side(uint8_t kind)
{
	struct technique_side s = { .max_sockets = TECHNIQUE_MAX_SOCKETS, .allows_hard = kind & 8 };

	s.nat.mapping = kind % (MAPPING_ENDPOINT_DEPENDENT + 1);
	s.nat.filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT;
	s.nat.allocation = kind / 16 % (ALLOCATION_RANDOM + 1);
	s.nat.step = kind & 64 ? -1 : 3;
	s.nat.confidence = 99;
	s.nat.block_lo = kind & 128 ? 5000 : 0;
	s.nat.block_hi = kind & 128 ? 5511 : 0;
	return s;
}

static void search(const struct offer *o, const struct technique_plan *plan)
{
	struct birthday_plan search = { .to = o->side.nat.public_ip,
					.sockets = plan->sockets,
					.ports = plan->ports,
					.lo = plan->lo,
					.hi = plan->hi,
					.step = o->side.nat.step,
					.order = plan->technique == TECHNIQUE_SEQUENTIAL
							 ? BIRTHDAY_OUTWARD
							 : BIRTHDAY_SHUFFLED };
	struct prediction p = predict_from_verdict(&o->side.nat);
	struct budget budget = { 0 };
	struct birthday_probe out;
	struct birthday b;
	struct rng rng;

	rng_init_seed(&rng, 1);
	search.to.port = o->base ? predict_port(&p, o->base, (int)plan->ahead) : BUDGET_MIN_PORT;
	birthday_start(&b, &search, &rng, 1000);
	for (uint64_t now = 1000; now < 3000; now += 100)
		while (birthday_next(&b, &budget, now, &out))
			assert(out.to.port >= BUDGET_MIN_PORT && out.socket < TECHNIQUE_MAX_SOCKETS);
	assert(b.sent <= BUDGET_TUPLES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t wire[OFFER_WIRE];
	struct offer o, again;

	if (size < 1 || !offer_read(&o, data + 1, size - 1))
		return 0;
	offer_write(&o, wire);
	assert(offer_read(&again, wire, sizeof wire));
	assert(again.base == o.base && addr_equal(&again.endpoint, &o.endpoint));
	struct technique_side ours = our_side(data[0]);
	struct technique_plan plan = technique_choose(&ours, &o.side, o.round);
	assert(plan.sockets <= TECHNIQUE_MAX_SOCKETS && plan.ports <= BUDGET_TUPLES &&
	       plan.lo >= BUDGET_MIN_PORT * !!plan.lo);
	assert(plan.lo <= plan.hi && plan.success >= 0 && plan.success <= 1);
	if (plan.technique != TECHNIQUE_NONE)
		search(&o, &plan);
	return 0;
}
