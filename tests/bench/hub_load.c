/* Loads a hub with the links of many nodes: real TLS, WebSocket and logins (relay/hub_link, as a node has it), each node
 * an identity of its own, so many to a network. Does one phase after the other and prints one line of JSON for each.
 *
 *   hub_load URL NODES PHASE... [options]
 *
 *   join          the links are made, --rate a second; over when all nodes have their welcome
 *   idle=S        nothing but pings for S seconds: the hub's memory and CPU
 *   signals=S     for S seconds --signals introductions a second, each between two members of one network
 *   comeback      the hub is killed (the file of --pid says which; who started it starts it anew); over when all are back
 *   leave         all links are closed
 *
 * Nodes connect to --addresses addresses from that of the URL on: one alone has ports for 28,000 links. Meanwhile, but
 * not while they are idle, the API is asked (load_api.h). */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "core/addr.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/options.h"
#include "tests/bench/load_api.h"
#include "tests/bench/load_member.h"
#include "tests/bench/load_samples.h"

enum {
	RECORD = 700, /* bytes, about what a node's is */
	TICK_MS = 2,
	PHASE_MAX_S = 180,
	LOST_US = 1000000, /* an introduction that did not come in this time */
	DEAD_PID = 0,
};

struct node {
	struct hub_link *link;
	struct load_member self;
	bool connected, welcomed;
	uint64_t since_us; /* when it was told to join, or lost its link */
	uint64_t asked_us; /* 0: no introduction awaited */
	uint32_t asked;	   /* with whom */
};

struct phase {
	const char *name;
	void (*start)(void);
	bool (*is_over)(void); /* called each tick, does what is due */
	bool waits_for_all;    /* and its time counts to the last welcome */
};

static struct {
	long nodes, per_network, rate, signals, addresses;
	const char *pid_file, *api;
} want = { .per_network = 10, .rate = 500, .signals = 5000, .addresses = 1, .api = "/healthz" };

static struct loop *loop;
static struct rng rng;
static struct loop_timer *ticker;
static struct hub_url *urls;
static struct network *networks;
static struct node *nodes;
static uint32_t started, online, downs, signals_sent, signals_skipped, next_asker;
static const char *last_trouble = "";
static struct samples took; /* of this phase */
static struct options_list phases;
static size_t phase_at;
static const struct phase *phase;
static long phase_seconds;
static uint64_t phase_began_us, last_welcome_us;
static double phase_cpu_s;
static long empty_kib;

static void die(const char *what)
{
	fprintf(stderr, "hub_load: %s\n", what);
	exit(1);
}

static uint64_t phase_us(void)
{
	return load_now_us() - phase_began_us;
}

static int hub_pid(void)
{
	FILE *f = want.pid_file ? fopen(want.pid_file, "r") : NULL;
	int pid = DEAD_PID;

	if (f && fscanf(f, "%d", &pid) != 1)
		pid = DEAD_PID;
	if (f)
		fclose(f);
	return pid;
}

/* --- What a node says */

static const struct network *network_of(const struct node *n)
{
	return &networks[(n - nodes) / want.per_network];
}

static void publish(struct node *n)
{
	static uint8_t record[RECORD];
	Link__Publish p = LINK__PUBLISH__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	rng_fill(&rng, record, sizeof record);
	p.seq = load_now_us();
	p.record = load_bytes(record, sizeof record);
	msg.body_case = LINK__TO_HUB__BODY_PUBLISH;
	msg.publish = &p;
	load_say(n->link, &msg);
}

static void answer_ping(struct node *n, uint64_t t)
{
	Link__Pong pong = LINK__PONG__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	pong.t = t;
	msg.body_case = LINK__TO_HUB__BODY_PONG;
	msg.pong = &pong;
	load_say(n->link, &msg);
}

/* --- What it hears */

static void on_welcome(struct node *n)
{
	n->welcomed = true;
	online++;
	last_welcome_us = load_now_us();
	if (phase->waits_for_all)
		samples_add(&took, (double)(last_welcome_us - n->since_us) / 1000);
	publish(n);
}

/* Who asked hears of it, too; only what came to the other is a signal. */
static void on_introduction(struct node *n, const Link__Introduction *i)
{
	size_t first = (size_t)((n - nodes) / want.per_network * want.per_network);

	for (size_t at = first; at < first + (size_t)want.per_network && i->ik.len == 32; at++) {
		struct node *asker = &nodes[at];
		if (!asker->asked_us || &nodes[asker->asked] != n ||
		    memcmp(asker->self.ik, i->ik.data, 32) != 0)
			continue;
		samples_add(&took, (double)(load_now_us() - asker->asked_us) / 1000);
		asker->asked_us = 0;
		return;
	}
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct node *n = arg;
	Link__ToNode *m = link__to_node__unpack(NULL, len, msg);

	if (!m)
		die("the hub sent nonsense");
	switch (m->body_case) {
	case LINK__TO_NODE__BODY_CHALLENGE:
		load_log_in(&n->self, n->link, network_of(n), (uint16_t)((n - nodes) / want.per_network),
			    m->challenge->nonce.data);
		break;
	case LINK__TO_NODE__BODY_WELCOME: on_welcome(n); break;
	case LINK__TO_NODE__BODY_PING:
		hub_link_spread(n->link, m->ping->spread_ms);
		answer_ping(n, m->ping->t);
		break;
	case LINK__TO_NODE__BODY_INTRODUCTION: on_introduction(n, m->introduction); break;
	case LINK__TO_NODE__BODY_REFUSED: last_trouble = "refused by the hub"; break;
	default: break;
	}
	link__to_node__free_unpacked(m, NULL);
}

static void on_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	struct node *n = arg;

	(void)remote;
	n->connected = true;
	memcpy(n->self.exporter, exporter, 32);
}

static void on_down(void *arg, int error, const char *text)
{
	struct node *n = arg;

	(void)error;
	downs++;
	last_trouble = text;
	if (n->connected)
		n->since_us = load_now_us();
	online -= n->welcomed;
	n->connected = n->welcomed = false;
	n->asked_us = 0;
}

/* --- Phases */

static void start_node(struct node *n)
{
	static const struct hub_link_handler handler = { on_up, on_message, on_down };

	n->since_us = load_now_us();
	int rc = hub_link_create(&n->link, loop, &urls[(n - nodes) % want.addresses], &rng, &handler, n);
	if (rc)
		die(strerror(-rc));
}

static bool join_is_over(void)
{
	uint64_t due = phase_us() * (uint64_t)want.rate / 1000000;

	while (started < want.nodes && started < due)
		start_node(&nodes[started++]);
	return online == want.nodes;
}

static bool time_is_over(void)
{
	return phase_us() >= (uint64_t)phase_seconds * 1000000;
}

/* The next in the row of a network, then the one after ..., half way round: from there on it would be the same pairs from
 * their other ends, and a hub introduces a pair only so often. */
static void ask_for_introduction(void)
{
	struct node *n = &nodes[next_asker % want.nodes];
	uint32_t turn = next_asker++ / (uint32_t)want.nodes, per = (uint32_t)want.per_network;
	uint32_t at = (uint32_t)(n - nodes), first = at / per * per;
	uint32_t half = per > 2 ? (per - 1) / 2 : 1, other = first + (at - first + 1 + turn % half) % per;
	Link__Introduce i = LINK__INTRODUCE__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;
	bool waits = n->asked_us && load_now_us() - n->asked_us < LOST_US;

	if (!n->welcomed || waits || !nodes[other].welcomed) {
		signals_skipped++;
		return;
	}
	n->asked = other;
	n->asked_us = load_now_us();
	i.ik = load_bytes(nodes[other].self.ik, 32);
	msg.body_case = LINK__TO_HUB__BODY_INTRODUCE;
	msg.introduce = &i;
	load_say(n->link, &msg);
	signals_sent++;
}

static bool signals_are_over(void)
{
	uint64_t due = phase_us() * (uint64_t)want.signals / 1000000;

	while (signals_sent + signals_skipped < due && !time_is_over())
		ask_for_introduction();
	return phase_us() >= (uint64_t)phase_seconds * 1000000 + 1000000;
}

static void start_comeback(void)
{
	int pid = hub_pid();

	if (pid <= 1 || kill(pid, SIGKILL) != 0)
		die("no hub to kill: --pid FILE");
}

static bool comeback_is_over(void)
{
	return downs && online == want.nodes;
}

static void start_leave(void)
{
	for (uint32_t i = 0; i < started; i++)
		hub_link_destroy(nodes[i].link);
	for (uint32_t i = 0; i < started; i++)
		nodes[i] = (struct node) { .self = nodes[i].self };
	started = online = 0;
}

static const struct phase known[] = {
	{ "join", NULL, join_is_over, true },	       { "idle", NULL, time_is_over, false },
	{ "signals", NULL, signals_are_over, false },  { "comeback", start_comeback, comeback_is_over, true },
	{ "leave", start_leave, time_is_over, false },
};

static void print_api(void)
{
	struct samples kept, fresh;
	unsigned failed;

	load_api_take(&kept, &fresh, &failed);
	printf(", \"api\": {\"kept_p50_ms\": %.1f, \"kept_p99_ms\": %.1f, \"fresh_p50_ms\": %.1f, "
	       "\"fresh_p99_ms\": %.1f, "
	       "\"asked\": %zu, \"failed\": %u}",
	       samples_quantile(&kept, .5), samples_quantile(&kept, .99), samples_quantile(&fresh, .5),
	       samples_quantile(&fresh, .99), kept.count + fresh.count, failed);
	free(kept.ms);
	free(fresh.ms);
}

static void report(bool in_time)
{
	int pid = hub_pid();
	uint64_t until_us = phase->waits_for_all ? last_welcome_us : load_now_us();
	double seconds = (double)(until_us - phase_began_us) / 1e6, cpu = load_cpu_s(pid);
	long kib = load_memory_kib(pid, "VmRSS");

	/* The CPU of a hub that is another one now counts from its own beginning. */
	cpu -= phase->start == start_comeback ? 0 : phase_cpu_s;
	printf("{\"phase\": \"%s\", \"nodes\": %ld, \"online\": %u, \"seconds\": %.2f, \"in_time\": %s",
	       phase->name, want.nodes, online, seconds, in_time ? "true" : "false");
	printf(", \"hub_kib\": %ld, \"empty_kib\": %ld, \"hub_cpu_s\": %.2f", kib, empty_kib, cpu);
	printf(", \"own_cpu_s\": %.2f, \"downs\": %u, \"trouble\": \"%s\"", load_cpu_s(getpid()), downs,
	       last_trouble);
	if (phase->waits_for_all && seconds > 0)
		printf(", \"per_s\": %.0f", want.nodes / seconds);
	if (phase->is_over == signals_are_over)
		printf(", \"sent\": %u, \"skipped\": %u, \"per_s\": %.0f", signals_sent, signals_skipped,
		       (double)took.count / (double)phase_seconds);
	printf(", \"count\": %zu, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f", took.count,
	       samples_quantile(&took, .5), samples_quantile(&took, .99), samples_quantile(&took, 1));
	print_api();
	printf("}\n");
	fflush(stdout);
}

static const struct phase *phase_find(const char *name)
{
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (!strncmp(known[i].name, name, strcspn(name, "=")) &&
		    strcspn(name, "=") == strlen(known[i].name))
			return &known[i];
	return NULL;
}

static void next_phase(void)
{
	struct samples kept, fresh;
	unsigned failed;

	if (phase_at == phases.count) {
		loop_stop(loop);
		return;
	}
	const char *name = phases.items[phase_at++], *value = strchr(name, '=');
	phase = phase_find(name);
	phase_seconds = value ? strtol(value + 1, NULL, 10) : 0;
	took.count = 0;
	downs = signals_sent = signals_skipped = 0;
	last_trouble = "";
	load_api_take(&kept, &fresh, &failed);
	free(kept.ms);
	free(fresh.ms);
	load_api_pause(phase->is_over == time_is_over);
	phase_cpu_s = load_cpu_s(hub_pid());
	phase_began_us = last_welcome_us = load_now_us();
	if (phase->start)
		phase->start();
}

static void tick(void *arg)
{
	bool too_long = phase_us() > PHASE_MAX_S * 1000000ULL;

	(void)arg;
	if (phase->is_over() || too_long) {
		report(!too_long);
		next_phase();
	}
	loop_timer_set(ticker, loop_now_ms() + TICK_MS);
}

/* --- Beginning */

static void make_networks(void)
{
	size_t count = (size_t)(want.nodes + want.per_network - 1) / (size_t)want.per_network;

	networks = calloc(count, sizeof *networks);
	if (!networks)
		die("out of memory");
	for (size_t i = 0; i < count; i++)
		load_network_make(&networks[i], &rng);
}

static void make_nodes(void)
{
	uint64_t pass_until = (uint64_t)time(NULL) + 86400;
	nodes = calloc((size_t)want.nodes, sizeof *nodes);
	if (!nodes)
		die("out of memory");
	for (struct node *n = nodes; n < nodes + want.nodes; n++)
		load_member_make(&n->self, network_of(n), pass_until, &rng);
}

static void make_urls(const struct hub_url *first)
{
	struct addr at;
	char text[ADDR_TEXT_MAX];

	urls = calloc((size_t)want.addresses, sizeof *urls);
	if (!urls || addr_parse(&at, first->host, 1) != 0 || at.family != ADDR_V4)
		die("the URL of the hub must name it by its IPv4 address");
	for (long i = 0; i < want.addresses; i++, at.ip[3]++) {
		urls[i] = *first;
		snprintf(urls[i].host, sizeof urls[i].host, "%s", addr_format_ip(&at, text));
	}
}

static void read_arguments(int argc, char **argv)
{
	const struct options_entry entries[] = {
		{ "per-network", "N", "members of each network (10)", .number = &want.per_network, .min = 2,
		  .max = 1000 },
		{ "rate", "N", "joins a second (500)", .number = &want.rate, .min = 1, .max = 1000000 },
		{ "signals", "N", "introductions a second (5000)", .number = &want.signals, .min = 1,
		  .max = 1000000 },
		{ "addresses", "N", "of the hub, from the URL's on (1)", .number = &want.addresses, .min = 1,
		  .max = 100 },
		{ "pid", "FILE", "holds the process number of the hub", .text = &want.pid_file },
		{ "api", "PATH", "what the API is asked for (/healthz)", .text = &want.api },
		{ 0 },
	};
	const struct options options = { .usage = "hub_load URL NODES PHASE... [options]",
					 .about = "Loads a hub; see the file's head.",
					 .entries = entries,
					 .min_args = 3,
					 .max_args = OPTIONS_LIST_MAX };
	struct options_list args;
	struct hub_url hub;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		exit(code);
	want.nodes = strtol(args.items[1], NULL, 10);
	if (hub_url_parse(&hub, args.items[0]) != 0 || want.nodes < 2)
		die("takes the hub's URL and a number of nodes");
	for (size_t i = 2; i < args.count; i++) {
		if (!phase_find(args.items[i]))
			die("unknown phase");
		phases.items[phases.count++] = args.items[i];
	}
	make_urls(&hub);
}

int main(int argc, char **argv)
{
	struct rlimit files;

	if (crypto_init())
		die("no crypto");
	read_arguments(argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	rng_init_system(&rng);
	make_networks();
	make_nodes();
	loop = loop_create();
	ticker = loop ? loop_timer_create(loop, tick, NULL) : NULL;
	if (!ticker)
		die("out of memory");
	load_api_start(&urls[0], want.api);
	empty_kib = load_memory_kib(hub_pid(), "VmRSS");
	next_phase();
	loop_timer_set(ticker, 0);
	loop_run(loop);
	return 0;
}
