/* What a node tells Prometheus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/made_node.h"
#include "tests/unit/metrics_text.h"

static char text[METRICS_TEXT_MAX];
static struct engine_peer members[2];

static const char *write_node(void)
{
	struct metrics m;

	metrics_init(&m, text, sizeof text);
	node_metrics_write(&m,
			   &(struct node_metrics) { .engine = &engine, .offload = "no-uso", .workers = 3 });
	assert_false(m.full);
	assert_true(m.len < sizeof text / 2);
	return text;
}

static void the_text_is_well_formed(void **state)
{
	(void)state;

	read_metrics(write_node());
	assert_true(family_count > 25);
	for (size_t i = 0; i < family_count; i++)
		assert_true(families[i].samples > 0);
}

static void promtool_finds_no_fault(void **state)
{
	(void)state;

	check_with_promtool(write_node());
}

static void peers_are_told_apart_by_path_not_by_name(void **state)
{
	(void)state;

	link_member(&members[0], "anna", "10.77.0.1");
	link_member(&members[1], "bert", "10.77.0.2");
	members[0].peer.best = &members[0].peer.paths[0];
	members[1].online = false;
	write_node();
	assert_true(value_in(text, "p2pd_peers{path=\"direct\"}") == 1);
	assert_true(value_in(text, "p2pd_peers{path=\"none\"}") == 1);
	assert_true(value_in(text, "p2pd_peers_online") == 1);
	assert_null(strstr(text, "anna"));
	assert_null(strstr(text, "10.77"));
	assert_null(strstr(text, engine.config.net.name));
}

static void counts_are_told_as_they_are(void **state)
{
	struct engine_counts *c = &engine.counts;
	(void)state;

	c->attempts[TECHNIQUE_BIRTHDAY][OUTCOME_FAILED] = 4;
	c->opened[OPENED_UNPROVEN] = 1;
	c->opened[OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN] = 2;
	c->opened[OPENED_LAN] = 5;
	c->in[ENGINE_KIND_RELAY_UDP] = (struct engine_traffic) { 6, 700 };
	c->out[ENGINE_KIND_DIRECT] = (struct engine_traffic) { 8, 900 };
	c->handshakes_answered = 9;
	c->hub_links_lost = 10;
	engine.drops.bad_source = 11;
	engine.hub_rtt_ms = 25;
	engine_observe(&c->to_direct, 70);
	engine_observe(&c->to_direct, 100000);
	write_node();
	static const struct {
		const char *series;
		double value;
	} table[] = {
		{ "p2pd_punch_attempts_total{technique=\"birthday\",outcome=\"failed\"}", 4 },
		{ "p2pd_punch_attempts_total{technique=\"birthday\",outcome=\"direct\"}", 0 },
		{ "p2pd_direct_paths_total{technique=\"simultaneous-open\"}", 3 },
		{ "p2pd_direct_paths_total{technique=\"lan\"}", 5 },
		{ "p2pd_received_packets_total{path=\"relay-udp\"}", 6 },
		{ "p2pd_received_bytes_total{path=\"relay-udp\"}", 700 },
		{ "p2pd_sent_packets_total{path=\"direct\"}", 8 },
		{ "p2pd_sent_bytes_total{path=\"direct\"}", 900 },
		{ "p2pd_handshakes_total{role=\"responder\"}", 9 },
		{ "p2pd_hub_connections_lost_total", 10 },
		{ "p2pd_drops_total{reason=\"bad_source\"}", 11 },
		{ "p2pd_hub_rtt_seconds", 0.025 },
		{ "p2pd_time_to_direct_seconds_bucket{le=\"0.05\"}", 0 },
		{ "p2pd_time_to_direct_seconds_bucket{le=\"0.1\"}", 1 },
		{ "p2pd_time_to_direct_seconds_bucket{le=\"60\"}", 1 },
		{ "p2pd_time_to_direct_seconds_bucket{le=\"+Inf\"}", 2 },
		{ "p2pd_time_to_direct_seconds_count", 2 },
		{ "p2pd_time_to_direct_seconds_sum", 100.07 },
		{ "p2pd_offload_info{rung=\"no-uso\"}", 1 },
		{ "p2pd_workers", 3 },
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		assert_true(value_in(text, table[i].series) == table[i].value);
}

static void a_bound_belongs_to_its_own_bucket(void **state)
{
	struct engine_histogram h = { 0 };
	(void)state;

	for (int i = 0; i < ENGINE_BOUNDS; i++) {
		memset(&h, 0, sizeof h);
		engine_observe(&h, engine_bounds_ms[i]);
		engine_observe(&h, engine_bounds_ms[i] + 1);
		assert_int_equal(h.counts[i], 1);
		assert_int_equal(h.counts[i + 1], 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_a_node(the_text_is_well_formed),
		with_a_node(promtool_finds_no_fault),
		with_a_node(peers_are_told_apart_by_path_not_by_name),
		with_a_node(counts_are_told_as_they_are),
		cmocka_unit_test(a_bound_belongs_to_its_own_bucket),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
