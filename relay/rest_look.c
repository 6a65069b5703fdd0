/* What is there, in pages: of the store, which remembers, and of coord and the relay, which know what is now. Lists of both
 * are in the order of the same key, and so become one by merging. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/coord_list.h"
#include "relay/rest_internal.h"

/* One more than is given tells whether there are more. */
enum { MEMBERSHIPS_MAX = 64, PAGE_ROOM = REST_PAGE_MAX + 1 };
_Static_assert((int)PAGE_ROOM <= (int)COORD_LIST_MAX, "a page of the API is one of coord");

/* A page of entries that are named by keys. */
struct key_page {
	uint64_t limit;
	uint8_t after[REST_KEY];
	bool has_after;
	json_t *list;
	uint8_t last[REST_KEY]; /* the page ends with it */
	bool more;
};

static bool page_read(struct rest_call *c, struct key_page *p)
{
	*p = (struct key_page) { .limit = REST_PAGE };
	return rest_query_number(c, "limit", 1, REST_PAGE_MAX, &p->limit) &&
	       rest_query_key(c, "cursor", p->after, &p->has_after);
}

static const uint8_t *page_after(const struct key_page *p)
{
	return p->has_after ? p->after : NULL;
}

/* Takes the entry over. */
static void page_add(struct key_page *p, const uint8_t key[static REST_KEY], json_t *entry)
{
	json_array_append_new(p->list, entry);
	memcpy(p->last, key, REST_KEY);
}

/* {NAME: [...], "next": CURSOR or null}, and what `more` holds. */
static void page_answer(struct rest_call *c, struct key_page *p, const char *name, json_t *body)
{
	json_object_set_new(body, name, p->list);
	json_object_set_new(body, "next", p->more ? rest_key_json(p->last) : json_null());
	rest_json(c, 200, body);
}

/* Of two sorted lists, which have `a` and `b` (NULL: at its end) next: < 0: a alone, 0: both, > 0: b alone. */
static int merge(const uint8_t *a, const uint8_t *b)
{
	if (!a || !b)
		return a ? -1 : 1;
	return memcmp(a, b, REST_KEY);
}

/* --- Networks */

static json_t *network_json(const struct store_network *kept, const struct coord_network *now)
{
	static const struct store_network not_kept;
	const struct store_network *k = kept ? kept : &not_kept;
	uint32_t nodes = now && now->members > k->nodes ? now->members : k->nodes;

	return json_pack("{s:o, s:i, s:i, s:o, s:o}", "netid", rest_key_json(now ? now->netid : k->netid),
			 "nodes", (int)nodes, "online", now ? (int)now->online : 0, "first_seen",
			 rest_time_json(k->first_s), "last_seen", rest_time_json(k->last_s));
}

static void merge_networks(struct key_page *p, const struct store_network *kept, size_t kept_count,
			   const struct coord_network *now, size_t now_count)
{
	size_t i = 0, j = 0;

	while ((i < kept_count || j < now_count) && json_array_size(p->list) < p->limit) {
		const struct store_network *k = i < kept_count ? &kept[i] : NULL;
		const struct coord_network *n = j < now_count ? &now[j] : NULL;
		int order = merge(k ? k->netid : NULL, n ? n->netid : NULL);
		i += order <= 0;
		j += order >= 0;
		page_add(p, order <= 0 ? k->netid : n->netid,
			 network_json(order <= 0 ? k : NULL, order >= 0 ? n : NULL));
	}
	p->more = i < kept_count || j < now_count;
}

void rest_networks(struct rest_call *c)
{
	struct store_network kept[PAGE_ROOM];
	struct coord_network now[PAGE_ROOM];
	struct key_page p;

	if (!page_read(c, &p))
		return;
	int rc = store_networks(c->rest->config.store, page_after(&p), kept, p.limit + 1);
	if (rc < 0) {
		rest_store_problem(c, rc);
		return;
	}
	p.list = json_array();
	merge_networks(&p, kept, (size_t)rc, now,
		       coord_list_networks(c->rest->config.coord, page_after(&p), now, p.limit + 1));
	page_answer(c, &p, "networks", json_object());
}

/* The key before `key`: what comes after it is `key` first. False for the first of all. */
static bool key_before(uint8_t out[static REST_KEY], const uint8_t key[static REST_KEY])
{
	memcpy(out, key, REST_KEY);
	for (size_t i = REST_KEY; i-- > 0;)
		if (out[i]--)
			return true;
	return false;
}

/* 1 if it is there, 0 if not, or a negative errno. */
static int kept_network(struct store *s, const uint8_t netid[static REST_KEY], struct store_network *out)
{
	uint8_t before[REST_KEY];
	int rc = store_networks(s, key_before(before, netid) ? before : NULL, out, 1);

	return rc == 1 ? !memcmp(out->netid, netid, REST_KEY) : rc;
}

static int kept_node(struct store *s, const uint8_t netid[static REST_KEY], const uint8_t ik[static REST_KEY],
		     struct store_node *out)
{
	uint8_t before[REST_KEY];
	int rc = store_nodes(s, netid, key_before(before, ik) ? before : NULL, out, 1);

	return rc == 1 ? !memcmp(out->ik, ik, REST_KEY) : rc;
}

/* Answers if it is not there. */
static bool network_find(struct rest_call *c, const uint8_t netid[static REST_KEY], json_t **json)
{
	struct store_network kept;
	struct coord_network now;
	bool is_now = coord_find_network(c->rest->config.coord, netid, &now) == 0;
	int rc = kept_network(c->rest->config.store, netid, &kept);

	if (rc < 0)
		rest_store_problem(c, rc);
	else if (!rc && !is_now)
		rest_problem(c, 404, "the hub has seen no such network");
	else {
		*json = network_json(rc ? &kept : NULL, is_now ? &now : NULL);
		return true;
	}
	return false;
}

void rest_network(struct rest_call *c)
{
	uint8_t netid[REST_KEY];
	json_t *json;

	if (rest_param_key(c, netid) && network_find(c, netid, &json))
		rest_json(c, 200, json);
}

/* --- Nodes */

static json_t *node_json(const struct rest_call *c, const struct store_node *kept,
			 const struct coord_node *now)
{
	static const struct store_node not_kept;
	const struct store_node *k = kept ? kept : &not_kept;
	struct addr bound = { 0 };

	if (now && now->slot && c->rest->config.relay)
		relay_server_bound(c->rest->config.relay, now->slot, &bound);
	return json_pack("{s:o, s:o, s:b, s:o, s:o, s:I, s:I, s:o, s:o}", "netid",
			 rest_key_json(now ? now->netid : k->netid), "ik",
			 rest_key_json(now ? now->ik : k->ik), "online", now && now->online, "rtt_ms",
			 now && now->rtt_ms ? json_integer(now->rtt_ms) : json_null(), "relay_endpoint",
			 rest_addr_json(&bound), "record_seq", (json_int_t)(now ? now->seq : k->seq),
			 "record_bytes", (json_int_t)(now ? now->record_len : k->record_len), "first_seen",
			 rest_time_json(k->first_s), "last_seen", rest_time_json(k->last_s));
}

static void merge_nodes(struct rest_call *c, struct key_page *p, const struct store_node *kept,
			size_t kept_count, const struct coord_node *now, size_t now_count)
{
	size_t i = 0, j = 0;

	while ((i < kept_count || j < now_count) && json_array_size(p->list) < p->limit) {
		const struct store_node *k = i < kept_count ? &kept[i] : NULL;
		const struct coord_node *n = j < now_count ? &now[j] : NULL;
		int order = merge(k ? k->ik : NULL, n ? n->ik : NULL);
		i += order <= 0;
		j += order >= 0;
		page_add(p, order <= 0 ? k->ik : n->ik,
			 node_json(c, order <= 0 ? k : NULL, order >= 0 ? n : NULL));
	}
	p->more = i < kept_count || j < now_count;
}

void rest_nodes(struct rest_call *c)
{
	struct coord_node now[PAGE_ROOM];
	uint8_t netid[REST_KEY];
	struct key_page p;
	json_t *network;

	if (!rest_param_key(c, netid) || !page_read(c, &p) || !network_find(c, netid, &network))
		return;
	json_decref(network);
	struct store_node *kept = calloc(p.limit + 1, sizeof *kept);
	int rc = kept ? store_nodes(c->rest->config.store, netid, page_after(&p), kept, p.limit + 1)
		      : -ENOMEM;
	if (rc < 0)
		rest_store_problem(c, rc);
	else {
		p.list = json_array();
		merge_nodes(c, &p, kept, (size_t)rc, now,
			    coord_list_nodes(c->rest->config.coord, netid, page_after(&p), now, p.limit + 1));
		page_answer(c, &p, "nodes", json_object());
	}
	free(kept);
}

/* Adds what there is of this node in one network: `now` may be NULL. False: answered. */
static bool add_membership(struct rest_call *c, json_t *list, const uint8_t *netid, const uint8_t *ik,
			   const struct coord_node *now)
{
	struct store_node kept;
	int rc = kept_node(c->rest->config.store, netid, ik, &kept);

	if (rc < 0) {
		rest_store_problem(c, rc);
		return false;
	}
	if (rc || now)
		json_array_append_new(list, node_json(c, rc ? &kept : NULL, now));
	return true;
}

/* Who is gone for long stands in the store, under its network. */
void rest_node(struct rest_call *c)
{
	struct coord_node now[MEMBERSHIPS_MAX];
	uint8_t ik[REST_KEY], netid[REST_KEY];
	bool given, seen = false, ok = true;

	if (!rest_param_key(c, ik) || !rest_query_key(c, "network", netid, &given))
		return;
	json_t *list = json_array();
	size_t count = coord_find_node(c->rest->config.coord, ik, now, MEMBERSHIPS_MAX);
	for (size_t i = 0; ok && i < count; i++) {
		bool wanted = !given || !memcmp(now[i].netid, netid, REST_KEY);
		seen |= given && wanted;
		ok = !wanted || add_membership(c, list, now[i].netid, ik, &now[i]);
	}
	if (ok && given && !seen)
		ok = add_membership(c, list, netid, ik, NULL);
	if (ok && json_array_size(list))
		rest_json(c, 200, json_pack("{s:o, s:O}", "ik", rest_key_json(ik), "memberships", list));
	else if (ok)
		rest_problem(
			c, 404,
			"the hub knows no such node; one that is gone for more than an hour is found with "
			"its network: ?network=NETID");
	json_decref(list);
}

/* --- Sessions of the relay */

static const struct coord_owner *owner_of(const struct coord_owner *owners, size_t count, uint32_t slot)
{
	struct coord_owner key = { .slot = slot };

	return bsearch(&key, owners, count, sizeof key, coord_owner_compare);
}

static json_t *session_json(const struct relay_session_view *s, const struct coord_owner *owners,
			    size_t count)
{
	const struct coord_owner *a = owner_of(owners, count, s->slot[0]),
				 *b = owner_of(owners, count, s->slot[1]);

	return json_pack("{s:I, s:o, s:[o, o], s:[o, o]}", "id", (json_int_t)s->id, "netid",
			 a->known ? rest_key_json(a->netid) : json_null(), "nodes",
			 a->known ? rest_key_json(a->ik) : json_null(),
			 b->known ? rest_key_json(b->ik) : json_null(), "endpoints",
			 rest_addr_json(&s->bound[0]), rest_addr_json(&s->bound[1]));
}

static json_t *sessions_json(const struct rest_call *c, const struct relay_session_view *sessions,
			     size_t count)
{
	struct coord_owner owners[2 * REST_PAGE_MAX] = { 0 };
	json_t *list = json_array();

	for (size_t i = 0; i < 2 * count; i++)
		owners[i].slot = sessions[i / 2].slot[i % 2];
	qsort(owners, 2 * count, sizeof *owners, coord_owner_compare);
	/* A slot with several sessions stands there as often; once is enough. */
	size_t distinct = 0;
	for (size_t i = 0; i < 2 * count; i++)
		if (distinct == 0 || owners[distinct - 1].slot != owners[i].slot)
			owners[distinct++] = owners[i];
	coord_find_owners(c->rest->config.coord, owners, distinct);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, session_json(&sessions[i], owners, distinct));
	return list;
}

void rest_sessions(struct rest_call *c)
{
	struct relay_session_view sessions[REST_PAGE_MAX], another;
	const struct relay_server *relay = c->rest->config.relay;
	uint64_t limit = REST_PAGE, cursor = 0;
	size_t count = 0;

	if (!rest_query_number(c, "limit", 1, REST_PAGE_MAX, &limit) ||
	    !rest_query_number(c, "cursor", 0, UINT32_MAX, &cursor))
		return;
	uint32_t at = (uint32_t)cursor;
	while (count < limit && relay && relay_server_next_session(relay, &at, &sessions[count]))
		count++;
	uint32_t next = at;
	bool more = count == limit && relay_server_next_session(relay, &at, &another);
	char text[16];
	snprintf(text, sizeof text, "%u", next);
	rest_json(c, 200,
		  json_pack("{s:o, s:o}", "sessions", sessions_json(c, sessions, count), "next",
			    more ? json_string(text) : json_null()));
}

/* --- Usage */

/* "2026-01"; the present month if it is not given. */
static bool month_read(struct rest_call *c, uint32_t *month)
{
	char text[REST_VALUE];

	*month = quota_month(c->request->unix_s);
	if (!rest_query(c, "month", text))
		return true;
	if (strlen(text) == 7 && strspn(text, "0123456789") == 4 && text[4] == '-' &&
	    strspn(text + 5, "0123456789") == 2) {
		unsigned long of_year = strtoul(text + 5, NULL, 10);
		*month = (uint32_t)(strtoul(text, NULL, 10) * 12 + of_year - 1);
		if (of_year >= 1 && of_year <= 12)
			return true;
	}
	rest_problem(c, 400, "month is a year and a month: 2026-01");
	return false;
}

void rest_usage(struct rest_call *c)
{
	struct store_usage used[PAGE_ROOM];
	uint8_t netid[REST_KEY];
	char month_text[16];
	struct key_page p;
	uint32_t month;
	bool given;

	if (!month_read(c, &month) || !rest_query_key(c, "network", netid, &given) || !page_read(c, &p))
		return;
	int rc = store_usage_list(c->rest->config.store, given ? netid : NULL, month, page_after(&p), used,
				  p.limit + 1);
	if (rc < 0) {
		rest_store_problem(c, rc);
		return;
	}
	p.list = json_array();
	p.more = (uint64_t)rc > p.limit;
	for (size_t i = 0; i < (size_t)rc && i < p.limit; i++) {
		const uint8_t *key = given ? used[i].ik : used[i].netid;
		page_add(&p, key,
			 json_pack("{s:o, s:I}", given ? "ik" : "netid", rest_key_json(key), "bytes",
				   (json_int_t)used[i].bytes));
	}
	snprintf(month_text, sizeof month_text, "%04u-%02u", month / 12, month % 12 + 1);
	json_t *body = json_pack("{s:s}", "month", month_text);
	if (given)
		json_object_set_new(body, "netid", rest_key_json(netid));
	page_answer(c, &p, given ? "nodes" : "networks", body);
}

/* --- Audit */

/* Details were written by the hub, but a damaged file must not break the answer. */
static json_t *detail_json(const char *text)
{
	json_t *json = *text ? json_loads(text, 0, NULL) : NULL;

	return json ? json : json_null();
}

static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_null(); /* not UTF-8 */
}

static json_t *audit_json(const struct store_audit *e)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "id", (json_int_t)e->id, "time",
			 rest_time_json(e->time_s), "actor", text_json(e->actor), "action",
			 text_json(e->action), "object", text_json(e->object), "outcome",
			 text_json(e->outcome), "detail", detail_json(e->detail));
}

static bool audit_query(struct rest_call *c, struct store_audit_query *q, char action[static REST_VALUE],
			uint64_t *limit)
{
	char order[REST_VALUE] = "oldest";
	uint64_t cursor = 0;

	*q = (struct store_audit_query) { 0 };
	if (!rest_query_time(c, "since", &q->since_s) || !rest_query_time(c, "until", &q->until_s) ||
	    !rest_query_number(c, "limit", 1, REST_PAGE_MAX, limit) ||
	    !rest_query_number(c, "cursor", 0, INT64_MAX, &cursor))
		return false;
	rest_query(c, "order", order);
	q->newest = !strcmp(order, "newest");
	if (!q->newest && strcmp(order, "oldest") != 0) {
		rest_problem(c, 400, "order is oldest or newest");
		return false;
	}
	*(q->newest ? &q->before_id : &q->after_id) = cursor;
	q->action = rest_query(c, "action", action) ? action : NULL;
	return true;
}

void rest_audit_list(struct rest_call *c)
{
	char action[REST_VALUE], next[24] = "";
	struct store_audit_query q;
	uint64_t limit = REST_PAGE;

	if (!audit_query(c, &q, action, &limit))
		return;
	struct store_audit *entries = calloc(limit + 1, sizeof *entries);
	int rc = entries ? store_audit_list(c->rest->config.store, &q, entries, limit + 1) : -ENOMEM;
	if (rc < 0)
		rest_store_problem(c, rc);
	else {
		json_t *list = json_array();
		for (size_t i = 0; i < (size_t)rc && i < limit; i++)
			json_array_append_new(list, audit_json(&entries[i]));
		if ((uint64_t)rc > limit)
			snprintf(next, sizeof next, "%llu", (unsigned long long)entries[limit - 1].id);
		rest_json(c, 200,
			  json_pack("{s:o, s:o}", "audit", list, "next",
				    *next ? json_string(next) : json_null()));
	}
	free(entries);
}
