#include "apps/p2pd/view.h"

#include <time.h>

#include "apps/p2pd/reason.h"

json_t *view_ip(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family ? json_string(addr_format_ip(a, text)) : json_null();
}

json_t *view_endpoint(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	return a->family ? json_string(addr_format(a, text)) : json_null();
}

json_t *view_time(uint64_t now_ms, uint64_t unix_ns, uint64_t at_ms)
{
	uint64_t ago_ns = at_ms < now_ms ? (now_ms - at_ms) * 1000000 : 0;
	time_t t = (time_t)((unix_ns - ago_ns) / 1000000000);
	char text[32];
	struct tm tm;

	if (!at_ms)
		return json_null();
	gmtime_r(&t, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

json_t *view_nat(const struct verdict *v)
{
	bool block = v->block_lo;

	return json_pack("{ss ss ss ss ss si sf s[ii] si sb}", "mapping", nat_mapping_name(v->mapping),
			 "filtering", nat_filtering_name(v->filtering), "type",
			 nat_type_name(verdict_type(v)), "allocation", nat_allocation_name(v->allocation),
			 "scope", nat_scope_name(v->scope), "step", (int)v->step, "noise_per_s",
			 v->noise_per_10s / 10.0, "block", block ? (int)v->block_lo : 0,
			 block ? (int)v->block_hi : 0, "depth", (int)v->depth, "cgnat", (int)v->cgnat);
}

json_t *view_path(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms, uint64_t unix_ns)
{
	const struct path *best = ep->peer.best;
	const struct addr *endpoint = &(const struct addr) { 0 };
	const char *kind = "none";

	switch (engine_way(ep, e)) {
	case ENGINE_WAY_NONE: break;
	case ENGINE_WAY_RELAY:
		if (engine_away_is_used(ep)) {
			kind = "relay-udp";
			endpoint = &ep->away.at;
			break;
		}
		kind = e->by_link ? "relay-tls" : "relay-udp";
		endpoint = e->by_link ? &e->hub_link : &e->relay.server;
		break;
	case ENGINE_WAY_DIRECT:
		kind = "direct";
		endpoint = best ? &best->addr : &ep->peer.endpoint;
		break;
	}
	return json_pack("{ss so so ss? so ss? sb ss? sb}", "kind", kind, "endpoint", view_endpoint(endpoint),
			 "rtt_ms", best ? json_integer(best->rtt_ms) : json_null(), "technique",
			 reason_opened_by(e, ep), "since", view_time(now_ms, unix_ns, ep->way_since_ms),
			 "reason", reason_path(e, ep, now_ms), "trains", engine_uses_trains(ep, now_ms),
			 "relay_reason", reason_relay(e, ep), "home_relay",
			 engine_way(ep, e) == ENGINE_WAY_RELAY && engine_away_is_used(ep));
}

json_t *view_attempts(const struct engine_peer *ep, uint64_t now_ms, uint64_t unix_ns)
{
	json_t *list = json_array();

	for (unsigned i = 1; i <= ENGINE_ATTEMPTS && i <= ep->attempt_count; i++) {
		const struct engine_attempt *a = &ep->attempts[(ep->attempt_count - i) % ENGINE_ATTEMPTS];
		json_t *json = json_pack(
			"{ss ss ss ss si so so sI}", "technique", technique_name(a->technique), "words",
			reason_technique(a->technique), "outcome", reason_outcome_word(a->outcome), "met",
			reason_outcome(a->outcome), "probes", (int)a->probes, "began",
			view_time(now_ms, unix_ns, a->began_ms), "ended",
			view_time(now_ms, unix_ns, a->ended_ms), "ago_s",
			(json_int_t)((now_ms - a->ended_ms) / 1000));
		json_array_append_new(list, json);
	}
	return list;
}
