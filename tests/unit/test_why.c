/* What `p2pd why` says: from states of the engine to sentences, advice and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2pd/advice.h"
#include "apps/p2pd/engine_internal.h"
#include "apps/p2pd/reason.h"
#include "apps/p2pd/why.h"
#include "apps/p2pd/why_text.h"
#include "tests/unit/made_node.h"

static struct engine_peer nas;

/* --- Verdicts to build with */

#define EASY                                                                                               \
	{                                                                                                  \
		.mapping = MAPPING_ENDPOINT_INDEPENDENT, .filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT \
	}
#define RANDOM                                                                                  \
	{                                                                                       \
		.mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT, .allocation = ALLOCATION_RANDOM, \
		.confidence = 90                                                                \
	}
#define SMALL_BLOCK                                                                             \
	{                                                                                       \
		.mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT, .allocation = ALLOCATION_RANDOM, \
		.confidence = 90, .block_lo = 2048, .block_hi = 2559                            \
	}
#define SEQUENTIAL                                                                                  \
	{                                                                                           \
		.mapping = MAPPING_ADDRESS_AND_PORT_DEPENDENT, .allocation = ALLOCATION_SEQUENTIAL, \
		.step = 1, .scope = SCOPE_GLOBAL, .confidence = 90                                  \
	}
#define BLOCKED                     \
	{                           \
		.udp_blocked = true \
	}

static const struct verdict unknown, easy = EASY, random_ports = RANDOM, small_block = SMALL_BLOCK,
				     sequential = SEQUENTIAL, blocked = BLOCKED;

/* A member that is online, idle, relayed and told an address; the hub is connected. */
static void meet(const struct verdict *ours, const struct verdict *theirs)
{
	if (!engine.peers)
		link_member(&nas, "nas", "10.77.0.2");
	engine.welcomed = engine.joined = true;
	engine.config.udp_port = 4242;
	engine.portmap.enabled = true;
	engine.verdict = *ours;
	nas.nat = *theirs;
	nas.online = true;
	nas.remote.items[0] = (struct candidate) { at("192.168.1.5:5353"), CANDIDATE_HOST };
	nas.remote.count = 1;
	nas.relay_session = 1;
	engine.relay.was_bound = true;
}

static void busy(void)
{
	nas.peer.last_tx_ms = NOW_MS - 1000;
}

static void attempted(enum technique t, enum engine_outcome outcome)
{
	engine_attempt(&engine, &nas, t, outcome, 24, NOW_MS - 15000, NOW_MS - 12000);
}

static const char *reason(void)
{
	const char *text = reason_path(&engine, &nas, NOW_MS);

	return text ? text : "(none)";
}

static void expect_text(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void each_nat_is_told_in_words(void **state)
{
	(void)state;
	static const struct {
		struct verdict verdict;
		const char *ours, *theirs;
	} cases[] = {
		{ { 0 },
		  "not known: not measured yet, or the hub serves too few ports to tell",
		  "not known: it has not said" },
		{ BLOCKED, "UDP does not get out", "UDP does not get out" },
		{ { .mapping = MAPPING_NONE }, "no NAT", "no NAT" },
		{ { .mapping = MAPPING_NONE, .filtering = FILTERING_ADDRESS_DEPENDENT },
		  "no NAT, but a firewall that lets in only answers",
		  "no NAT, but a firewall that lets in only answers" },
		{ { .mapping = MAPPING_ENDPOINT_INDEPENDENT, .cgnat = true },
		  "easy: one port for all destinations; the provider has a NAT, too",
		  "easy: one port for all destinations; the provider has a NAT, too" },
		{ EASY, "easy: one port for all destinations, which only answers may come to",
		  "easy: one port for all destinations, which only answers may come to" },
		{ { .mapping = MAPPING_ENDPOINT_DEPENDENT },
		  "hard: another port for each destination",
		  "hard: another port for each destination" },
		{ RANDOM, "hard: another port for each destination, at random",
		  "hard: another port for each destination, at random" },
		{ SMALL_BLOCK, "hard: another port for each destination, out of a block of 512",
		  "hard: another port for each destination, out of a block of 512" },
		{ SEQUENTIAL, "hard: another port for each destination, the next in a row",
		  "hard: another port for each destination, the next in a row" },
	};
	char text[REASON_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_string_equal(reason_nat(&cases[i].verdict, true, text), cases[i].ours);
		assert_string_equal(reason_nat(&cases[i].verdict, false, text), cases[i].theirs);
	}
}

static void the_reason_is_that_of_the_state(void **state)
{
	(void)state;

	meet(&random_ports, &random_ports);
	expect_text(reason(), "idle");
	busy();
	expect_text(reason(), "about to be sought");
	attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_FAILED);
	expect_text(reason(), "both NATs give each destination another port");
	engine.verdict = easy;
	expect_text(reason(), "the NAT there gives each destination another port, so it opens many");
	nas.nat = easy;
	expect_text(reason(), "no address of the peer answered");
	attempted(TECHNIQUE_RENDEZVOUS, OUTCOME_NO_OFFER);
	expect_text(reason(), "did not say what it can do");
	attempted(TECHNIQUE_RENDEZVOUS, OUTCOME_NO_STUN);
	expect_text(reason(), "the hub did not answer");
	engine.verdict = nas.nat = small_block;
	engine.config.hard_nat = true;
	engine.config.max_sockets = TECHNIQUE_MAX_SOCKETS;
	attempted(TECHNIQUE_NONE, OUTCOME_NO_PLAN);
	expect_text(reason(), "is off there (`p2pd up --hard-nat`)");
	nas.nat = easy;
	attempted(TECHNIQUE_RENDEZVOUS, OUTCOME_NO_STUN);
	engine.verdict = blocked;
	expect_text(reason(), "UDP does not get out of the network here");
	engine.verdict = easy;
	nas.flaps = 2;
	expect_text(reason(), "died again within seconds");
	nas.flaps = 0;
	nas.remote.count = 0;
	expect_text(reason(), "has told no address");
	nas.remote.count = 1;
	nas.punch.state = PUNCH_RUNNING;
	expect_text(reason(), "the hub did not answer");
	attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_DIRECT);
	expect_text(reason(), "looking for a direct path now");
	engine.welcomed = false;
	expect_text(reason(), "the hub is not connected");
	nas.online = false;
	expect_text(reason(), "offline");
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.best = &nas.peer.paths[0];
	assert_string_equal(reason(), "(none)");
	nas.peer.best = NULL;
	nas.peer.own_kind = false;
	expect_text(reason(), "waits for the peer to call");
	nas.peer.own_kind = true;
}

static void an_idle_peer_has_no_way_yet_and_a_lost_one_none(void **state)
{
	(void)state;
	char text[REASON_MAX];

	meet(&easy, &easy);
	assert_string_equal(reason_now(&engine, &nas, NOW_MS, text), "relayed by the hub for 60 s");
	nas.relay_session = 0;
	assert_string_equal(reason_now(&engine, &nas, NOW_MS, text), "no way yet");
	nas.nat = blocked;
	assert_string_equal(reason_now(&engine, &nas, NOW_MS, text), "no way");
	nas.nat = easy;
	nas.online = false;
	assert_string_equal(reason_now(&engine, &nas, NOW_MS, text), "no way");
}

/* --- What comes next */

static void expect_next(enum engine_wait wait, enum technique technique, const char *words)
{
	struct engine_next next = engine_next_attempt(&engine, &nas, NOW_MS);
	char text[REASON_MAX];

	assert_int_equal(next.wait, wait);
	assert_int_equal(next.technique, technique);
	assert_string_equal(reason_next(&next, NOW_MS, text), words);
}

static void the_next_attempt_says_what_it_waits_for(void **state)
{
	(void)state;

	meet(&easy, &easy);
	expect_next(ENGINE_WAIT_TRAFFIC, TECHNIQUE_SIMULTANEOUS_OPEN,
		    "when traffic flows: both send at once");
	nas.introduce_at_ms = NOW_MS + 27400;
	expect_next(ENGINE_WAIT_TRAFFIC, TECHNIQUE_SIMULTANEOUS_OPEN,
		    "when traffic flows, after 28 s: both send at once");
	busy();
	expect_next(ENGINE_WAIT_TIME, TECHNIQUE_SIMULTANEOUS_OPEN,
		    "in 28 s, while traffic flows: both send at once");
	nas.introduce_at_ms = 0;
	expect_next(ENGINE_WAIT_TIME, TECHNIQUE_SIMULTANEOUS_OPEN,
		    "at once, while traffic flows: both send at once");
	for (unsigned i = 0; i < BUDGET_TUPLES; i++)
		budget_take(&engine.budget, 5000, NOW_MS - 10000 + i * 5);
	expect_next(ENGINE_WAIT_BUDGET, TECHNIQUE_SIMULTANEOUS_OPEN,
		    "in 21 s: more unanswered packets at a time could fill the router");
	nas.online = false;
	expect_next(ENGINE_WAIT_PEER, TECHNIQUE_SIMULTANEOUS_OPEN, "when the peer is online");
	engine.welcomed = false;
	expect_next(ENGINE_WAIT_HUB, TECHNIQUE_SIMULTANEOUS_OPEN,
		    "when the hub is connected: it introduces the two");
	memset(&engine.budget, 0, sizeof engine.budget);
	engine.rounds[1].peer = &nas;
	engine.rounds[1].plan.technique = TECHNIQUE_RENDEZVOUS;
	expect_next(ENGINE_WAIT_END, TECHNIQUE_RENDEZVOUS, "now: both meet at the ports that come next");
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.best = &nas.peer.paths[0];
	expect_next(ENGINE_WAIT_NOTHING, TECHNIQUE_NONE, "none");
}

static void spans_are_told_in_the_unit_that_fits(void **state)
{
	(void)state;
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {
		{ 0, "0 s" },		{ 1, "1 s" },	    { 119000, "119 s" },  { 120000, "2 min" },
		{ 7199000, "119 min" }, { 7200000, "2 h" }, { 172800000, "2 d" },
	};
	char text[REASON_SPAN];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(reason_span(cases[i].ms, text), cases[i].text);
}

/* --- Advice */

/* The codes with their sides, "here:port-mapping there:port-mapping". */
static const char *advised(void)
{
	static char codes[256];
	struct advice list[ADVICE_MAX];
	unsigned count = advice_list(&engine, &nas, NOW_MS, list);

	codes[0] = 0;
	for (unsigned i = 0; i < count; i++) {
		char one[64];
		snprintf(one, sizeof one, "%s%s:%s", i ? " " : "", list[i].side, list[i].code);
		strcat(codes, one);
	}
	return codes;
}

static void advice_follows_from_both_verdicts(void **state)
{
	(void)state;
	static const struct verdict open = { .mapping = MAPPING_NONE,
					     .filtering = FILTERING_ENDPOINT_INDEPENDENT },
				    walled = { .mapping = MAPPING_NONE,
					       .filtering = FILTERING_ADDRESS_AND_PORT_DEPENDENT },
				    carrier = { .mapping = MAPPING_ENDPOINT_DEPENDENT, .cgnat = true };
	static const struct {
		const struct verdict *ours, *theirs;
		const char *advice;
	} cases[] = {
		{ &random_ports, &random_ports, "here:port-mapping there:port-mapping both:ipv6" },
		{ &easy, &random_ports, "here:port-mapping there:port-mapping both:ipv6" },
		{ &open, &random_ports, "there:port-mapping both:ipv6" },
		{ &walled, &random_ports, "here:firewall there:port-mapping both:ipv6" },
		{ &carrier, &easy, "here:provider there:port-mapping both:ipv6" },
		{ &easy, &carrier, "here:port-mapping there:provider both:ipv6" },
		{ &unknown, &unknown, "both:ipv6" },
		{ &small_block, &small_block,
		  "here:port-mapping there:port-mapping both:ipv6 here:hard-nat" },
		{ &random_ports, &sequential,
		  "here:port-mapping there:port-mapping both:ipv6 here:hard-nat" },
		{ &blocked, &easy, "here:udp" },
		{ &random_ports, &blocked, "there:udp" },
		{ &blocked, &blocked, "here:udp there:udp" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		meet(cases[i].ours, cases[i].theirs);
		nas.attempt_count = 0;
		attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_FAILED);
		assert_string_equal(advised(), cases[i].advice);
	}
}

static void what_is_there_already_is_not_advised(void **state)
{
	(void)state;

	meet(&small_block, &small_block);
	attempted(TECHNIQUE_HARD_BIRTHDAY, OUTCOME_NO_PLAN);
	engine.config.hard_nat = true;
	assert_string_equal(advised(), "here:port-mapping there:port-mapping both:ipv6");
	nas.forbids_hard = true;
	assert_string_equal(advised(), "here:port-mapping there:port-mapping both:ipv6 there:hard-nat");
	nas.forbids_hard = false;
	nas.remote.items[1] = (struct candidate) { at("203.0.113.7:5353"), CANDIDATE_MAPPED };
	nas.remote.items[2] = (struct candidate) { at("[2001:db8::5]:5353"), CANDIDATE_HOST };
	nas.remote.count = 3;
	nas.nat.public_ip = at("203.0.113.7:1");
	assert_string_equal(advised(), "here:port-mapping here:ipv6");
	/* The router there forwards a port of an address that is not the public one. */
	nas.nat.public_ip = at("198.51.100.4:1");
	assert_string_equal(advised(), "here:port-mapping there:provider here:ipv6");
}

static void who_cannot_be_tried_is_told_what_comes_first(void **state)
{
	(void)state;

	meet(&random_ports, &random_ports);
	assert_string_equal(advised(), "here:traffic");
	busy();
	assert_string_equal(advised(), "");
	attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_DIRECT);
	assert_string_equal(advised(), "");
	nas.online = false;
	assert_string_equal(advised(), "there:online");
	engine.welcomed = false;
	assert_string_equal(advised(), "here:hub");
	nas.peer.own_kind = false;
	assert_string_equal(advised(), "both:call");
	nas.peer.own_kind = true;
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.best = &nas.peer.paths[0];
	assert_string_equal(advised(), "");
}

static void the_router_is_spoken_of_by_what_it_said(void **state)
{
	(void)state;
	struct advice list[ADVICE_MAX];

	meet(&random_ports, &random_ports);
	attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_FAILED);
	advice_list(&engine, &nas, NOW_MS, list);
	assert_string_equal(list[0].text,
			    "on the router here, switch on UPnP, NAT-PMP or PCP, or forward UDP "
			    "port 4242 to this machine");
	assert_string_equal(list[1].text,
			    "on the router there, switch on UPnP, NAT-PMP or PCP, or forward UDP "
			    "port 5353 to that machine");
	engine.portmap.state[GATEWAY_UPNP] = PORTMAP_REFUSED;
	advice_list(&engine, &nas, NOW_MS, list);
	expect_text(list[0].text, "which it refuses");
	engine.portmap.enabled = false;
	advice_list(&engine, &nas, NOW_MS, list);
	expect_text(list[0].text, "--portmap");
}

/* --- What opened a path */

static void a_path_is_opened_by_its_candidate_or_its_round(void **state)
{
	(void)state;
	static const struct {
		const char *addr;
		int kind; /* -1: no candidate */
		uint32_t socket;
		int round; /* technique of the one that is running; -1: none */
		const char *technique;
	} cases[] = {
		{ "192.168.1.5:1", CANDIDATE_HOST, 0, -1, "lan" },
		{ "[fe80::1]:1", CANDIDATE_HOST, 0, -1, "lan" },
		{ "192.168.1.5:1", -1, 0, TECHNIQUE_BIRTHDAY, "lan" },
		{ "[2001:db8::1]:1", CANDIDATE_HOST, 0, -1, "ipv6" },
		{ "[2001:db8::1]:1", -1, 0, -1, "ipv6" },
		{ "203.0.113.7:1", CANDIDATE_HOST, 0, -1, "public" },
		{ "203.0.113.7:1", CANDIDATE_MAPPED, 0, TECHNIQUE_BIRTHDAY, "mapped" },
		{ "203.0.113.7:1", CANDIDATE_REFLEXIVE, 0, TECHNIQUE_BIRTHDAY, "simultaneous-open" },
		{ "10.1.2.3:1", CANDIDATE_REFLEXIVE, 0, -1, "simultaneous-open" },
		{ "203.0.113.7:1", CANDIDATE_PREDICTED, 0, -1, "simultaneous-open" },
		{ "203.0.113.7:1", -1, 0, -1, "simultaneous-open" },
		{ "203.0.113.7:1", -1, 0, TECHNIQUE_BIRTHDAY, "birthday" },
		{ "203.0.113.7:1", -1, 0, TECHNIQUE_SEQUENTIAL, "sequential" },
		{ "203.0.113.7:1", -1, 7, TECHNIQUE_RENDEZVOUS, "rendezvous" },
		{ "203.0.113.7:1", CANDIDATE_REFLEXIVE, 7, TECHNIQUE_BIRTHDAY, "birthday" },
		{ "203.0.113.7:1", -1, 7, -1, "hard-birthday" },
	};

	meet(&random_ports, &easy);
	nas.round_technique = TECHNIQUE_HARD_BIRTHDAY;
	nas.peer.best = &nas.peer.paths[0];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a = at(cases[i].addr);
		bool is_running = cases[i].round >= 0;
		path_init(nas.peer.best, &a, cases[i].socket);
		nas.remote.items[0] = (struct candidate) { a, (uint8_t)cases[i].kind };
		nas.remote.count = cases[i].kind >= 0;
		engine.rounds[0].peer = is_running ? &nas : NULL;
		engine.rounds[0].running = is_running;
		engine.rounds[0].plan.technique = is_running ? (enum technique)cases[i].round
							     : TECHNIQUE_NONE;
		engine_note_opener(&engine, &nas, nas.peer.best);
		assert_string_equal(reason_opened_by(&engine, &nas), cases[i].technique);
	}
	engine.rounds[0].peer = NULL;
}

static void a_peer_that_came_unasked_came_where_everybody_can(void **state)
{
	(void)state;
	struct addr a = at("203.0.113.7:1");

	meet(&easy, &random_ports);
	nas.peer.best = &nas.peer.paths[0];
	engine.portmap.count = 1;
	path_init(nas.peer.best, &a, 0);
	engine_note_opener(&engine, &nas, nas.peer.best);
	assert_string_equal(reason_opened_by(&engine, &nas), "mapped");
	/* What is known of a path is not forgotten when it is proven again. */
	engine.verdict.mapping = MAPPING_NONE;
	engine_note_opener(&engine, &nas, nas.peer.best);
	assert_string_equal(reason_opened_by(&engine, &nas), "mapped");
	path_init(nas.peer.best, &a, 0);
	engine_note_opener(&engine, &nas, nas.peer.best);
	assert_string_equal(reason_opened_by(&engine, &nas), "public");
}

/* --- JSON and text */

static json_t *why(void)
{
	char *text = why_format(&engine, &nas, NOW_MS, UNIX_NS);
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	free(text);
	return json;
}

static void print(char *out, size_t size)
{
	FILE *f = fmemopen(out, size, "w");
	json_t *json = why();

	why_text_print(json, f);
	fclose(f);
	json_decref(json);
}

static void trains_that_break_are_told(void **state)
{
	(void)state;
	char out[4096] = "";

	meet(&easy, &easy);
	print(out, sizeof out);
	assert_null(strstr(out, "one by one"));
	nas.relay_gaps = (struct gaps_choice) { .state = GAPS_SINGLY,
						.since_ms = NOW_MS,
						.singly_ms = GAPS_SINGLY_MS };
	print(out, sizeof out);
	expect_text(out, "packets go one by one");
}

static void the_json_tells_attempts_the_latest_first(void **state)
{
	(void)state;

	meet(&random_ports, &random_ports);
	for (unsigned i = 0; i < ENGINE_ATTEMPTS + 2; i++)
		engine_attempt(&engine, &nas, TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_FAILED, i, NOW_MS - 60000,
			       NOW_MS - 60000 + i * 1000);
	attempted(TECHNIQUE_RENDEZVOUS, OUTCOME_NO_OFFER);
	json_t *json = why(), *attempts = json_object_get(json, "attempts");
	json_t *first = json_array_get(attempts, 0), *second = json_array_get(attempts, 1);
	assert_string_equal(text_at(json, "schema"), "p2pd.why/1");
	assert_string_equal(text_at(json, "peer"), "nas");
	assert_int_equal(json_array_size(attempts), ENGINE_ATTEMPTS);
	assert_string_equal(text_at(first, "technique"), "rendezvous");
	assert_string_equal(text_at(first, "outcome"), "no-offer");
	assert_string_equal(text_at(first, "met"), "the peer did not say what it can do");
	assert_string_equal(text_at(first, "ended"), "2026-09-21T14:13:08Z");
	assert_int_equal(json_integer_value(json_object_get(first, "ago_s")), 12);
	assert_int_equal(json_integer_value(json_object_get(second, "probes")), ENGINE_ATTEMPTS + 1);
	json_t *nat = json_object_get(json, "nat");
	assert_string_equal(text_at(json_object_get(nat, "here"), "type"), "nat4");
	expect_text(text_at(json_object_get(nat, "there"), "words"), "hard:");
	assert_string_equal(text_at(json_object_get(json, "expected"), "technique"), "none");
	assert_string_equal(text_at(json_object_get(json, "next"), "when"), "traffic");
	assert_int_equal(json_array_size(json_object_get(json, "advice")), 3);
	json_decref(json);
}

static void two_hard_nats_fit_on_a_screen(void **state)
{
	(void)state;
	char text[4096];

	meet(&random_ports, &random_ports);
	busy();
	nas.introduce_at_ms = NOW_MS + 28000;
	for (unsigned i = 0; i < ENGINE_ATTEMPTS; i++)
		attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_FAILED);
	print(text, sizeof text);
	expect_text(text, "both NATs give each destination another port");
	expect_text(text, "\nNAT here   hard:");
	expect_text(text, "\nNAT there  hard:");
	expect_text(text, "\nTried      12 s ago  both send at once (simultaneous-open), 24 packets: nothing "
			  "answered\n");
	expect_text(text, "\nNext       in 28 s, while traffic flows: both send at once\n");
	expect_text(text, "\nWhat would make it direct, one of these:\n  - on the router here, ");
	unsigned lines = 0;
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	assert_in_range(lines, 12, 24);
}

static void a_direct_path_says_by_what_and_that_all_is_well(void **state)
{
	(void)state;
	char text[4096];

	meet(&easy, &easy);
	attempted(TECHNIQUE_SIMULTANEOUS_OPEN, OUTCOME_DIRECT);
	nas.peer.paths[0].addr = at("203.0.113.7:4242");
	nas.peer.paths[0].opened_by = OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN;
	nas.peer.best = &nas.peer.paths[0];
	nas.way_since_ms = NOW_MS - 60000;
	print(text, sizeof text);
	expect_text(text, "nas: direct to 203.0.113.7:4242 for 60 s: both sent at once\n");
	expect_text(text, "It is direct: there is nothing to change.\n");
	assert_null(strstr(text, "Next"));
	assert_null(strstr(text, "What would"));
}

static int forget_node(void **state)
{
	free_node(state);
	memset(&nas, 0, sizeof nas);
	return 0;
}

#define with_two_nodes(test) cmocka_unit_test_setup_teardown(test, make_node, forget_node)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_two_nodes(each_nat_is_told_in_words),
		with_two_nodes(the_reason_is_that_of_the_state),
		with_two_nodes(an_idle_peer_has_no_way_yet_and_a_lost_one_none),
		with_two_nodes(the_next_attempt_says_what_it_waits_for),
		with_two_nodes(spans_are_told_in_the_unit_that_fits),
		with_two_nodes(advice_follows_from_both_verdicts),
		with_two_nodes(what_is_there_already_is_not_advised),
		with_two_nodes(who_cannot_be_tried_is_told_what_comes_first),
		with_two_nodes(the_router_is_spoken_of_by_what_it_said),
		with_two_nodes(a_path_is_opened_by_its_candidate_or_its_round),
		with_two_nodes(a_peer_that_came_unasked_came_where_everybody_can),
		with_two_nodes(trains_that_break_are_told),
		with_two_nodes(the_json_tells_attempts_the_latest_first),
		with_two_nodes(two_hard_nats_fit_on_a_screen),
		with_two_nodes(a_direct_path_says_by_what_and_that_all_is_well),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
