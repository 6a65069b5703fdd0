#include "apps/p2phub/hub_metrics.h"

#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void write_nodes(struct metrics *m, const struct coord_stats *c)
{
	const struct metrics_row dropped[] = { { "malformed", (double)c->malformed },
					       { "limited", (double)c->limited } };

	metrics_gauge(m, "p2phub_nodes_online", "Nodes logged in.", c->online);
	metrics_gauge(m, "p2phub_networks", "Networks with members that are online or were lately.",
		      c->networks);
	metrics_gauge(m, "p2phub_records", "Records of nodes that are kept.", c->records);
	metrics_gauge(m, "p2phub_node_connections", "Links of nodes, also of those not logged in yet.",
		      c->connections);
	metrics_counter(m, "p2phub_logins_total", "Logins of nodes that were let in.", (double)c->logins);
	metrics_counter(m, "p2phub_logins_refused_total",
			"Links refused: login wrong or expired, hub full, replaced.", (double)c->refused);
	metrics_counter(m, "p2phub_introductions_total", "Pairs of nodes introduced to each other.",
			(double)c->introductions);
	metrics_begin(m, "p2phub_messages_dropped_total", METRICS_COUNTER,
		      "Messages of nodes that were not obeyed, by reason.");
	metrics_table(m, "reason", dropped, COUNT(dropped));
}

static void write_relay(struct metrics *m, const struct relay_stats *r, const struct frame_pool *frames)
{
	const struct metrics_row drops[] = {
		{ "undeliverable", (double)r->undeliverable }, { "unbound", (double)r->unbound },
		{ "bad_proof", (double)r->bad_proof },	       { "malformed", (double)r->malformed },
		{ "over_rate", (double)r->over_rate },	       { "over_month", (double)r->over_month },
		{ "over_share", (double)r->over_share },       { "unknown_slot", (double)r->unknown_slot },
		{ "bad_ticket", (double)r->bad_ticket },       { "slow_reader", (double)frames->dropped },
	};

	metrics_gauge(m, "p2phub_relay_slots", "Nodes that may bind at the relay.", r->slots);
	metrics_gauge(m, "p2phub_relay_bound", "Of these, nodes that are bound.", r->bound);
	metrics_gauge(m, "p2phub_relay_linked", "Nodes that are relayed to over their links.", r->by_link);
	metrics_gauge(m, "p2phub_relay_queued_bytes", "Relayed data that waits for links that are slow.",
		      (double)frames->bytes);
	metrics_gauge(m, "p2phub_relay_sessions", "Pairs of nodes that may be relayed.", r->sessions);
	metrics_begin(m, "p2phub_relay_packets_total", METRICS_COUNTER,
		      "Datagrams forwarded, by how they left.");
	metrics_labelled(m, "transport", "udp", (double)(r->forwarded - r->link_forwarded));
	metrics_labelled(m, "transport", "tls", (double)r->link_forwarded);
	metrics_begin(m, "p2phub_relay_bytes_total", METRICS_COUNTER,
		      "Bytes in datagrams forwarded, by how they left.");
	metrics_labelled(m, "transport", "udp", (double)(r->bytes - r->link_bytes));
	metrics_labelled(m, "transport", "tls", (double)r->link_bytes);
	metrics_begin(m, "p2phub_relay_drops_total", METRICS_COUNTER, "Datagrams not forwarded, by reason.");
	metrics_table(m, "reason", drops, COUNT(drops));
	metrics_counter(m, "p2phub_relay_challenges_total",
			"Challenges sent to nodes that bind, and to who pretends to.", (double)r->challenged);
}

static void write_stun(struct metrics *m, const struct stun_server *s)
{
	const struct metrics_row requests[] = { { "answered", (double)s->answered },
						{ "limited", (double)s->limited },
						{ "malformed", (double)s->malformed } };

	metrics_begin(m, "p2phub_stun_requests_total", METRICS_COUNTER,
		      "Datagrams that were not the relay's: STUN requests, and what is none.");
	metrics_table(m, "outcome", requests, COUNT(requests));
}

static void write_tls(struct metrics *m, const struct stream_listener_stats *t)
{
	const struct metrics_row handshakes[] = { { "done", (double)t->accepted },
						  { "failed", (double)(t->failed - t->made_way) },
						  { "made_way", (double)t->made_way } };

	metrics_gauge(m, "p2phub_tls_half_open", "Connections in their TLS handshake.", t->half_open);
	metrics_begin(m, "p2phub_tls_handshakes_total", METRICS_COUNTER,
		      "TLS handshakes that came to an end; who made way was one of too many.");
	metrics_table(m, "outcome", handshakes, COUNT(handshakes));
}

static void write_http(struct metrics *m, const struct http_stats *h)
{
	const struct metrics_row ended[] = { { "malformed", (double)h->malformed },
					     { "timed_out", (double)h->timed_out },
					     { "made_way", (double)h->made_way },
					     { "unread", (double)h->unread } };

	metrics_gauge(m, "p2phub_http_connections", "HTTP connections, without nodes' links.",
		      h->connections);
	metrics_counter(m, "p2phub_http_connections_accepted_total",
			"HTTP connections accepted; nodes' links begin so.", (double)h->accepted);
	metrics_counter(m, "p2phub_http_connections_refused_total",
			"HTTP connections turned away: there were too many.", (double)h->busy);
	metrics_begin(m, "p2phub_http_connections_ended_total", METRICS_COUNTER,
		      "HTTP connections that the hub ended: their requests were wrong, they took too long, "
		      "others needed their places, or they did not read their answers.");
	metrics_table(m, "reason", ended, COUNT(ended));
	metrics_begin(m, "p2phub_http_responses_total", METRICS_COUNTER, "HTTP answers, by status code.");
	for (int i = 0; i < HTTP_CODES; i++) {
		char code[16];
		if (!h->answers[i])
			continue;
		snprintf(code, sizeof code, "%d", HTTP_CODE_FIRST + i);
		metrics_labelled(m, "code", code, (double)h->answers[i]);
	}
}

static void write_store(struct metrics *m, struct store *s)
{
	metrics_gauge(m, "p2phub_store_ok", "1: what is to be kept can be written to the disk.",
		      s && store_state(s) == STORE_OK);
	metrics_gauge(m, "p2phub_store_waiting_writes", "Writes that wait for the disk.",
		      s ? (double)store_waiting(s) : 0);
	metrics_counter(m, "p2phub_audit_lost_total",
			"Audit entries that were lost, as the disk took nothing for too long.",
			s ? (double)store_audit_lost(s) : 0);
}

void hub_metrics_write(struct metrics *m, const struct hub_metrics *h)
{
	write_nodes(m, &h->coord);
	write_relay(m, &h->relay, &h->frames);
	write_stun(m, h->stun);
	write_tls(m, &h->tls);
	write_http(m, h->http);
	write_store(m, h->store);
	metrics_process(m, "p2phub");
}

void hub_metrics_write_relay(struct metrics *m, const struct relay_stats *r, const struct stun_server *s)
{
	write_relay(m, r, &(struct frame_pool) { 0 });
	write_stun(m, s);
	metrics_process(m, "p2phub");
}
