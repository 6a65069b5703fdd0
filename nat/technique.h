/* Which technique opens a path between two NATs, who does what in it, and what is to be expected of it: a pure function
 * of both verdicts, so that both ends choose the same (B1 to B5 of the traversal notes). Simultaneous open of all
 * candidates (punch.h) runs beside any of them, always. */
#ifndef P2PD_NAT_TECHNIQUE_H
#define P2PD_NAT_TECHNIQUE_H

#include "core/verdict.h"

enum technique {
	TECHNIQUE_SIMULTANEOUS_OPEN, /* B1: both ends are easy, or not known to be hard */
	TECHNIQUE_BIRTHDAY,	     /* B2, B4: random ports x easy, inside the port block if there is one */
	TECHNIQUE_SEQUENTIAL,	     /* B3: sequential x easy */
	TECHNIQUE_RENDEZVOUS,	     /* B3: sequential x sequential */
	TECHNIQUE_HARD_BIRTHDAY, /* B5: random x random in small blocks, and random x sequential; when allowed */
	TECHNIQUE_NONE,		 /* no technique is of use: the relay carries */
};

/* The role in a technique: whose NAT is hard opens many mappings towards one place, the other looks for them. */
enum technique_role { ROLE_OPENS, ROLE_PROBES, ROLE_BOTH };

enum {
	TECHNIQUE_MAX_SOCKETS = 256, /* B2: s <= min(256, fd limit / 4, estimated block / 4) */
	TECHNIQUE_PORTS = 1024,	     /* n a round */
	TECHNIQUE_ROUNDS = 3,	     /* of a technique before it is left to the retry schedule */
	/* From the measurement of a sequence's base to the use of it, for which foreign allocations are reckoned: two round
	 * trips of 200 ms, and some. More would aim further ahead than a burst of probes reaches, where the port may well be
	 * a foreign one's. */
	TECHNIQUE_WAIT_MS = 500,
	TECHNIQUE_OUTWARD_SOCKETS = 16, /* B3: sequential x easy, 8 to 16 sockets, i <= 128 */
	TECHNIQUE_OUTWARD_PORTS = 128,
	TECHNIQUE_SMALL_BLOCK = 1024, /* B5: hard x hard is for blocks up to this */
	TECHNIQUE_MIN_CONFIDENCE =
		60, /* per cent; what is less sure is taken for random ports, without a block */
};

/* One end. */
struct technique_side {
	struct verdict nat;
	uint16_t max_sockets; /* that it can open */
	bool allows_hard;     /* --hard-nat */
};

struct technique_plan {
	enum technique technique;
	enum technique_role role; /* ours */
	unsigned sockets;	  /* that the opening side opens; both, in a rendezvous */
	unsigned ports;	 /* that the probing side tries in a round, from each socket where both open */
	unsigned ahead;	 /* rendezvous: allocations from the base to the port that is aimed at; else 0 */
	uint16_t lo, hi; /* where it looks for them */
	double success;	 /* of one round, 0 to 1; 0 when a NAT is not known */
	uint32_t mean_ms, worst_ms; /* of a success at BUDGET_PPS, handshakes left out */
	const char
		*why; /* for a person, one clause: "the NAT here gives each destination another port, ..." */
};

/* `round` counts this technique's failed rounds: it widens what is tried, and never changes the technique.
 * Easy and hard are verdict_is_easy and _is_hard: an address-dependent mapping is hard. A hard NAT opposite an easy one
 * that lets in who was not asked at this very port needs no more than simultaneous open: its probe gets in and shows
 * where it comes from. Where a NAT is not known, likewise. Counters per destination tell nothing of ours, so that they
 * are taken for random. */
struct technique_plan technique_choose(const struct technique_side *ours, const struct technique_side *theirs,
				       unsigned round);
/* "simultaneous-open", "birthday", "sequential", "rendezvous", "hard-birthday", "none". */
const char *technique_name(enum technique t);
/* 1 - (1 - n/N)^s: that n distinct of N ports hit one of s. */
double technique_birthday_chance(unsigned sockets, unsigned ports, unsigned range);
/* The least n that gives `chance`; at most the range. */
unsigned technique_birthday_ports(double chance, unsigned sockets, unsigned range);
/* That fewer than `ahead` foreign allocations come while `expected` are. */
double technique_rendezvous_chance(double expected, unsigned ahead);
/* 1 - exp(-n^2 / (Ba Bb)): that n random pairs of ports of either end have one in common. */
double technique_hard_chance(unsigned probes, unsigned our_range, unsigned their_range);

#endif
