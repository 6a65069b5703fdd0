#include "apps/natcheck/natcheck.h"

#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/natcheck/progress.h"
#include "apps/natcheck/report_json.h"
#include "apps/natcheck/report_text.h"
#include "apps/natcheck/run.h"
#include "apps/natcheck/watch.h"
#include "apps/p2pd/client.h"
#include "core/crypto.h"
#include "core/fail.h"
#include "core/options.h"

static const char default_port[] = "3478"; /* RFC 8489 section 8.1 */

enum { SERVERS_MAX = 1024, OTHERS_MAX = AGAINST_TYPES, REAL_DIGITS = 6 };

struct request {
	const char *servers, *against, *socket, *tcp;
	bool json, only4, only6, version, lifetime, watch, no_mapping;
	long timeout_s, interval_s;
	/* Made of them. */
	struct against others[OTHERS_MAX];
	size_t other_count;
	char tcp_text[SERVERS_MAX];
	struct run_config config;
};

/* getaddrinfo takes any number and keeps 16 bits of it. */
static bool is_port(const char *text)
{
	size_t len = strspn(text, "0123456789");
	long n = strtol(text, NULL, 10);

	return !text[len] && len <= 5 && n >= 1 && n <= UINT16_MAX;
}

/* Cuts "HOST:PORT", "[IP6]:PORT", "HOST" or a bare IPv6 address in two. False for what is none of them. */
static bool split_server(char *text, const char *default_to, const char **host, const char **port)
{
	char *colon = strchr(text, ':'), *close = strchr(text, ']');

	*host = text;
	*port = default_to;
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
	char text[SERVERS_MAX], *rest = text, *one;
	const char *host, *port;

	if (strlen(r->servers) >= sizeof text)
		return fail_with(EXIT_USAGE, "the list of servers is too long");
	strcpy(text, r->servers);
	while ((one = strsep(&rest, ","))) {
		if (!split_server(one, default_port, &host, &port))
			return fail_with(EXIT_USAGE, "--server takes HOST:PORT[,HOST:PORT...]");
		int err = run_add_server(c, host, port, family);
		if (err == EAI_ADDRFAMILY)
			fail_with(EXIT_FAILED, "%s has no IPv%d address", host, r->only4 ? 4 : 6);
		else if (err)
			fail_with(EXIT_FAILED, "cannot find %s, port %s: %s", host, port, gai_strerror(err));
	}
	return 0;
}

/* --- One check */

static int check(struct check *c, const struct request *r, struct rng *rng)
{
	int ret = add_servers(c, r);

	if (ret)
		return ret;
	progress_checking(c);
	ret = run_check(c, &r->config, rng);
	if (!ret && r->lifetime)
		ret = run_lifetime(c, rng, progress_lifetime);
	progress_end();
	return ret ? fail_with(EXIT_FAILED, "cannot open a UDP socket: %s", strerror(-ret)) : 0;
}

static int print_json(const struct check *c, const struct request *r)
{
	json_t *report = report_json(c, r->others, r->other_count);
	int ret = report ? json_dumpf(report, stdout,
				      (r->watch ? JSON_COMPACT : JSON_INDENT(2)) |
					      JSON_REAL_PRECISION(REAL_DIGITS))
			 : -1;

	putchar('\n');
	json_decref(report);
	return ret;
}

static int print_report(const struct check *c, const struct request *r)
{
	int ret = 0;

	if (r->json)
		ret = print_json(c, r);
	else
		report_text(c, r->others, r->other_count, stdout);
	if (ret || fflush(stdout))
		return fail_with(EXIT_FAILED, "cannot write the report");
	return 0;
}

/* --- Again and again, until it is interrupted or cannot go on */

static size_t print_changes(json_t *before, json_t *after, bool quiet)
{
	char text[32] = "";
	time_t now = time(NULL);
	struct tm tm;
	FILE *out = quiet ? fopen("/dev/null", "w") : stdout;

	if (!out)
		return 0;
	strftime(text, sizeof text, "%F %T", localtime_r(&now, &tm));
	size_t changes = watch_print_changes(before, after, text, out);
	if (quiet)
		fclose(out);
	return changes;
}

static int watch(struct check *first, const struct request *r, struct rng *rng)
{
	json_t *before = report_json(first, r->others, r->other_count);
	int code = 0;

	while (!code) {
		struct check c = { 0 };
		progress_watching(r->interval_s);
		sleep((unsigned)r->interval_s);
		code = check(&c, r, rng);
		if (code)
			break;
		json_t *after = report_json(&c, r->others, r->other_count);
		size_t changes = print_changes(before, after, r->json);
		if (changes && r->json)
			code = print_json(&c, r);
		fflush(stdout);
		json_decref(before);
		before = after;
	}
	json_decref(before);
	return code;
}

/* --- The program */

static int run(const struct request *r)
{
	static const int codes[] = {
		[CHECK_EASY] = NATCHECK_EASY,
		[CHECK_HARD] = NATCHECK_HARD,
		[CHECK_BLOCKED] = NATCHECK_BLOCKED,
		[CHECK_INCONCLUSIVE] = NATCHECK_INCONCLUSIVE,
	};
	struct check c = { 0 };
	struct rng rng;

	rng_init_system(&rng);
	int code = check(&c, r, &rng);
	if (!code)
		code = print_report(&c, r);
	if (!code && r->watch)
		code = watch(&c, r, &rng);
	return code ? code : codes[check_verdict(&c)];
}

/* What the options say together. 0, or the exit code. */
static int prepare(struct request *r)
{
	if (!r->servers)
		return fail_with(EXIT_USAGE, "--server HOST:PORT is missing; see `natcheck --help`");
	if (r->only4 && r->only6)
		return fail_with(EXIT_USAGE, "give -4 or -6, not both");
	r->config = (struct run_config) { .timeout_ms = (uint32_t)r->timeout_s * 1000,
					  .no_mapping = r->no_mapping };
	if (r->tcp) {
		snprintf(r->tcp_text, sizeof r->tcp_text, "%s", r->tcp);
		if (!split_server(r->tcp_text, "443", &r->config.tcp_host, &r->config.tcp_port))
			return fail_with(EXIT_USAGE, "--tcp takes HOST:PORT");
	}
	if (crypto_init())
		return fail_with(EXIT_FAILED, "the system gives no randomness");
	if (!r->against) {
		against_types(r->others);
		r->other_count = AGAINST_TYPES;
		return 0;
	}
	r->other_count = 1;
	return against_find(&r->others[0], r->against, r->socket);
}

int natcheck(int argc, char **argv)
{
	struct request r = { .timeout_s = 3, .interval_s = 60, .socket = CLIENT_SOCKET };
	struct options_list args;
	const struct options_entry entries[] = {
		{ "server", "HOST:PORT[,...]",
		  "STUN servers to ask: your hub, any other (port 3478 if not given)", .text = &r.servers },
		{ "json", NULL, "as JSON, schema natcheck/1", .flag = &r.json },
		{ "4", NULL, "IPv4 only", .flag = &r.only4 },
		{ "6", NULL, "IPv6 only", .flag = &r.only6 },
		{ "against", "WHOM", "what to expect against nat1..nat4, open, a peer's name or file:PATH",
		  .text = &r.against },
		{ "lifetime", NULL, "measure how long a mapping lives; it takes minutes",
		  .flag = &r.lifetime },
		{ "watch", NULL, "repeat, and print what changes, until interrupted", .flag = &r.watch },
		{ "interval", "S", "seconds between two checks with --watch (60)", .number = &r.interval_s,
		  .min = 1, .max = 86400 },
		{ "tcp", "HOST:PORT", "try a TCP connection there, too", .text = &r.tcp },
		{ "no-mapping", NULL, "do not try the router's UPnP, NAT-PMP and PCP",
		  .flag = &r.no_mapping },
		{ "timeout", "S", "seconds to wait for answers (3)", .number = &r.timeout_s, .min = 1,
		  .max = 60 },
		{ "socket", "PATH", "the running p2pd's, for --against PEER (" CLIENT_SOCKET ")",
		  .text = &r.socket },
		{ "version", NULL, "print the version", .flag = &r.version },
		{ 0 },
	};
	const struct options options = {
		.usage = "natcheck --server HOST:PORT[,HOST:PORT...] [options]",
		.about = "Tells what NAT you are behind, what will work through it and what to change. It "
			 "asks\n"
			 "STUN servers; one with two addresses, or two servers, tell more. It opens a port "
			 "at the\n"
			 "router by UPnP, NAT-PMP and PCP for a moment, to see whether that works.",
		.entries = entries,
		.more = "--against PEER asks the running p2pd what that peer told; --against file:PATH reads "
			"a report\n"
			"that `natcheck --json` made elsewhere.\n"
			"Exit codes: 0 easy, 10 hard, 11 UDP blocked, 12 inconclusive, 1 failed, 2 wrong "
			"usage;\n"
			"with --against PEER also 3 no daemon, 5 no such peer, 7 denied.\n",
	};
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	if (r.version) {
		printf("natcheck %s\n", P2PD_VERSION);
		return EXIT_OK;
	}
	code = prepare(&r);
	return code ? code : run(&r);
}
