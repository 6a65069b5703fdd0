#include <string.h>
#include <time.h>

#include "apps/p2pd/forward/forward_api_impl.h"
#include "core/loop.h"

static json_t *addresses_json(const struct forwarder_view *v)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < v->address_count; i++)
		json_array_append_new(list, json_string(v->addresses[i]));
	return list;
}

json_t *api_rule_json(struct forwarder *f, const struct rule *r)
{
	json_t *json = rule_json(r);
	struct forwarder_view v;
	char id[RULE_ID_TEXT];

	if (!json || !forwarder_look(f, r->id, &v))
		return json;
	json_object_set_new(json, "state", json_string(forwarder_state_name(v.state)));
	json_object_set_new(json, "why", json_string(v.why));
	json_object_set_new(json, "mode", json_string(v.kernel ? "kernel" : "user"));
	json_object_set_new(json, "mode_why", json_string(v.mode_why));
	json_object_set_new(json, "addresses", addresses_json(&v));
	if (!crypto_is_zero(v.conflict, sizeof v.conflict))
		json_object_set_new(json, "conflict", json_string(rule_id_text(v.conflict, id)));
	return json;
}

static json_t *rejected_json(const struct forward_stats *s)
{
	json_t *json = json_object();

	for (int i = 0; i < FORWARD_REJECTS; i++)
		json_object_set_new(json, forward_reject_name((enum forward_reject)i),
				    json_integer((json_int_t)s->rejected[i]));
	return json;
}

json_t *api_stats_json(struct forwarder *f, const uint8_t id[static FORWARD_ID])
{
	char text[RULE_ID_TEXT], visitor[ADDR_TEXT_MAX];
	struct forwarder_view v;

	if (!forwarder_look(f, id, &v))
		return NULL;
	const struct forward_stats *s = &v.stats;
	json_t *json = json_pack("{ss ss sI sI sI sI so}", "schema", "p2pd.portmap.stats/1", "forward_id",
				 rule_id_text(id, text), "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
				 (json_int_t)s->bytes_out, "connections", (json_int_t)s->connections, "total",
				 (json_int_t)s->total, "rejected", rejected_json(s));
	bool any = s->last_visitor.family != ADDR_NONE;
	json_int_t ago_s = (json_int_t)(loop_now_ms() - s->last_ms) / 1000;
	json_object_set_new(json, "last_visitor",
			    any ? json_string(addr_format_ip(&s->last_visitor, visitor)) : json_null());
	json_object_set_new(json, "last_visit_at",
			    any ? json_integer((json_int_t)time(NULL) - ago_s) : json_null());
	return json;
}

json_t *api_ping_json(const struct forwarder_ping *p)
{
	json_t *checks = json_array();
	char id[RULE_ID_TEXT];

	for (unsigned i = 0; i < p->count; i++)
		json_array_append_new(checks, json_pack("{ss sb ss}", "what", p->checks[i].what, "ok",
							p->checks[i].ok, "detail", p->checks[i].detail));
	return json_pack("{ss ss so}", "schema", "p2pd.portmap.ping/1", "forward_id",
			 rule_id_text(p->rule.id, id), "checks", checks);
}
