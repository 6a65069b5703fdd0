#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/natcheck/natcheck.h"
#include "apps/natcheck/report_json.h"
#include "apps/natcheck/run.h"
#include "nat/stun_server.h"

/* STUN servers on loopback, a process each, good and bad. */
enum behaviour { HONEST, LIAR, SILENT, GARBAGE, GARBAGE_FIRST, FOREIGN_ID, REFUSING };
enum { FAILED = 1, USAGE = 2 }; /* EXIT_FAILED and so on; core/fail.h and cmocka both have a fail() */
enum {
	MAX_FAKES = 4,
	PATIENT_MS = 20000, /* for those who answer */
	HASTY_MS = 300,	    /* for those who do not */
};

static struct fake {
	pid_t pid;
	struct addr addr;
} fakes[MAX_FAKES];
static size_t fake_count;
static struct rng rng;

static size_t reply_to(enum behaviour how, unsigned n, const uint8_t *msg, size_t len,
		       const struct addr *from, uint8_t *out)
{
	static struct stun_server server;
	struct stun_route route = { .client = *from };
	struct stun_msg request, refusal;

	if (how == SILENT || stun_decode(&request, msg, len))
		return 0;
	if (how == GARBAGE || (how == GARBAGE_FIRST && n % 2 == 0)) {
		memset(out, 0x55, 40);
		return 40;
	}
	if (how == REFUSING) {
		refusal = (struct stun_msg) { .cls = STUN_ERROR, .method = STUN_BINDING, .error_code = 500 };
		memcpy(refusal.txid, request.txid, sizeof refusal.txid);
		return (size_t)stun_encode(&refusal, false, out, STUN_MAX);
	}
	route.client.port = (uint16_t)(route.client.port + (how == LIAR));
	len = stun_server_reply(&server, msg, len, &route, 0, out);
	out[8] ^= how == FOREIGN_ID;
	return len;
}

static void serve(int fd, enum behaviour how)
{
	struct sockaddr_storage sa;
	uint8_t msg[2048], out[STUN_PADDED_MAX];

	for (unsigned n = 0;; n++) {
		socklen_t sa_len = sizeof sa;
		ssize_t len = recvfrom(fd, msg, sizeof msg, 0, (struct sockaddr *)&sa, &sa_len);
		struct addr from = addr_from_sockaddr((struct sockaddr *)&sa);
		if (len < 0)
			_exit(1);
		size_t reply = reply_to(how, n, msg, (size_t)len, &from, out);
		if (reply)
			sendto(fd, out, reply, 0, (struct sockaddr *)&sa, sa_len);
		if (how == GARBAGE_FIRST && n % 2 == 0) { /* then the right answer to the same request */
			reply = reply_to(HONEST, 0, msg, (size_t)len, &from, out);
			sendto(fd, out, reply, 0, (struct sockaddr *)&sa, sa_len);
		}
	}
}

/* Skips the test where the machine has no such loopback address. */
static const struct addr *fake_at(const char *ip, enum behaviour how)
{
	struct fake *fake = &fakes[fake_count];
	struct sockaddr_storage sa;
	struct addr any;

	assert_true(fake_count < MAX_FAKES);
	assert_int_equal(addr_parse(&any, ip, 0), 0);
	socklen_t len = addr_to_sockaddr(&any, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len))
		skip();
	len = sizeof sa;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	fake->addr = addr_from_sockaddr((struct sockaddr *)&sa);
	fake->pid = fork();
	assert_true(fake->pid >= 0);
	if (fake->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(fd, how);
	}
	close(fd);
	fake_count++;
	return &fake->addr;
}

static int stop_fakes(void **state)
{
	(void)state;
	for (; fake_count; fake_count--) {
		kill(fakes[fake_count - 1].pid, SIGKILL);
		waitpid(fakes[fake_count - 1].pid, NULL, 0);
	}
	return 0;
}

/* The check of all fakes started so far. */
static struct check checked(uint32_t timeout_ms)
{
	const struct run_config config = { .timeout_ms = timeout_ms, .no_mapping = true };
	struct check c = { 0 };

	for (size_t i = 0; i < fake_count; i++) {
		char ip[ADDR_TEXT_MAX], port[8];
		addr_format_ip(&fakes[i].addr, ip);
		snprintf(port, sizeof port, "%u", fakes[i].addr.port);
		assert_int_equal(run_add_server(&c, ip, port, ADDR_NONE), 0);
	}
	assert_int_equal(c.count, fake_count);
	assert_int_equal(run_check(&c, &config, &rng), 0);
	return c;
}

static const char *json_text(json_t *report, const char *key)
{
	const char *text = json_string_value(json_object_get(report, key));

	return text ? text : "not a string";
}

static void two_honest_servers_without_nat_are_easy(void **state)
{
	(void)state;
	fake_at("127.0.0.1", HONEST);
	fake_at("127.0.0.1", HONEST);
	struct check c = checked(PATIENT_MS);

	assert_int_equal(c.ip4.udp, CHECK_UDP_OK);
	assert_int_equal(c.ip4.nat.verdict.mapping, MAPPING_NONE);
	assert_true(c.ip4.nat.keeps_port);
	assert_true(addr_is_loopback(&c.ip4.local));
	assert_true(addr_equal(&c.ip4.local, &c.ip4.mapped));
	assert_false(c.ip6.tried);
	assert_int_equal(check_verdict(&c), CHECK_EASY);
}

static void a_server_that_sees_another_port_makes_it_hard(void **state)
{
	(void)state;
	fake_at("127.0.0.1", HONEST);
	fake_at("127.0.0.1", LIAR);
	struct check c = checked(PATIENT_MS);

	assert_int_equal(c.ip4.udp, CHECK_UDP_OK);
	assert_int_equal(c.ip4.nat.verdict.mapping, MAPPING_ADDRESS_AND_PORT_DEPENDENT);
	assert_false(c.ip4.nat.keeps_port);
	assert_int_equal(check_verdict(&c), CHECK_HARD);
}

static void two_servers_that_see_the_same_port_are_easy(void **state)
{
	(void)state;
	fake_at("127.0.0.1", LIAR);
	fake_at("127.0.0.2", LIAR);
	struct check c = checked(PATIENT_MS);

	assert_int_equal(c.ip4.nat.verdict.mapping, MAPPING_ENDPOINT_INDEPENDENT);
	assert_true(c.ip4.nat.across_addresses);
	assert_int_equal(check_verdict(&c), CHECK_EASY);
}

static void one_server_is_too_few_to_judge_a_nat(void **state)
{
	(void)state;
	fake_at("127.0.0.1", LIAR);
	struct check c = checked(PATIENT_MS);

	assert_int_equal(c.ip4.udp, CHECK_UDP_OK);
	assert_int_equal(c.ip4.nat.verdict.mapping, MAPPING_UNKNOWN);
	assert_int_equal(check_verdict(&c), CHECK_INCONCLUSIVE);
}

static void silence_is_blocked(void **state)
{
	(void)state;
	fake_at("127.0.0.1", SILENT);
	fake_at("127.0.0.1", SILENT);
	struct check c = checked(HASTY_MS);

	assert_int_equal(c.ip4.udp, CHECK_UDP_BLOCKED);
	assert_int_equal(check_verdict(&c), CHECK_BLOCKED);
}

static void malformed_answers_prove_nothing(void **state)
{
	(void)state;
	static const enum behaviour bad[] = { GARBAGE, FOREIGN_ID, REFUSING };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		fake_at("127.0.0.1", bad[i]);
		struct check c = checked(HASTY_MS);

		/* Whether it was heard in time or not: it is never taken for an answer. */
		assert_int_not_equal(c.servers[0].answer, CHECK_ANSWERED);
		assert_int_not_equal(c.ip4.udp, CHECK_UDP_OK);
		assert_int_equal(c.ip4.mapped.family, ADDR_NONE);
		assert_int_equal(check_verdict(&c),
				 c.servers[0].answer == CHECK_STRANGE ? CHECK_INCONCLUSIVE : CHECK_BLOCKED);
		stop_fakes(NULL);
	}
}

static void an_answer_counts_though_garbage_came_first(void **state)
{
	(void)state;
	fake_at("127.0.0.1", GARBAGE_FIRST);
	struct check c = checked(PATIENT_MS);

	assert_int_equal(c.servers[0].answer, CHECK_ANSWERED);
	assert_int_equal(c.ip4.nat.verdict.mapping, MAPPING_NONE);
}

static void ipv6_is_judged_beside_ipv4(void **state)
{
	(void)state;
	fake_at("127.0.0.1", HONEST);
	fake_at("::1", HONEST);
	struct check c = checked(PATIENT_MS);

	assert_int_equal(c.ip4.udp, CHECK_UDP_OK);
	assert_int_equal(c.ip6.udp, CHECK_UDP_OK);
	assert_int_equal(c.ip6.nat.verdict.mapping, MAPPING_NONE);
	assert_ptr_equal(check_main_view(&c), &c.ip4);
}

static void a_check_tells_what_passes_and_how_ports_are_chosen(void **state)
{
	(void)state;
	fake_at("127.0.0.1", HONEST);
	fake_at("127.0.0.2", HONEST);
	struct check c = checked(PATIENT_MS);

	/* Loopback takes anything, so the largest size that is tried comes through, whole. */
	assert_int_equal(c.ip4.mtu.up, 1500);
	assert_int_equal(c.ip4.mtu.down, 1500);
	assert_int_equal(c.ip4.depth_known, DISCOVER_YES);
	assert_int_equal(c.ip4.nat.verdict.depth, 0);
	assert_int_equal(c.ip4.alg, DISCOVER_UNKNOWN); /* these servers do not speak RFC 3489 */
	for (int i = 0; i < GATEWAY_PROTOCOLS; i++)
		assert_int_equal(c.ip4.maps[i].state, PORTMAP_UNKNOWN);
}

static void a_check_of_nothing_is_inconclusive_and_can_be_told(void **state)
{
	(void)state;
	const struct run_config config = { .timeout_ms = HASTY_MS };
	struct check c = { 0 };
	json_t *report;

	assert_int_equal(run_check(&c, &config, &rng), 0);
	assert_int_equal(check_verdict(&c), CHECK_INCONCLUSIVE);
	report = report_json(&c, NULL, 0);
	assert_string_equal(json_text(report, "udp"), "unknown");
	assert_string_equal(json_text(report, "verdict"), "inconclusive");
	json_decref(report);
}

static void nobody_to_ask_about_a_lifetime_makes_it_unknown_at_once(void **state)
{
	(void)state;
	struct check c = { 0 };

	assert_int_equal(run_lifetime(&c, &rng, NULL), 0);
	assert_true(c.aged);
	assert_true(c.lifetime.unknown);
}

static int run(const char *servers, const char *option)
{
	char *argv[] = { "natcheck", "--no-mapping", "--server", (char *)servers, (char *)option, NULL };

	return natcheck(option ? 5 : 4, argv);
}

static void the_exit_code_tells_the_verdict(void **state)
{
	(void)state;
	char honest[ADDR_TEXT_MAX], liar[ADDR_TEXT_MAX], list[2 * ADDR_TEXT_MAX];

	addr_format(fake_at("127.0.0.1", HONEST), honest);
	addr_format(fake_at("127.0.0.1", LIAR), liar);
	snprintf(list, sizeof list, "%s,%s", honest, liar);
	assert_int_equal(run(honest, "--timeout=20"), NATCHECK_EASY);
	assert_int_equal(run(list, "--json"), NATCHECK_HARD);
	assert_int_equal(run(liar, NULL), NATCHECK_INCONCLUSIVE);
	assert_int_equal(run("127.0.0.1:1", "--timeout=1"), NATCHECK_BLOCKED); /* nobody is there */
	assert_int_equal(run(honest, "-6"), NATCHECK_INCONCLUSIVE);
}

static void wrong_usage_is_refused(void **state)
{
	(void)state;
	static const char *const servers[] = { "",	     ",",     "127.0.0.1,,127.0.0.1",
					       "127.0.0.1:", ":3478", "[::1",
					       "[::1]3478",  "[]:1" };
	char *none[] = { "natcheck", NULL },
	     *both[] = { "natcheck", "--server", "127.0.0.1", "-4", "-6", NULL };

	for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++)
		assert_int_equal(run(servers[i], NULL), USAGE);
	assert_int_equal(run("127.0.0.1", "--timeout=0"), USAGE);
	assert_int_equal(run("127.0.0.1", "--nonsense"), USAGE);
	assert_int_equal(run("127.0.0.1", "--interval=0"), USAGE);
	assert_int_equal(run("127.0.0.1", "--tcp=127.0.0.1:"), USAGE);
	assert_int_equal(run("127.0.0.1", "--against=file:/nowhere"), FAILED);
	assert_int_equal(natcheck(1, none), USAGE);
	assert_int_equal(natcheck(5, both), USAGE);
}

static int setup(void **state)
{
	(void)state;
	rng_init_seed(&rng, 1);
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(two_honest_servers_without_nat_are_easy, stop_fakes),
		cmocka_unit_test_teardown(a_server_that_sees_another_port_makes_it_hard, stop_fakes),
		cmocka_unit_test_teardown(two_servers_that_see_the_same_port_are_easy, stop_fakes),
		cmocka_unit_test_teardown(one_server_is_too_few_to_judge_a_nat, stop_fakes),
		cmocka_unit_test_teardown(silence_is_blocked, stop_fakes),
		cmocka_unit_test_teardown(malformed_answers_prove_nothing, stop_fakes),
		cmocka_unit_test_teardown(an_answer_counts_though_garbage_came_first, stop_fakes),
		cmocka_unit_test_teardown(ipv6_is_judged_beside_ipv4, stop_fakes),
		cmocka_unit_test_teardown(a_check_tells_what_passes_and_how_ports_are_chosen, stop_fakes),
		cmocka_unit_test_teardown(a_check_of_nothing_is_inconclusive_and_can_be_told, stop_fakes),
		cmocka_unit_test(nobody_to_ask_about_a_lifetime_makes_it_unknown_at_once),
		cmocka_unit_test_teardown(the_exit_code_tells_the_verdict, stop_fakes),
		cmocka_unit_test_teardown(wrong_usage_is_refused, stop_fakes),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
