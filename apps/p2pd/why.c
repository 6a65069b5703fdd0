#include "apps/p2pd/why.h"

#include "apps/p2pd/advice.h"
#include "apps/p2pd/reason.h"
#include "apps/p2pd/view.h"

static json_t *nat(const struct verdict *v, bool ours)
{
	char words[REASON_MAX];
	json_t *json = view_nat(v);

	json_object_set_new(json, "words", json_string(reason_nat(v, ours, words)));
	return json;
}

static json_t *expected(const struct engine *e, const struct engine_peer *ep)
{
	struct technique_plan plan = engine_expected(e, ep);
	bool known = plan.success > 0 || plan.technique == TECHNIQUE_NONE;

	return json_pack("{ss ss so sI sI}", "technique", technique_name(plan.technique), "why", plan.why,
			 "success", known ? json_real(plan.success) : json_null(), "mean_ms",
			 (json_int_t)plan.mean_ms, "worst_ms", (json_int_t)plan.worst_ms);
}

static const char *wait_name(enum engine_wait wait)
{
	static const char *const names[] = {
		[ENGINE_WAIT_NOTHING] = "none",	   [ENGINE_WAIT_END] = "now", [ENGINE_WAIT_TIME] = "time",
		[ENGINE_WAIT_TRAFFIC] = "traffic", [ENGINE_WAIT_HUB] = "hub", [ENGINE_WAIT_PEER] = "peer",
		[ENGINE_WAIT_BUDGET] = "budget",
	};

	return names[wait];
}

static json_t *next(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	struct engine_next n = engine_next_attempt(e, ep, now_ms);
	char words[REASON_MAX];

	return json_pack("{ss sI ss ss}", "when", wait_name(n.wait), "in_s",
			 (json_int_t)((n.at_ms - now_ms + 999) / 1000), "technique",
			 technique_name(n.technique), "words", reason_next(&n, now_ms, words));
}

static json_t *advice(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	struct advice items[ADVICE_MAX];
	unsigned count = advice_list(e, ep, now_ms, items);
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{ss ss ss}", "side", items[i].side, "code",
						      items[i].code, "text", items[i].text));
	return list;
}

char *why_format(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms, uint64_t unix_ns)
{
	char now[REASON_MAX];
	json_t *json = json_pack("{ss ss sb sI so ss ss? s{so so} so so so so}", "schema", "p2pd.why/1",
				 "peer", ep->peer.name, "online", ep->online, "probes",
				 (json_int_t)ep->probes, "path", view_path(e, ep, now_ms, unix_ns), "now",
				 reason_now(e, ep, now_ms, now), "because", reason_path(e, ep, now_ms), "nat",
				 "here", nat(&e->verdict, true), "there",
				 ep->peer.own_kind ? nat(&ep->nat, false) : json_null(), "expected",
				 expected(e, ep), "attempts", view_attempts(ep, now_ms, unix_ns), "next",
				 next(e, ep, now_ms), "advice", advice(e, ep, now_ms));
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}
