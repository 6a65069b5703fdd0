#include "relay/quota.h"

#include <time.h>

uint32_t quota_month(uint64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	return gmtime_r(&t, &tm) ? (uint32_t)((tm.tm_year + 1900) * 12 + tm.tm_mon) : 0;
}

void quota_set_month(struct quota *q, uint32_t month)
{
	q->month = month;
}

uint64_t quota_used(const struct quota *q, const struct quota_user *u)
{
	return u->month == q->month ? u->month_bytes : 0;
}

static bool month_has(const struct quota *q, const struct quota_user *u, uint64_t limit, size_t bytes)
{
	return !limit || quota_used(q, u) + bytes <= limit;
}

/* A bucket is in debt after what it let through last, so that a superframe passes whole. */
static bool rate_has(const struct quota_user *u, uint32_t rate, uint64_t now_ms)
{
	uint64_t burst = (uint64_t)rate * QUOTA_BURST_MS / 1000;
	struct bucket copy = u->rate;

	if (!rate)
		return true;
	bucket_charge(&copy, rate, 0, now_ms);
	return copy.spent <= (burst > QUOTA_BURST_MIN ? burst : QUOTA_BURST_MIN) * 1000;
}

static uint64_t window_bytes(const struct quota *q)
{
	return (uint64_t)q->limits.total_rate * QUOTA_WINDOW_MS / 1000;
}

static uint64_t share(const struct quota *q)
{
	return q->sharing ? window_bytes(q) / q->sharing : 0;
}

static void turn_window(struct quota *q, uint64_t now_ms)
{
	uint64_t window = now_ms / QUOTA_WINDOW_MS + 1; /* 0 is "never" */

	if (window == q->window)
		return;
	q->sharing = window == q->window + 1 ? q->senders : 0;
	q->window = window;
	q->used = q->senders = 0;
	q->kept = share(q) * q->sharing;
}

/* Who was refused was there, too: else a newcomer would never get a share of what others fill. */
static void note_sender(struct quota *q, struct quota_user *node)
{
	if (node->window == q->window)
		return;
	node->shares = q->sharing && node->window + 1 == q->window;
	node->window = q->window;
	node->used = 0;
	q->senders++;
}

/* What it still has to itself of this window. */
static uint64_t kept_for(const struct quota *q, const struct quota_user *node)
{
	return node->shares && node->used < share(q) ? share(q) - node->used : 0;
}

static bool total_has(const struct quota *q, const struct quota_user *node, size_t bytes)
{
	if (!q->limits.total_rate || kept_for(q, node) >= bytes)
		return true;
	return q->used + bytes + (q->kept - kept_for(q, node)) <= window_bytes(q);
}

void quota_add_used(const struct quota *q, struct quota_user *u, uint64_t bytes)
{
	u->month_bytes = quota_used(q, u) + bytes;
	u->month = q->month;
}

static void count_window(struct quota *q, struct quota_user *node, size_t bytes)
{
	uint64_t kept = kept_for(q, node);

	q->kept -= kept < bytes ? kept : bytes;
	q->used += bytes;
	node->used += bytes;
}

enum quota_verdict quota_take(struct quota *q, struct quota_user *network, struct quota_user *node,
			      size_t bytes, uint64_t now_ms)
{
	const struct quota_limits *l = &q->limits;

	turn_window(q, now_ms);
	note_sender(q, node);
	if (!month_has(q, node, l->node_month, bytes) || !month_has(q, network, l->network_month, bytes))
		return QUOTA_MONTH;
	if (!rate_has(node, l->node_rate, now_ms))
		return QUOTA_NODE_RATE;
	if (!rate_has(network, l->network_rate, now_ms))
		return QUOTA_NETWORK_RATE;
	if (!total_has(q, node, bytes))
		return QUOTA_SHARE;
	if (l->node_rate)
		bucket_charge(&node->rate, l->node_rate, (uint32_t)bytes, now_ms);
	if (l->network_rate)
		bucket_charge(&network->rate, l->network_rate, (uint32_t)bytes, now_ms);
	quota_add_used(q, node, bytes);
	quota_add_used(q, network, bytes);
	count_window(q, node, bytes);
	return QUOTA_OK;
}
