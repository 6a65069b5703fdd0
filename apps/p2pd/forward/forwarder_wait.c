/* Who waits for the outcome of a change, or for counts as of now. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <string.h>

/* The step that follows has the waits looked at, at the loop's next turn. */
static void begin(struct forwarder *f, const uint8_t *id, struct forwarder_wait *w, uint64_t ms)
{
	w->f = f;
	w->call = NULL;
	w->until_ms = loop_now_ms() + ms;
	memcpy(w->id, id, FORWARD_ID);
	w->next = f->waits;
	f->waits = w;
}

void forwarder_wait_settled(struct forwarder *f, const uint8_t id[static FORWARD_ID],
			    struct forwarder_wait *w)
{
	w->counts = false;
	begin(f, id, w, FORWARDER_WAIT_MS);
	forwarder_step(f);
}

static void on_gateway_stats(void *arg, const struct lease_reply *reply)
{
	struct forwarder_wait *w = arg;
	struct forwarder_item *it = forwarder_item(w->f, w->id);

	w->call = NULL;
	w->gateway_told = true;
	if (it && !reply->error)
		forwarder_count_gateway(it, &reply->stats);
	forwarder_step(w->f);
}

static bool ask_gateway(struct forwarder_wait *w)
{
	const struct forwarder_item *it = forwarder_item(w->f, w->id);

	if (!it || it->rule.scope != RULE_PUBLIC || !it->lease.held)
		return false;
	const struct forward_node *n = &it->lease.gateway;
	return lease_link_stats(w->f->link, n->ip4.family ? &n->ip4 : &n->ip6, w->id, on_gateway_stats, w,
				&w->call) == 0;
}

void forwarder_wait_counts(struct forwarder *f, const uint8_t id[static FORWARD_ID], struct forwarder_wait *w)
{
	w->counts = true;
	begin(f, id, w, FORWARDER_COUNT_MS);
	forwarder_count(f);
	w->look = forwarder_kernel_look(f);
	w->gateway_told = !ask_gateway(w);
	forwarder_step(f);
}

void forwarder_wait_cancel(struct forwarder_wait *w)
{
	struct forwarder_wait **at = &w->f->waits;

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	lease_call_cancel(w->call);
	w->call = NULL;
}

static bool is_over(const struct forwarder_wait *w, uint64_t now_ms)
{
	const struct forwarder_item *it = forwarder_item(w->f, w->id);

	if (now_ms >= w->until_ms)
		return true;
	if (w->counts)
		return w->gateway_told && w->f->kernel.looks >= w->look;
	return it ? forwarder_settled(it) : !w->f->refresh_wanted;
}

void forwarder_wait_run(struct forwarder *f, uint64_t now_ms)
{
	struct forwarder_wait *over = NULL;

	for (struct forwarder_wait **at = &f->waits, *w; (w = *at);) {
		if (!is_over(w, now_ms)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = over;
		over = w;
	}
	/* `done` may begin another wait, or release its own. */
	for (struct forwarder_wait *next; over; over = next) {
		next = over->next;
		lease_call_cancel(over->call);
		over->call = NULL;
		over->done(over->arg);
	}
}

uint64_t forwarder_wait_deadline(const struct forwarder *f)
{
	uint64_t least = UINT64_MAX;

	for (const struct forwarder_wait *w = f->waits; w; w = w->next) {
		uint64_t due = f->news ? 0 : w->until_ms;
		least = due < least ? due : least;
	}
	return least;
}
