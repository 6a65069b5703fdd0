/* What the hub tells Prometheus; and the files for Grafana and Zabbix use no number that hub and nodes do not tell. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2phub/hub_metrics.h"
#include "tests/unit/made_node.h"
#include "tests/unit/metrics_text.h"

static char text[2 * METRICS_TEXT_MAX];
static struct http_stats http;
static struct stun_server stun;

static const char *write_hub(const struct hub_metrics *h)
{
	struct metrics m;

	metrics_init(&m, text, METRICS_TEXT_MAX);
	hub_metrics_write(&m, h);
	assert_false(m.full);
	return text;
}

static void the_text_is_well_formed(void **state)
{
	(void)state;

	read_metrics(write_hub(&(struct hub_metrics) { .http = &http, .stun = &stun }));
	assert_true(family_count > 20);
}

static void promtool_finds_no_fault(void **state)
{
	(void)state;

	check_with_promtool(write_hub(&(struct hub_metrics) { .http = &http, .stun = &stun }));
}

static const struct {
	const char *series;
	double value;
} told[] = {
	{ "p2phub_nodes_online", 1 },
	{ "p2phub_node_connections", 2 },
	{ "p2phub_networks", 3 },
	{ "p2phub_records", 4 },
	{ "p2phub_logins_total", 5 },
	{ "p2phub_logins_refused_total", 6 },
	{ "p2phub_introductions_total", 7 },
	{ "p2phub_messages_dropped_total{reason=\"malformed\"}", 8 },
	{ "p2phub_messages_dropped_total{reason=\"limited\"}", 9 },
	{ "p2phub_relay_packets_total{transport=\"udp\"}", 10 },
	{ "p2phub_relay_packets_total{transport=\"tls\"}", 20 },
	{ "p2phub_relay_bytes_total{transport=\"tls\"}", 21 },
	{ "p2phub_relay_drops_total{reason=\"slow_reader\"}", 22 },
	{ "p2phub_relay_queued_bytes", 23 },
	{ "p2phub_relay_linked", 24 },
	{ "p2phub_relay_bytes_total{transport=\"udp\"}", 11 },
	{ "p2phub_relay_drops_total{reason=\"undeliverable\"}", 12 },
	{ "p2phub_relay_drops_total{reason=\"unknown_slot\"}", 13 },
	{ "p2phub_relay_slots", 14 },
	{ "p2phub_relay_sessions", 15 },
	{ "p2phub_relay_bound", 16 },
	{ "p2phub_http_connections", 3 },
	{ "p2phub_http_connections_accepted_total", 30 },
	{ "p2phub_http_connections_refused_total", 2 },
	{ "p2phub_http_responses_total{code=\"101\"}", 17 },
	{ "p2phub_http_responses_total{code=\"503\"}", 18 },
	{ "p2phub_http_connections_ended_total{reason=\"malformed\"}", 31 },
	{ "p2phub_http_connections_ended_total{reason=\"timed_out\"}", 32 },
	{ "p2phub_http_connections_ended_total{reason=\"made_way\"}", 33 },
	{ "p2phub_http_connections_ended_total{reason=\"unread\"}", 34 },
	{ "p2phub_stun_requests_total{outcome=\"answered\"}", 35 },
	{ "p2phub_stun_requests_total{outcome=\"limited\"}", 36 },
	{ "p2phub_stun_requests_total{outcome=\"malformed\"}", 37 },
	{ "p2phub_tls_half_open", 38 },
	{ "p2phub_tls_handshakes_total{outcome=\"done\"}", 39 },
	{ "p2phub_tls_handshakes_total{outcome=\"failed\"}", 40 },
	{ "p2phub_tls_handshakes_total{outcome=\"made_way\"}", 41 },
	{ "p2phub_relay_drops_total{reason=\"unbound\"}", 42 },
	{ "p2phub_relay_drops_total{reason=\"bad_proof\"}", 43 },
	{ "p2phub_relay_drops_total{reason=\"malformed\"}", 44 },
	{ "p2phub_relay_drops_total{reason=\"over_rate\"}", 45 },
	{ "p2phub_relay_drops_total{reason=\"over_month\"}", 46 },
	{ "p2phub_relay_drops_total{reason=\"over_share\"}", 47 },
	{ "p2phub_relay_drops_total{reason=\"bad_ticket\"}", 48 },
	{ "p2phub_relay_challenges_total", 49 },
	{ "p2phub_store_ok", 0 }, /* there is none */
	{ "p2phub_store_waiting_writes", 0 },
	{ "p2phub_audit_lost_total", 0 },
};

static void counts_are_told_as_they_are(void **state)
{
	static struct http_stats some = { .accepted = 30,
					  .busy = 2,
					  .connections = 3,
					  .malformed = 31,
					  .timed_out = 32,
					  .made_way = 33,
					  .unread = 34 };
	static const struct stun_server asked = { .answered = 35, .limited = 36, .malformed = 37 };
	(void)state;

	some.answers[1] = 17;
	some.answers[403] = 18;
	write_hub(&(struct hub_metrics) {
		.coord = { .online = 1,
			   .connections = 2,
			   .networks = 3,
			   .records = 4,
			   .logins = 5,
			   .refused = 6,
			   .introductions = 7,
			   .malformed = 8,
			   .limited = 9 },
		.relay = { .forwarded = 30,
			   .bytes = 32,
			   .link_forwarded = 20,
			   .link_bytes = 21,
			   .by_link = 24,
			   .undeliverable = 12,
			   .unknown_slot = 13,
			   .unbound = 42,
			   .bad_proof = 43,
			   .malformed = 44,
			   .over_rate = 45,
			   .over_month = 46,
			   .over_share = 47,
			   .bad_ticket = 48,
			   .challenged = 49,
			   .slots = 14,
			   .sessions = 15,
			   .bound = 16 },
		.frames = { .dropped = 22, .bytes = 23 },
		.tls = { .half_open = 38, .accepted = 39, .failed = 81, .made_way = 41 },
		.stun = &asked,
		.http = &some });
	read_metrics(text);
	for (size_t i = 0; i < sizeof told / sizeof *told; i++)
		assert_true(value_in(text, told[i].series) == told[i].value);
	assert_null(strstr(text, "code=\"200\""));
}

static void a_relay_alone_tells_of_its_relay_as_a_hub_does(void **state)
{
	const struct relay_stats relay = { .slots = 1, .bound = 2, .bad_ticket = 3 };
	const struct stun_server asked = { .limited = 4 };
	struct metrics m;
	(void)state;

	metrics_init(&m, text, METRICS_TEXT_MAX);
	hub_metrics_write_relay(&m, &relay, &asked);
	read_metrics(text);
	assert_true(value_in(text, "p2phub_relay_slots") == 1);
	assert_true(value_in(text, "p2phub_relay_bound") == 2);
	assert_true(value_in(text, "p2phub_relay_drops_total{reason=\"bad_ticket\"}") == 3);
	assert_true(value_in(text, "p2phub_stun_requests_total{outcome=\"limited\"}") == 4);
	assert_null(find_family("p2phub_nodes_online"));
}

/* ---- dashboards */

/* This file's folder is given by the compiler. */
static char *read_file(const char *name)
{
	char path[1024];
	size_t folder = (size_t)(strrchr(__FILE__, '/') - __FILE__);

	snprintf(path, sizeof path, "%.*s/../../%s", (int)folder, __FILE__, name);
	FILE *f = fopen(path, "r");
	if (!f)
		fail_msg("cannot read %s", path);
	char *all = calloc(1, 1 << 18);
	assert_true(fread(all, 1, (1 << 18) - 1, f) > 1000);
	fclose(f);
	return all;
}

static bool is_known(char *name)
{
	static const char *const parts[] = { "_bucket", "_sum", "_count" };
	const struct metrics_family *f = find_family(name);
	size_t len = strlen(name);

	for (size_t i = 0; i < 3 && !f; i++) {
		size_t part = strlen(parts[i]);
		if (len < part || strcmp(name + len - part, parts[i]) != 0)
			continue;
		name[len - part] = 0;
		f = find_family(name);
		name[len - part] = parts[i][0];
		if (f && strcmp(f->type, "histogram") != 0)
			f = NULL;
	}
	return f;
}

static bool is_name_char(char c)
{
	return islower((unsigned char)c) || isdigit((unsigned char)c) || c == '_';
}

/* Checks each word that looks like a name; how many there were. */
static unsigned check_names(const char *file)
{
	static const char *const prefixes[] = { "p2pd_", "p2phub_", "process_" };
	char *all = read_file(file), name[METRICS_NAME_MAX];
	unsigned count = 0;

	for (const char *at = all; *at; at++) {
		size_t len = 0;
		while (is_name_char(at[len]))
			len++;
		bool begins = at == all || !is_name_char(at[-1]);
		for (size_t i = 0; i < 3 && begins; i++) {
			if (strncmp(at, prefixes[i], strlen(prefixes[i])) != 0)
				continue;
			snprintf(name, sizeof name, "%.*s", (int)len, at);
			if (!is_known(name))
				fail_msg("%s uses %s, which nobody tells", file, name);
			count++;
		}
	}
	free(all);
	return count;
}

/* The families of both programs; what both tell is told once. */
static void read_both(void)
{
	static char node[METRICS_TEXT_MAX];
	static struct metrics_family hubs[METRICS_FAMILIES_MAX];
	struct metrics m;

	metrics_init(&m, node, sizeof node);
	node_metrics_write(&m, &(struct node_metrics) { .engine = &engine, .offload = "all", .workers = 1 });
	read_metrics(write_hub(&(struct hub_metrics) { .http = &http, .stun = &stun }));
	size_t count = family_count;
	memcpy(hubs, families, sizeof hubs);
	read_metrics(node);
	for (size_t i = 0; i < count; i++)
		if (!find_family(hubs[i].name))
			families[family_count++] = hubs[i];
}

static void dashboards_use_what_is_told(void **state)
{
	(void)state;

	read_both();
	assert_true(check_names("apps/p2phub/grafana.json") > 40);
	assert_true(check_names("apps/p2phub/zabbix.yaml") > 30);
	check_names("README.md");
}

/* Except address space and threads, which all programs of all clients tell. */
static void grafana_shows_all_that_is_told(void **state)
{
	char *all = read_file("apps/p2phub/grafana.json");
	(void)state;

	read_both();
	for (size_t i = 0; i < family_count; i++)
		if (!strstr(all, families[i].name) &&
		    strcmp(families[i].name, "process_virtual_memory_bytes") &&
		    strcmp(families[i].name, "process_threads"))
			fail_msg("grafana.json does not show %s", families[i].name);
	free(all);
}

static void the_dashboard_is_json(void **state)
{
	char *all = read_file("apps/p2phub/grafana.json");
	json_t *json = json_loads(all, JSON_REJECT_DUPLICATES, NULL);
	(void)state;

	assert_true(json_array_size(json_object_get(json, "panels")) > 15);
	json_decref(json);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_text_is_well_formed),
		cmocka_unit_test(promtool_finds_no_fault),
		cmocka_unit_test(counts_are_told_as_they_are),
		cmocka_unit_test(a_relay_alone_tells_of_its_relay_as_a_hub_does),
		with_a_node(dashboards_use_what_is_told),
		with_a_node(grafana_shows_all_that_is_told),
		cmocka_unit_test(the_dashboard_is_json),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
