#include "apps/natcheck/natcheck.h"

#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/natcheck/report.h"
#include "core/crypto.h"
#include "core/fail.h"
#include "core/options.h"

static const char default_port[] = "3478"; /* RFC 8489 section 8.1 */

struct request {
	const char *servers;
	bool json, only4, only6, version;
	long timeout_s;
};

/* getaddrinfo takes any number and keeps 16 bits of it. */
static bool is_port(const char *text)
{
	size_t len = strspn(text, "0123456789");
	long n = strtol(text, NULL, 10);

	return !text[len] && len <= 5 && n >= 1 && n <= UINT16_MAX;
}

/* Cuts "HOST:PORT", "[IP6]:PORT", "HOST" or a bare IPv6 address in two. False for what is none of them. */
static bool split_server(char *text, const char **host, const char **port)
{
	char *colon = strchr(text, ':'), *close = strchr(text, ']');

	*host = text;
	*port = default_port;
	if (text[0] == '[') {
		if (!close || (close[1] && close[1] != ':'))
			return false;
		*host = text + 1;
		*close = 0;
		colon = close[1] ? close + 1 : NULL;
	} else if (colon && strchr(colon + 1, ':')) {
		colon = NULL;
	}
	if (colon) {
		*colon = 0;
		*port = colon + 1;
	}
	return **host && is_port(*port);
}

/* 0, or the exit code. A name that cannot be resolved is told, and is no reason to leave out the others. */
static int add_servers(struct check *c, const struct request *r)
{
	enum addr_family family = r->only4 ? ADDR_V4 : r->only6 ? ADDR_V6 : ADDR_NONE;
	char text[1024], *rest = text, *one;
	const char *host, *port;

	if (strlen(r->servers) >= sizeof text)
		return fail_with(EXIT_USAGE, "the list of servers is too long");
	strcpy(text, r->servers);
	while ((one = strsep(&rest, ","))) {
		if (!split_server(one, &host, &port))
			return fail_with(EXIT_USAGE, "--server takes HOST:PORT[,HOST:PORT...]");
		int err = check_add_server(c, host, port, family);
		if (err)
			fail_with(EXIT_FAILED, "cannot find %s, port %s: %s", host, port, gai_strerror(err));
	}
	return 0;
}

static int print_report(const struct check *c, bool json)
{
	if (!json) {
		report_text(c, stdout);
		return 0;
	}
	json_t *report = report_json(c);
	int ret = report ? json_dumpf(report, stdout, JSON_INDENT(2)) : -1;

	putchar('\n');
	json_decref(report);
	return ret;
}

static int run(const struct request *r)
{
	static const int codes[] = {
		[CHECK_EASY] = NATCHECK_EASY,
		[CHECK_HARD] = NATCHECK_HARD,
		[CHECK_BLOCKED] = NATCHECK_BLOCKED,
		[CHECK_INCONCLUSIVE] = NATCHECK_INCONCLUSIVE,
	};
	struct check check = { 0 };
	struct rng rng;
	int ret = add_servers(&check, r);

	if (ret)
		return ret;
	rng_init_system(&rng);
	ret = check_run(&check, (uint32_t)r->timeout_s * 1000, &rng);
	if (ret)
		return fail_with(EXIT_FAILED, "cannot open a UDP socket: %s", strerror(-ret));
	if (print_report(&check, r->json))
		return fail_with(EXIT_FAILED, "cannot write the report");
	return codes[check_verdict(&check)];
}

int natcheck(int argc, char **argv)
{
	struct request r = { .timeout_s = 3 };
	struct options_list args;
	const struct options_entry entries[] = {
		{ "server", "HOST:PORT[,...]", "STUN servers to ask (port 3478 if not given)",
		  .text = &r.servers },
		{ "json", NULL, "for programs", .flag = &r.json },
		{ "4", NULL, "IPv4 only", .flag = &r.only4 },
		{ "6", NULL, "IPv6 only", .flag = &r.only6 },
		{ "timeout", "S", "seconds to wait for answers (3)", .number = &r.timeout_s, .min = 1,
		  .max = 60 },
		{ "version", NULL, "print the version", .flag = &r.version },
		{ 0 },
	};
	const struct options options = {
		.usage = "natcheck --server HOST:PORT[,HOST:PORT...] [options]",
		.about = "Tells what NAT you are behind and what to change, by asking STUN servers. It takes "
			 "two\n"
			 "servers, best at two addresses, to tell how the NAT maps.",
		.entries = entries,
		.more = "Exit codes: 0 easy, 10 hard, 11 UDP blocked, 12 inconclusive, 2 wrong usage.\n",
	};
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (r.version) {
		printf("natcheck %s\n", P2PD_VERSION);
		return EXIT_OK;
	}
	if (!r.servers)
		return fail_with(EXIT_USAGE, "--server HOST:PORT is missing; see `natcheck --help`");
	if (r.only4 && r.only6)
		return fail_with(EXIT_USAGE, "-4 and -6 exclude each other");
	if (crypto_init())
		return fail_with(EXIT_FAILED, "the system gives no randomness");
	return run(&r);
}
