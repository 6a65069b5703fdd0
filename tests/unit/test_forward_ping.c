/* What ping tells apart on the way to a service, and what a gateway's answers make of a rule. The gateway is played: another
 * link on this loop, at an address of its own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>

#include "tests/unit/forward_daemon.h"

#include "apps/p2pd/forward/lease_link.h"

#define PUBLIC ", \"scope\": \"public\", \"via\": \"gate\", \"allow\": [\"198.51.100.0/24\"]"

/* ---- The gateway */

static struct {
	struct lease_link *link;
	uint8_t pk[32], sk[64];
	int refuses, stats_error; /* what it answers to a lease, and to who asks for counts; 0: well */
	bool silent;		  /* to who asks for counts */
	struct lease_ask *kept;
	uint8_t conflict[FORWARD_ID];
	enum engine_way way; /* of the pong; ENGINE_WAY_NONE: none comes */
	bool by_link;
	struct loop_timer *pong;
} gate;

static const uint8_t *key_of(void *arg, const struct addr *peer)
{
	(void)arg;
	return addr_same_ip(peer, &engine.ip4) ? engine.ik_pk : NULL;
}

static void on_lease(void *arg, struct lease_ask *q, const struct addr *peer, const struct lease_request *r)
{
	struct lease_grant grant = { .public4 = at("203.0.113.5") };
	(void)arg;
	(void)peer;

	for (unsigned i = 0; i < r->range_count; i++)
		grant.ports[i] = r->ranges[i].wanted;
	if (gate.refuses)
		lease_answer_error(q, gate.refuses, "port 7000 of the gateway is another rule's",
				   gate.conflict);
	else
		lease_answer_grant(q, &grant);
}

static void on_release(void *arg, struct lease_ask *q, const struct addr *peer,
		       const uint8_t id[static FORWARD_ID])
{
	(void)arg;
	(void)peer;
	(void)id;
	lease_answer_released(q);
}

static void on_stats(void *arg, struct lease_ask *q, const struct addr *peer,
		     const uint8_t id[static FORWARD_ID])
{
	const struct forward_stats stats = { 0 };
	(void)arg;
	(void)peer;
	(void)id;

	if (gate.silent)
		gate.kept = q;
	else if (gate.stats_error)
		lease_answer_error(q, gate.stats_error, "no", NULL);
	else
		lease_answer_stats(q, &stats);
}

/* The engine has sent the ping: it comes back, by the way that the test wants. */
static void send_pong(void *arg)
{
	const struct engine_ping *ping = &engine.pings[(engine.next_ping - 1) % ENGINE_PINGS];
	const struct engine_event pong = {
		.kind = ENGINE_EV_PONG, .id = ping->id, .way = gate.way, .by_link = gate.by_link, .rtt_ms = 17
	};
	(void)arg;

	forwarder_on_pong(forwarder, &pong);
}

static void on_settle(void *arg)
{
	(void)arg;
	if (gate.way != ENGINE_WAY_NONE)
		loop_timer_set(gate.pong, loop_now_ms());
}

static void start_gateway(bool is_gateway)
{
	struct lease_link_config config = {
		.loop = loop,
		.device = "lo",
		.ik_sk = gate.sk,
		.handler = { .key_of = key_of },
	};
	const uint8_t seed[32] = { 7 };
	struct addr ip = engine.ip4, none = { 0 };

	if (is_gateway) {
		config.handler.on_lease = on_lease;
		config.handler.on_release = on_release;
		config.handler.on_stats = on_stats;
	}
	crypto_ed25519_keypair(gate.pk, gate.sk, seed);
	ip.ip[3] = 78;
	assert_int_equal(lease_link_start(&gate.link, &config), 0);
	assert_int_equal(lease_link_listen(gate.link, &ip, &none), 0);
}

static void link_gate(void)
{
	char text[ADDR_TEXT_MAX];
	struct addr ip = engine.ip4;

	ip.ip[3] = 78;
	link_member(&members[0], "gate", addr_format_ip(&ip, text));
	memcpy(members[0].ik, gate.pk, sizeof gate.pk);
}

static int begin_with(void **state, bool is_gateway)
{
	memset(&gate, 0, sizeof gate);
	gate.way = ENGINE_WAY_DIRECT;
	settle = on_settle;
	if (begin(state))
		return -1;
	gate.pong = loop_timer_create(loop, send_pong, NULL);
	start_gateway(is_gateway);
	link_gate();
	return 0;
}

static int begin_gate(void **state)
{
	return begin_with(state, true);
}

static int begin_member(void **state)
{
	return begin_with(state, false);
}

static int end_gate(void **state)
{
	if (gate.kept)
		lease_answer_error(gate.kept, -EIO, "", NULL);
	lease_link_stop(gate.link);
	loop_timer_destroy(gate.pong);
	settle = NULL;
	return end(state);
}

/* ---- What is told */

static bool has_check(json_t *checks, const char *what, bool ok, const char *words)
{
	json_t *check;
	size_t i;

	json_array_foreach(checks, i, check) if (!strcmp(text_at(check, "what"), what)) return json_is_true(
		json_object_get(check, "ok")) == ok &&
		strstr(text_at(check, "detail"), words);
	return false;
}

struct wanted {
	const char *what;
	bool ok;
	const char *words;
};

/* The checks, in this order and no others. */
static void pings_as(const char *id, const struct wanted *wanted, size_t count)
{
	json_t *json;

	assert_int_equal(ask("POST", path_of(id, "/ping"), NULL, &json), 200);
	json_t *checks = json_object_get(json, "checks");
	for (size_t i = 0; i < count; i++)
		if (!has_check(checks, wanted[i].what, wanted[i].ok, wanted[i].words) ||
		    strcmp(text_at(json_array_get(checks, i), "what"), wanted[i].what))
			fail_msg("no '%s: %s' in %s", wanted[i].what, wanted[i].words, json_dumps(json, 0));
	assert_int_equal(json_array_size(checks), count);
	json_decref(json);
}

#define PINGS_AS(id, ...)                                     \
	pings_as(id, (const struct wanted[]) { __VA_ARGS__ }, \
		 sizeof(const struct wanted[]) { __VA_ARGS__ } / sizeof(struct wanted))

/* ---- By a gateway */

static void all_that_works_is_told_and_by_which_way(void **state)
{
	static const struct {
		enum engine_way way;
		bool by_link;
		const char *words;
	} cases[] = {
		{ ENGINE_WAY_DIRECT, false, "direct, 17 ms" },
		{ ENGINE_WAY_RELAY, false, "relayed, 17 ms" },
		{ ENGINE_WAY_RELAY, true, "relayed over TLS, 17 ms" },
	};
	char id[64];

	(void)state;
	strcpy(id, add(PUBLIC));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		gate.way = cases[i].way;
		gate.by_link = cases[i].by_link;
		PINGS_AS(id, { "gateway", true, "gate answers and takes visitors" },
			 { "tunnel", true, cases[i].words },
			 { "node", true, "self (this node) carries it by its own sockets" },
			 { "service", true, " answers" });
	}
}

static void a_gateway_that_has_no_such_lease_is_told(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(PUBLIC));
	gate.stats_error = -ENOENT;
	PINGS_AS(id, { "gateway", false, "gate answers, but takes no visitors for this rule" },
		 { "tunnel", true, "direct" }, { "node", true, "" }, { "service", true, "" });
}

static void a_member_that_is_no_gateway_is_told(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(PUBLIC));
	PINGS_AS(id, { "gateway", false, "is no gateway: start it with --gateway" },
		 { "tunnel", true, "direct" }, { "node", false, "the rule is failed" },
		 { "service", true, "" });
}

static void a_gateway_that_does_not_answer_is_told(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(PUBLIC));
	gate.silent = true;
	PINGS_AS(id, { "gateway", false, "gate does not answer" }, { "tunnel", true, "direct" },
		 { "node", true, "" }, { "service", true, "" });
}

static void a_tunnel_that_does_not_answer_is_told(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(PUBLIC));
	gate.way = ENGINE_WAY_NONE;
	PINGS_AS(id, { "gateway", true, "" }, { "tunnel", false, "gate does not answer" },
		 { "node", true, "" }, { "service", true, "" });
}

static void a_gateway_that_nobody_knows_is_told(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(", \"scope\": \"public\", \"via\": \"nobody\", \"allow\": [\"token\"]"));
	PINGS_AS(id, { "gateway", false, "no node is called 'nobody'" },
		 { "tunnel", false, "no node is called 'nobody'" }, { "node", false, "the rule is pending" },
		 { "service", true, "" });
}

/* ---- At the node */

static void a_rule_that_is_paused_or_over_is_told(void **state)
{
	char id[64];

	(void)state;
	strcpy(id, add(", \"name\": \"web\""));
	assert_int_equal(status_of("POST", path_of(id, "/pause"), NULL), 200);
	PINGS_AS(id, { "node", false, "self (this node): the rule is paused" },
		 { "service", true, "answers" });
	assert_int_equal(status_of("POST", path_of(id, "/resume"), NULL), 200);
	struct rule r = *book_find(forwarder_book(forwarder), "web");
	r.expires_at = 5;
	assert_int_equal(book_set(forwarder_book(forwarder), &r, false, 7), 0);
	forwarder_refresh(forwarder);
	PINGS_AS(id, { "node", false, "the rule is expired: its time is over" },
		 { "service", true, "answers" });
}

/* A service with so many connections that it takes no more, and does not say so. */
static void a_service_that_does_not_answer_is_told(void **state)
{
	int waiting[4];
	char id[64];

	(void)state;
	assert_int_equal(listen(service, 0), 0);
	for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++) {
		struct sockaddr_in sa = { .sin_family = AF_INET,
					  .sin_port = htons(service_port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(waiting[i], (struct sockaddr *)&sa, sizeof sa);
	}
	strcpy(id, add(""));
	PINGS_AS(id, { "node", true, "" }, { "service", false, "does not answer: timed out" });
	for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++)
		close(waiting[i]);
}

static void of_udp_a_refusal_is_told_and_silence_is_none(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char body[128], id[64];
	json_t *json;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(body, sizeof body,
		 "{\"local\": \"127.0.0.1:%u\", \"proto\": \"udp\", \"source_ip\": \"nat\"}",
		 ntohs(sa.sin_port));
	assert_int_equal(ask("POST", "/api/v1/portmap", body, &json), 201);
	strcpy(id, text_at(json, "forward_id"));
	json_decref(json);
	PINGS_AS(id, { "node", true, "" }, { "service", true, "does not refuse (UDP tells no more)" });
	close(fd);
	PINGS_AS(id, { "node", true, "" }, { "service", false, "refused: nothing listens there" });
}

/* ---- What the gateway refuses */

static void the_rule_that_has_the_port_at_the_gateway_is_named(void **state)
{
	static const char other[] = "0198c0de-0000-7000-8000-000000000009";
	json_t *json;

	(void)state;
	assert_int_equal(rule_id_parse(gate.conflict, other), 0);
	gate.refuses = -EADDRINUSE;
	assert_int_equal(ask("POST", "/api/v1/portmap", spec(PUBLIC), &json), 201);
	assert_string_equal(text_at(json, "state"), "failed");
	assert_string_equal(text_at(json, "conflict"), other);
	assert_string_equal(text_at(json, "why"),
			    "the gateway gate refuses: port 7000 of the gateway is another "
			    "rule's (0198c0de-0000-7000-8000-000000000009)");
	json_decref(json);
}

static void a_refusal_for_no_rule_names_none(void **state)
{
	static const int errors[] = { -EADDRINUSE, -EACCES, -ENOSPC };
	json_t *json;

	(void)state;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		gate.refuses = errors[i];
		assert_int_equal(ask("POST", "/api/v1/portmap", spec(PUBLIC ", \"force\": true"), &json),
				 201);
		assert_string_equal(text_at(json, "state"), "failed");
		assert_null(json_object_get(json, "conflict"));
		json_decref(json);
	}
}

#define with_gate(test)	  cmocka_unit_test_setup_teardown(test, begin_gate, end_gate)
#define with_member(test) cmocka_unit_test_setup_teardown(test, begin_member, end_gate)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_gate(all_that_works_is_told_and_by_which_way),
		with_gate(a_gateway_that_has_no_such_lease_is_told),
		with_member(a_member_that_is_no_gateway_is_told),
		with_gate(a_gateway_that_does_not_answer_is_told),
		with_gate(a_tunnel_that_does_not_answer_is_told),
		with_gate(a_gateway_that_nobody_knows_is_told),
		with_gate(a_rule_that_is_paused_or_over_is_told),
		with_gate(a_service_that_does_not_answer_is_told),
		with_gate(of_udp_a_refusal_is_told_and_silence_is_none),
		with_gate(the_rule_that_has_the_port_at_the_gateway_is_named),
		with_gate(a_refusal_for_no_rule_names_none),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
