#include "apps/p2pd/node_metrics.h"

#include "apps/p2pd/reason.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *const kinds[ENGINE_KINDS + 1] = {
	[ENGINE_KIND_DIRECT] = "direct",
	[ENGINE_KIND_RELAY_UDP] = "relay-udp",
	[ENGINE_KIND_RELAY_TLS] = "relay-tls",
	[ENGINE_KINDS] = "none",
};

/* ---- peers and paths */

static void write_peers(struct metrics *m, const struct engine *e)
{
	unsigned by_kind[ENGINE_KINDS + 1] = { 0 }, online = 0;

	for (const struct engine_peer *ep = e->peers; ep; ep = ep->next) {
		by_kind[engine_kind(ep, e)]++;
		online += ep->online;
	}
	metrics_begin(m, "p2pd_peers", METRICS_GAUGE,
		      "Peers known, by how packets to them go now; none: there is no way.");
	for (unsigned i = 0; i <= ENGINE_KINDS; i++)
		metrics_labelled(m, "path", kinds[i], by_kind[i]);
	metrics_gauge(m, "p2pd_peers_online", "Peers that the hub says are online.", online);
}

static void write_attempts(struct metrics *m, const struct engine_counts *c)
{
	metrics_begin(m, "p2pd_punch_attempts_total", METRICS_COUNTER,
		      "Attempts at a direct path that ended, by technique and outcome; direct is success.");
	for (int t = 0; t < ENGINE_TECHNIQUES; t++)
		for (int o = 0; o < ENGINE_OUTCOMES; o++) {
			const struct metrics_label labels[] = {
				{ "technique", technique_name((enum technique)t) },
				{ "outcome", reason_outcome_word((enum engine_outcome)o) },
			};
			metrics_sample(m, labels, 2, (double)c->attempts[t][o]);
		}
}

/* What is not known to have been opened otherwise counts for simultaneous open, as in status. */
static void write_opened(struct metrics *m, const struct engine_counts *c)
{
	metrics_begin(m, "p2pd_direct_paths_total", METRICS_COUNTER,
		      "Direct paths found to peers that had none, by what opened them.");
	for (unsigned i = OPENED_UNPROVEN + 1; i < ENGINE_OPENERS; i++) {
		bool first = i == OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN;
		metrics_labelled(m, "technique", reason_opener(i),
				 (double)(c->opened[i] + (first ? c->opened[OPENED_UNPROVEN] : 0)));
	}
}

static void write_histogram(struct metrics *m, const struct metrics_label *label,
			    const struct engine_histogram *h)
{
	double bounds[ENGINE_BOUNDS];

	for (int i = 0; i < ENGINE_BOUNDS; i++)
		bounds[i] = engine_bounds_ms[i] / 1000.0;
	metrics_histogram(m, label, bounds, h->counts, ENGINE_BOUNDS, (double)h->sum_ms / 1000);
}

static void write_times(struct metrics *m, const struct engine_counts *c)
{
	metrics_begin(m, "p2pd_time_to_direct_seconds", METRICS_HISTOGRAM,
		      "From the first packet for a peer without a direct path to that path.");
	write_histogram(m, NULL, &c->to_direct);
	metrics_begin(
		m, "p2pd_path_rtt_seconds", METRICS_HISTOGRAM,
		"Round trips to peers: of direct paths by the probes that watch them (smoothed), of relays "
		"only by pings that someone asked for.");
	for (int i = 0; i < ENGINE_KINDS; i++)
		write_histogram(m, &(struct metrics_label) { "path", kinds[i] }, &c->rtt[i]);
}

/* ---- data */

/* Bytes, or packets, of all kinds of paths. */
static void write_traffic(struct metrics *m, const char *name, const char *help,
			  const struct engine_traffic *by_kind, bool bytes)
{
	metrics_begin(m, name, METRICS_COUNTER, help);
	for (int i = 0; i < ENGINE_KINDS; i++)
		metrics_labelled(m, "path", kinds[i],
				 (double)(bytes ? by_kind[i].bytes : by_kind[i].packets));
}

static void write_data(struct metrics *m, const struct engine_counts *c)
{
	write_traffic(m, "p2pd_received_packets_total", "Packets from peers, by kind of path.", c->in, false);
	write_traffic(m, "p2pd_received_bytes_total", "Bytes in packets from peers, without our headers.",
		      c->in, true);
	write_traffic(m, "p2pd_sent_packets_total", "Packets to peers, by kind of path.", c->out, false);
	write_traffic(m, "p2pd_sent_bytes_total", "Bytes in packets to peers, without our headers.", c->out,
		      true);
}

static void write_drops(struct metrics *m, const struct engine_drops *d)
{
	const struct metrics_row rows[] = {
		{ "malformed", (double)d->malformed },	 { "unknown_peer", (double)d->unknown_peer },
		{ "bad_auth", (double)d->bad_auth },	 { "replayed", (double)d->replayed },
		{ "bad_source", (double)d->bad_source }, { "bad_destination", (double)d->bad_destination },
		{ "no_route", (double)d->no_route },	 { "no_way", (double)d->no_way },
		{ "no_buffer", (double)d->no_buffer },	 { "under_load", (double)d->under_load },
		{ "link_full", (double)d->link_full },
	};

	metrics_begin(m, "p2pd_drops_total", METRICS_COUNTER,
		      "Packets and messages dropped, as `p2pd status --json` names the reasons.");
	metrics_table(m, "reason", rows, COUNT(rows));
}

static void write_handshakes(struct metrics *m, const struct engine_counts *c)
{
	const struct metrics_row rows[] = { { "initiator", (double)c->handshakes_begun },
					    { "responder", (double)c->handshakes_answered } };

	metrics_begin(m, "p2pd_handshakes_total", METRICS_COUNTER,
		      "WireGuard handshakes that gave keys, by our part.");
	metrics_table(m, "role", rows, COUNT(rows));
}

/* ---- hub and host */

static void write_hub(struct metrics *m, const struct engine *e)
{
	const struct engine_counts *c = &e->counts;

	metrics_gauge(m, "p2pd_hub_connected", "1: the hub has let us in.", e->welcomed);
	metrics_gauge(m, "p2pd_hub_rtt_seconds", "Round trip to the hub by UDP; 0: not measured.",
		      e->hub_rtt_ms / 1000.0);
	metrics_counter(m, "p2pd_hub_connections_total",
			"Connections to the hub that came about: all but the first are reconnects.",
			(double)c->hub_links);
	metrics_counter(m, "p2pd_hub_connections_lost_total", "Connections to the hub that ended.",
			(double)c->hub_links_lost);
	metrics_counter(m, "p2pd_hub_connect_failures_total", "Attempts to reach the hub that failed.",
			(double)c->hub_failures);
	metrics_gauge(m, "p2pd_relay_bound", "1: the hub's UDP relay knows our address.",
		      relay_client_bound(&e->relay));
}

static void write_host(struct metrics *m, const struct node_metrics *n)
{
	const struct verdict *v = &n->engine->verdict;
	const struct metrics_label nat[] = {
		{ "type", nat_type_name(verdict_type(v)) },
		{ "mapping", nat_mapping_name(v->mapping) },
		{ "filtering", nat_filtering_name(v->filtering) },
	};

	metrics_begin(m, "p2pd_nat_info", METRICS_GAUGE,
		      "Always 1; the labels tell what our NAT does (IPv4).");
	metrics_sample(m, nat, COUNT(nat), 1);
	metrics_begin(m, "p2pd_offload_info", METRICS_GAUGE,
		      "Always 1; the label tells what of the kernel's offloads data may use.");
	metrics_labelled(m, "rung", n->offload, 1);
	metrics_gauge(m, "p2pd_workers", "Threads that carry data.", n->workers);
}

void node_metrics_write(struct metrics *m, const struct node_metrics *n)
{
	const struct engine_counts *c = &n->engine->counts;

	write_peers(m, n->engine);
	write_attempts(m, c);
	write_opened(m, c);
	write_times(m, c);
	write_data(m, c);
	write_drops(m, &n->engine->drops);
	write_handshakes(m, c);
	write_hub(m, n->engine);
	write_host(m, n);
	if (n->forwarder)
		forward_metrics_write(m, n->forwarder);
	metrics_process(m, "p2pd");
}
