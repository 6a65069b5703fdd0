/* What of a rule is carried at its owner, and what is asked of its gateway: computed from the rule and from what is known
 * of the network. Pure. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARD_PLAN_H
#define P2PD_APPS_P2PD_FORWARD_FORWARD_PLAN_H

#include "apps/p2pd/forward/lease.h"
#include "apps/p2pd/forward/pass.h"

/* Entries one after the other; zeroed memory is empty. */
struct forward_list {
	struct forward_entry *items;
	size_t count, cap;
};

/* 0 or -ENOMEM. */
int forward_list_add(struct forward_list *l, const struct forward_entry *e);
void forward_list_clear(struct forward_list *l); /* keeps the memory */
void forward_list_free(struct forward_list *l);

struct forward_node {
	uint8_t ik[32];
	struct addr ip4, ip6; /* overlay */
};

/* What is known around a rule. */
struct forward_plan {
	struct addr ip4, ip6;		/* our overlay addresses; ADDR_NONE: none */
	struct forward_node gateway;	/* of a public rule */
	uint8_t secret[FORWARD_SECRET]; /* of its lease */
	uint16_t
		tunnel; /* the first tunnel port of a public rule, whose ranges take theirs one after the other */
	const struct forward_node *members; /* those of `to` that are known */
	unsigned member_count;
	const struct forward_prefix *admitted; /* by token */
	unsigned admitted_count;
	bool kernel; /* carries the service's family, our own sockets the other; else sockets both */
};

unsigned forward_plan_ports(const struct rule *r); /* all ranges together: so many tunnel ports */
/* Whether the kernel is to carry it where it can: what the rule wants, nothing of the host. */
bool forward_plan_wants_kernel(const struct rule *r);
/* Adds the owner's entries. 0 or -ENOMEM. */
int forward_plan_entries(const struct rule *r, const struct forward_plan *p, struct forward_list *kernel,
			 struct forward_list *user);
/* What may come through the tunnel from outside for it, when the kernel carries it: at most RULE_RANGES_MAX * 2. */
unsigned forward_plan_passes(const struct rule *r, const struct forward_plan *p,
			     struct pass_entry out[static RULE_RANGES_MAX * 2]);
void forward_plan_lease(const struct rule *r, const struct forward_plan *p, struct lease_request *out);
/* Whether a gateway would have to be told. */
bool forward_plan_same_lease(const struct lease_request *a, const struct lease_request *b);

#endif
