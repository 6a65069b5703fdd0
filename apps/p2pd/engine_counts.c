#include "apps/p2pd/engine_counts.h"

const uint32_t engine_bounds_ms[ENGINE_BOUNDS] = { 1,	2,    5,    10,	  20,	 50,	100,  200,
						   500, 1000, 2000, 5000, 10000, 30000, 60000 };

void engine_observe(struct engine_histogram *h, uint64_t ms)
{
	unsigned i = 0;

	while (i < ENGINE_BOUNDS && ms > engine_bounds_ms[i])
		i++;
	h->counts[i]++;
	h->sum_ms += ms;
}
