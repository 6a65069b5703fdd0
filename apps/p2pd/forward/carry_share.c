/* At a gateway: no member's leases hold more than their share of the descriptors, so that the others' always find some. */
#include <stdlib.h>

#include "apps/p2pd/forward/carry_impl.h"

enum { LEFT = 4 /* a quarter of all is left to the others */ };

struct carry_share *carry_share_join(struct carry *c, uint64_t owner)
{
	struct carry_share *s = c->shares;

	while (s && s->owner != owner)
		s = s->next;
	if (!s) {
		s = calloc(1, sizeof *s);
		if (!s)
			return NULL;
		s->owner = owner;
		s->next = c->shares;
		c->shares = s;
	}
	s->rules++;
	return s;
}

void carry_share_leave(struct carry *c, struct carry_share *s)
{
	struct carry_share **at = &c->shares;

	if (!s || --s->rules)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	free(s);
}

void carry_share_hold(struct carry_share *s, size_t fds)
{
	if (s)
		s->held += fds;
}

void carry_share_drop(struct carry_share *s, size_t fds)
{
	if (s)
		s->held -= fds;
}

bool carry_share_room(const struct carry *c, const struct carry_share *s, size_t fds)
{
	return !s || s->held + fds <= c->fds_max - c->fds_max / LEFT;
}
