/* Trials of traversal: two nodes behind two NATs, traffic from one to the other, and what came of it; many of them, and
 * their summary. Set SIM_TABLE=1 to have the summaries printed. */
#ifndef P2PD_TESTS_SIM_TRIAL_H
#define P2PD_TESTS_SIM_TRIAL_H

#include "tests/sim/sim.h"

enum {
	TRIAL_SETTLE_MS = 6000, /* after both have joined: what the NATs do is measured and published */
	TRIAL_TRAFFIC_MS = 50,
	TRIALS_MAX = 1000,
};

struct trial {
	enum sim_nat_kind from, to;
	bool fresh;    /* traffic begins as soon as both have joined */
	bool hard_nat; /* --hard-nat on both ends */
	uint32_t loss_permille;
	double foreign_per_s; /* of each NAT */
	uint64_t limit_ms;
	bool clash;	  /* both NATs' rules.clash */
	uint32_t late_ms; /* of the second node: so it begins late with simultaneous open */
	unsigned depth;	  /* that both ends believe their NATs to have; 0: unknown */
};

struct trial_result {
	bool direct;
	uint64_t relay_ms, direct_ms; /* since the first traffic: the first pong, both ends' direct path */
	unsigned probes;	      /* of that end that sent more of them */
	size_t entries;		      /* of that router that had more flows at a time */
};

struct trial_summary {
	unsigned trials, direct;
	uint64_t relay_p95_ms, p50_ms, p95_ms, max_ms; /* of those that became direct */
	unsigned probes_mean, probes_max;
	size_t entries_max;
	uint64_t direct_ms[TRIALS_MAX]; /* ascending, `direct` of them */
};

const char *sim_nat_name(enum sim_nat_kind kind);
struct sim *sim_new(uint64_t seed);
void sim_delete(struct sim *s);

struct trial_result sim_trial(const struct trial *t, uint64_t seed);
/* Trials with the seeds from `seed` on. Prints its line when SIM_TABLE is set. */
struct trial_summary sim_trials(const struct trial *t, unsigned count, uint64_t seed);
/* The share, in per mille, of trials that were direct within `ms`. */
unsigned trial_permille_within(const struct trial_summary *sum, uint64_t ms);
/* Sums up those of several cells. */
void trial_add(struct trial_summary *all, const struct trial_summary *one);
void trial_print(const char *what, const struct trial_summary *sum);

#endif
