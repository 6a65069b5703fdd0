#include "apps/p2pd/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/client.h"
#include "core/fail.h"
#include "core/options.h"

enum { COUNT = 5, COUNT_UNTIL_DIRECT = 30 };

struct run {
	const char *peer;
	long wait_s;
	bool until_direct, as_json;
	json_t *answers; /* as the daemon gave them */
	unsigned sent, answered, direct;
	json_int_t least, most, sum;
};

static void count_pong(struct run *r, json_int_t rtt)
{
	if (!r->answered || rtt < r->least)
		r->least = rtt;
	if (rtt > r->most)
		r->most = rtt;
	r->sum += rtt;
	r->answered++;
}

static void print_timeout(const struct run *r, bool online)
{
	printf("no answer from %s within %ld s%s\n", r->peer, r->wait_s,
	       online ? "" : " (the hub says it is offline)");
}

static const char *relay_text(const char *kind, bool by_home)
{
	if (by_home)
		return "relay(home)";
	return strcmp(kind, "relay-tls") ? "relay(hub)" : "relay(hub, over TLS)";
}

/* True if the run is to go on. */
static bool take_answer(struct run *r, json_t *line)
{
	const char *peer = "", *ip = "", *via = "", *kind = "", *endpoint = "";
	json_int_t rtt = 0;
	int timeout = 0, online = 1, by_home = 0;

	json_unpack(line, "{s?s s?s s?s s?s s?s s?I s?b s?b s?b}", "peer", &peer, "ip", &ip, "via", &via,
		    "kind", &kind, "endpoint", &endpoint, "rtt_ms", &rtt, "timeout", &timeout, "online",
		    &online, "home_relay", &by_home);
	r->sent++;
	if (timeout) {
		if (!r->as_json)
			print_timeout(r, online);
		return true;
	}
	bool direct = !strcmp(via, "direct");
	if (!r->as_json)
		printf("pong from %s (%s) via %s in %lld ms\n", peer, ip,
		       direct ? endpoint : relay_text(kind, by_home), (long long)rtt);
	count_pong(r, rtt);
	r->direct += direct;
	return !(direct && r->until_direct);
}

static bool on_line(void *arg, const char *text)
{
	json_t *line = json_loads(text, 0, NULL);
	struct run *r = arg;
	bool more = line && take_answer(r, line);

	fflush(stdout);
	return !json_array_append_new(r->answers, line) && more;
}

static void print_json(const struct run *r)
{
	json_t *json = json_pack("{ss ss sI sI sI sO}", "schema", "p2pd.ping/1", "peer", r->peer, "sent",
				 (json_int_t)r->sent, "answered", (json_int_t)r->answered, "direct",
				 (json_int_t)r->direct, "answers", r->answers);

	json_dumpf(json, stdout, JSON_COMPACT);
	printf("\n");
	json_decref(json);
}

static void print_summary(const struct run *r)
{
	if (r->as_json) {
		print_json(r);
		return;
	}
	printf("%u sent, %u answered, %u of them directly", r->sent, r->answered, r->direct);
	if (r->answered)
		printf("; round trip %lld/%lld/%lld ms (least/mean/most)", (long long)r->least,
		       (long long)(r->sum / r->answered), (long long)r->most);
	printf("\n");
}

static int run_pings(struct run *r, const char *socket, long count)
{
	char *body;
	json_t *json = json_pack("{ss sI sI}", "peer", r->peer, "count", (json_int_t)count, "wait_ms",
				 (json_int_t)r->wait_s * 1000);

	body = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!body)
		return fail_with(EXIT_USAGE, "'%s' is not the name or address of a peer", r->peer);
	r->answers = json_array();
	int code = client_stream(socket, "/v1/ping", body, on_line, r);
	free(body);
	if (!code)
		print_summary(r);
	json_decref(r->answers);
	fflush(stdout);
	if (code)
		return code;
	if (r->until_direct && !r->direct)
		return fail_with(EXIT_TIMED_OUT, "no direct path to %s so far; `p2pd why %s` says why",
				 r->peer, r->peer);
	return r->answered ? EXIT_OK : EXIT_TIMED_OUT;
}

int cmd_ping(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET;
	long count = 0;
	struct run run = { .wait_s = 2 };
	const struct options_entry entries[] = {
		{ "c", "N", "how many pings (5; with --until-direct 30)", .number = &count, .min = 1,
		  .max = 1000000 },
		{ "until-direct", NULL, "end at the first answer that came directly",
		  .flag = &run.until_direct },
		{ "json", NULL, "one object at the end, schema p2pd.ping/1", .flag = &run.as_json },
		{ "W", "SECONDS", "how long to wait for each answer (2)", .number = &run.wait_s, .min = 1,
		  .max = 60 },
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd ping PEER [options]",
		.about = "Pings a peer, by name or overlay address, through the tunnel and tells which way "
			 "each answer came.",
		.entries = entries,
		.min_args = 1,
		.max_args = 1,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	run.peer = args.items[0];
	if (!count)
		count = run.until_direct ? COUNT_UNTIL_DIRECT : COUNT;
	return run_pings(&run, socket, count);
}
