#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "apps/p2pd/forward/pass.h"
#include "core/fail.h"
#include "core/log.h"
#include "core/sd_notify.h"

enum {
	PACKETS = 512, /* 64 KiB each, of memory that is taken when it is first used */
	WALL_EVERY_MS = 1000,
};

/* --- Time */

static uint64_t unix_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t awake_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Also where the machine stayed: what NATs and the hub knew of it may be forgotten. */
static void on_wake(struct shell *s, uint64_t now)
{
	log_info("host", "awake again");
	engine_on_wake(s->engine, now);
	s->hosts_due_ms = now;
	shell_check_link(s);
}

uint64_t shell_now(struct shell *s)
{
	uint64_t now = loop_now_ms();

	if (now - s->wall_at_ms < WALL_EVERY_MS)
		return now;
	s->wall_at_ms = now;
	engine_set_wall(s->engine, now, unix_ns());
	if (wake_look(&s->wake, now, awake_ms(), s->due_ms))
		on_wake(s, now);
	return now;
}

static uint64_t earliest(const struct shell *s)
{
	uint64_t due[] = { engine_deadline(s->engine), s->hosts_due_ms,
			   s->timestamps_due_ms,       s->join_by_ms,
			   api_deadline(s->api),       shell_portmap_deadline(s) };
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < sizeof due / sizeof *due; i++)
		least = due[i] < least ? due[i] : least;
	return least;
}

static void on_due(void *arg)
{
	struct shell *s = arg;
	uint64_t now = shell_now(s);

	if (s->ending)
		return;
	if (now >= s->hosts_due_ms)
		shell_look_at_hosts(s, now);
	if (now >= s->timestamps_due_ms)
		shell_keep_timestamps(s);
	if (now >= s->join_by_ms)
		shell_on_join_timeout(s);
	api_tick(s->api, now);
	shell_run_portmap(s, now);
	engine_tick(s->engine, now);
	shell_settle(s);
}

/* --- What the engine gives */

static void on_joined(struct shell *s)
{
	const struct engine *e = s->engine;
	bool twin = engine_find_peer(s->engine, e->config.name);
	char text[512], ip4[ADDR_TEXT_MAX], ip6[ADDR_TEXT_MAX];

	s->join_by_ms = UINT64_MAX;
	s->config.trusted = true;
	shell_keep_network(s);
	snprintf(text, sizeof text, "joined %s as %s: %s, %s%s", e->config.net.name, e->config.name,
		 addr_format_ip(&e->ip4, ip4), addr_format_ip(&e->ip6, ip6),
		 twin ? "; another peer has the same name: give one of them another with --name" : "");
	log_info("up", "%s", text);
	sd_notify_send("READY=1");
	s->config.on_joined(s->config.arg, text);
}

static void on_alone(struct shell *s)
{
	const char *name = s->engine->config.net.name;

	if (s->config.trusted)
		return;
	shell_end(
		s,
		fail_with(
			EXIT_DENIED,
			"no member of network '%s' uses this secret, but the hub has another network of that "
			"name: check the secret, or add --new to found your own",
			name));
}

static void on_address(struct shell *s)
{
	shell_readdress(s);
	if (s->engine->joined)
		shell_keep_network(s);
}

static void on_event(struct shell *s, const struct engine_event *ev)
{
	switch (ev->kind) {
	case ENGINE_EV_JOINED: on_joined(s); break;
	case ENGINE_EV_REFUSED: shell_on_refused(s, ev->code); break;
	case ENGINE_EV_OTHER_FRONT: shell_on_other_front(s); break;
	case ENGINE_EV_ALONE_WITH_SAME_NAME: on_alone(s); break;
	case ENGINE_EV_ADDRESS: on_address(s); break;
	case ENGINE_EV_MOVED: shell_check_link(s); break;
	case ENGINE_EV_PONG:
		api_on_pong(s->api, ev, shell_now(s));
		shell_forward_on_pong(s, ev);
		break;
	}
}

static bool drain_events(struct shell *s)
{
	struct engine_event ev;
	bool any = false;

	while (!s->ending && engine_next_event(s->engine, &ev)) {
		on_event(s, &ev);
		any = true;
	}
	return any;
}

void shell_settle(struct shell *s)
{
	shell_keep_clock(s);
	if (s->engine->timestamps_changed)
		shell_expect_timestamp(s, shell_now(s));
	while (lane_drain(s->worker.lane) | shell_drain_hub(s) | drain_events(s))
		shell_keep_clock(s);
	shell_close_unused(s);
	shell_portmap_on_settle(s);
	shell_forward_on_settle(s);
	shell_trace_on_settle(s);
	s->due_ms = earliest(s);
	if (!s->ending)
		loop_timer_set(s->timer, s->due_ms);
}

void shell_end(struct shell *s, int exit_code)
{
	if (s->ending)
		return;
	s->ending = true;
	s->exit_code = exit_code;
	loop_stop(s->loop);
}

/* --- Life */

static void on_down(void *arg, bool forget)
{
	struct shell *s = arg;

	log_info("down", forget ? "asked to end and to leave the network" : "asked to end");
	s->forgets = forget;
	shell_end(s, EXIT_OK);
}

static void on_signal(void *arg, int signum)
{
	struct shell *s = arg;

	log_info("down", "ended by %s", strsignal(signum));
	shell_end(s, s->join_by_ms == UINT64_MAX ? EXIT_OK : EXIT_FAILED);
}

static void on_hangup(void *arg, int signum)
{
	struct shell *s = arg;

	if (s->config.on_hangup) {
		s->config.on_hangup(s->config.arg);
		shell_forward_on_settings(s);
	} else
		on_signal(s, signum);
}

static int start_engine(struct shell *s)
{
	const struct state_network *n = &s->config.network;
	struct engine_config config = {
		.net = n->net,
		.ip4_prefix = n->ip4_prefix,
		.ip4_bits = n->ip4_bits,
		.ip4_wish = n->ip4_wish,
		.cert_not_before = n->cert_not_before,
		.udp_port = s->port,
		.have_ip4 = udp_is_open(&s->worker.udp4),
		.have_ip6 = udp_is_open(&s->worker.udp6),
		.max_sockets = shell_sockets_affordable(),
		.hard_nat = n->hard_nat,
		.aegis = !n->chacha20_only && crypto_has_aes(),
		.pool = &s->pool,
	};
	struct state_keys keys;
	int ret = state_load_keys(s->config.state, &keys);

	if (!ret)
		ret = state_load_clock(s->config.state, &config.clock_last_ns);
	if (ret)
		return fail_with(EXIT_FAILED, "cannot read the node's keys and clock in the state folder: %s",
				 ret == -EBADMSG ? "they are damaged" : strerror(-ret));
	strcpy(config.name, n->name);
	struct hub_url url;
	if (hub_url_parse(&url, n->hub) == 0) /* else shell_start_link() will complain */
		login_front(&url, config.hub_front);
	memcpy(config.ik_seed, keys.ik_seed, 32);
	memcpy(config.wk_sk, keys.wk_sk, 32);
	struct engine *e = malloc(sizeof *e);
	ret = e ? engine_init(e, &config, loop_now_ms(), unix_ns()) : -ENOMEM;
	crypto_wipe(&keys, sizeof keys);
	crypto_wipe(&config, sizeof config);
	if (ret) {
		free(e);
		return fail_with(EXIT_FAILED, "cannot start the node: %s", strerror(-ret));
	}
	s->engine = e;
	e->pass = pass_create();
	return e->pass ? shell_restore(s) : fail_with(EXIT_FAILED, "out of memory");
}

static int start_loop(struct shell *s)
{
	static const int ends[] = { SIGTERM, SIGINT };

	s->loop = loop_create();
	s->timer = s->loop ? loop_timer_create(s->loop, on_due, s) : NULL;
	if (!s->timer || pkt_pool_init(&s->pool, PACKETS))
		return fail_with(EXIT_FAILED, "out of memory");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		loop_on_signal(s->loop, ends[i], on_signal, s);
	loop_on_signal(s->loop, SIGHUP, on_hangup, s);
	return 0;
}

static void on_api(void *arg)
{
	shell_settle(arg);
}

static int start_api(struct shell *s)
{
	const char *path = s->config.socket;

	s->target = (struct requests_target) {
		.engine = s->engine,
		.wg = &s->wg,
		.hub_url = s->config.network.hub,
		.hub_proxy = s->proxy,
		.tun = s->tun.name,
		.workers = s->config.workers,
		.offload = shell_offload,
		.wg_changed = shell_keep_wg,
		.down = on_down,
		.arg = s,
	};
	int ret = api_start(&s->api, s->loop, path, &s->target, on_api, s);
	if (ret == -EADDRINUSE)
		return fail_with(EXIT_CONFLICT,
				 "another p2pd is running on %s: `p2pd status` shows it, `p2pd down` ends it",
				 path);
	if (ret)
		return fail_with(EXIT_FAILED, "cannot listen on %s: %s", path, strerror(-ret));
	return 0;
}

static void write_metrics(void *arg, struct metrics *m)
{
	requests_metrics(&((struct shell *)arg)->target, m);
}

static int start_metrics(struct shell *s)
{
	const struct addr *at = &s->config.metrics;
	char text[ADDR_TEXT_MAX];

	if (!at->family)
		return 0;
	int ret = metrics_door_open(&s->metrics, s->loop, at, write_metrics, s);
	return ret ? fail_with(ret == -EADDRINUSE ? EXIT_CONFLICT : EXIT_FAILED,
			       "cannot listen on %s for --metrics: %s", addr_format(at, text), strerror(-ret))
		   : 0;
}

/* In the order of what fails most, and nothing is changed on the machine before all rights are there. */
static int start(struct shell *s)
{
	static int (*const steps[])(struct shell *) = {
		start_loop,	  shell_open_tun,    shell_check_clash,	  shell_open_udp,
		start_engine,	  shell_start_data,  start_api,		  start_metrics,
		shell_set_device, shell_watch_hosts, shell_start_portmap, shell_start_forward,
		shell_start_link
	};
	int code = 0;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !code; i++)
		code = steps[i](s);
	if (code)
		return code;
	if (!s->config.patient)
		s->join_by_ms = shell_now(s) + s->config.timeout_s * 1000ull;
	shell_settle(s);
	return s->ending ? s->exit_code : shell_watch_tun(s);
}

/* While jobs on other threads come to their end the loop runs, so that all that it calls has to be there, and its
 * callbacks expect the lock. */
static void end_work(struct shell *s)
{
	pthread_mutex_t *lock = s->workers ? workers_lock(s->workers) : NULL;

	s->ending = true;
	shell_cancel_portmap(s);
	shell_cancel_forward(s);
	if (lock)
		pthread_mutex_lock(lock);
	if (s->loop)
		loop_work_finish(s->loop);
	if (lock)
		pthread_mutex_unlock(lock);
}

static void stop(struct shell *s)
{
	workers_stop(s->workers);
	end_work(s);
	shell_close_link(s);
	metrics_door_close(s->metrics);
	api_stop(s->api);
	shell_close_forward(s);
	shell_close_portmap(s);
	shell_close_host(s);
	shell_close_io(s);
	shell_close_keep(s);
	if (s->engine) {
		pass_destroy(s->engine->pass);
		engine_free(s->engine);
	}
	free(s->engine);
	loop_timer_destroy(s->timer);
	if (s->loop)
		loop_destroy(s->loop);
	pkt_pool_free(&s->pool);
}

/* Ahead of the programs whose packets it carries, as a kernel's network stack is: preempted by them for each packet, it
 * would handle smaller batches (measured: a tenth less throughput). Who set another priority is obeyed; without the right
 * all goes on as it is. */
static void go_ahead(void)
{
	enum { NICE = -5 };

	if (getpriority(PRIO_PROCESS, 0) == 0)
		setpriority(PRIO_PROCESS, 0, NICE);
}

int shell_run(const struct shell_config *config)
{
	struct shell *s = calloc(1, sizeof *s);

	if (!s)
		return fail_with(EXIT_FAILED, "out of memory");
	s->config = *config;
	s->host_fd = -1;
	s->timestamps_due_ms = s->join_by_ms = s->due_ms = UINT64_MAX;
	setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 }); /* keys do not belong in a core file */
	go_ahead();
	log_info("up", "p2pd %s", P2PD_VERSION);
	int code = start(s);
	if (!code) {
		if (s->workers)
			loop_run_locked(s->loop, workers_lock(s->workers));
		else
			loop_run(s->loop);
		code = s->exit_code;
	}
	sd_notify_send("STOPPING=1");
	stop(s);
	crypto_wipe(s, sizeof *s);
	free(s);
	return code;
}
