/* Plays many nodes of one network in one process: engines without a TUN device, each with a UDP socket and a link to the
 * hub of its own. Each joins, learns of one real node and of nobody else (so that a thousand do not hold a million
 * peers), and pings it through a tunnel until it answers directly. Then it leaves the hub, which else would tell a thousand
 * of each that comes, and stays, quiet, as long as it is let.
 *
 *   crowd HUB_URL NETWORK SECRET_FILE ADDRESS PREFIX/BITS NODE COUNT
 *
 * ADDRESS: the IPv4 address of this host; PREFIX: of the overlay; NODE: the name of the real node. Prints `ready` once
 * all have talked to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "apps/p2pd/engine.h"
#include "core/log.h"
#include "core/loop.h"
#include "relay/hub_link.h"
#include "relay/proto/link.pb-c.h"

enum {
	PLAYERS_MAX = 4000,
	AT_ONCE = 25, /* on their way into the network */
	PACKETS = 4096,
	ASK_AGAIN_MS = 1000,
	WALL_MS = 30000,
};

struct player {
	struct engine *engine;
	struct hub_link *link;
	struct loop_timer *timer;
	struct loop_fd *watch;
	int fd;
	uint64_t ask_ms, wall_ms;
	bool talked;
};

static struct loop *loop;
static struct pkt_pool pool;
static struct rng rng;
static struct hub_url hub;
static struct engine_config common;
static struct addr host;
static const char *target;
static uint8_t target_ik[32];
static bool target_known;
static struct player players[PLAYERS_MAX];
static unsigned wanted, started, talking;

static void start_more(void);

static void die(const char *what)
{
	fprintf(stderr, "crowd: %s\n", what);
	exit(1);
}

static uint64_t unix_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void send_datagram(const struct player *p, const struct pkt *out)
{
	struct sockaddr_storage to;
	unsigned len = addr_to_sockaddr(&out->addr, &to);

	/* What does not go out is lost, as on any network. */
	if (out->socket == 0 && out->addr.family == ADDR_V4)
		(void)!sendto(p->fd, out->buf + out->off, out->len, 0, (struct sockaddr *)&to, len);
}

static void on_talked(struct player *p)
{
	if (p->talked)
		return;
	p->talked = true;
	hub_link_destroy(p->link);
	p->link = NULL;
	engine_on_hub_down(p->engine, loop_now_ms());
	if (++talking == wanted) {
		printf("ready\n");
		fflush(stdout);
	}
	start_more();
}

static void find_target(const struct player *p)
{
	const struct engine_peer *ep = target_known ? NULL : engine_find_peer(p->engine, target);

	if (!ep)
		return;
	memcpy(target_ik, ep->ik, sizeof target_ik);
	target_known = true;
	start_more();
}

static void ask(struct player *p, uint64_t now)
{
	struct engine_peer *ep = engine_find_peer(p->engine, target);

	if (p->talked || !p->engine->joined || now < p->ask_ms)
		return;
	p->ask_ms = now + ASK_AGAIN_MS;
	if (ep)
		engine_ping(p->engine, ep, 1, now);
}

static void settle(struct player *p)
{
	uint64_t now = loop_now_ms(), due;
	struct engine *e = p->engine;
	struct engine_event ev;
	struct pkt *out;

	ask(p, now);
	while ((out = pkt_list_pop(&e->udp_out))) {
		send_datagram(p, out);
		pkt_put(&pool, out);
	}
	while ((out = pkt_list_pop(&e->hub_out))) {
		if (p->link)
			hub_link_send(p->link, pkt_data(out), out->len);
		pkt_put(&pool, out);
	}
	pkt_list_clear(&e->tun_out, &pool);
	while (engine_next_event(e, &ev))
		if (ev.kind == ENGINE_EV_PONG && ev.way == ENGINE_WAY_DIRECT)
			on_talked(p);
	due = engine_deadline(e);
	if (!p->talked && p->ask_ms < due)
		due = p->ask_ms;
	loop_timer_set(p->timer, due < p->wall_ms ? due : p->wall_ms);
}

static void on_due(void *arg)
{
	struct player *p = arg;
	uint64_t now = loop_now_ms();

	if (now >= p->wall_ms) {
		engine_set_wall(p->engine, now, unix_ns());
		p->wall_ms = now + WALL_MS;
	}
	engine_tick(p->engine, now);
	settle(p);
}

static void on_readable(void *arg, unsigned events)
{
	struct player *p = arg;

	(void)events;
	for (int i = 0; i < 64; i++) {
		struct sockaddr_storage from;
		socklen_t from_len = sizeof from;
		struct pkt *in = pkt_get(&pool);
		if (!in)
			break;
		ssize_t len = recvfrom(p->fd, pkt_data(in), PKT_DATA_MAX, 0, (struct sockaddr *)&from,
				       &from_len);
		if (len < 0) {
			pkt_put(&pool, in);
			break;
		}
		in->len = (uint32_t)len;
		in->addr = addr_from_sockaddr((struct sockaddr *)&from);
		engine_on_datagram(p->engine, in, loop_now_ms());
	}
	settle(p);
}

static void on_link_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	struct player *p = arg;

	engine_on_hub_up(p->engine, exporter, remote, loop_now_ms());
	settle(p);
}

/* Whether it tells of another member than the one that all of them talk to. */
static bool tells_of_others(const uint8_t *msg, size_t len)
{
	Link__ToNode *m = link__to_node__unpack(NULL, len, msg);
	bool others = m && m->body_case == LINK__TO_NODE__BODY_PEER && m->peer->ik.len == sizeof target_ik &&
		      memcmp(m->peer->ik.data, target_ik, sizeof target_ik) != 0;

	if (m)
		link__to_node__free_unpacked(m, NULL);
	return others;
}

static void on_link_message(void *arg, const uint8_t *msg, size_t len)
{
	struct player *p = arg;

	if (target_known && tells_of_others(msg, len))
		return;
	engine_on_hub_message(p->engine, msg, len, loop_now_ms());
	find_target(p);
	settle(p);
}

static void on_link_down(void *arg, int error, const char *text)
{
	struct player *p = arg;

	fprintf(stderr, "crowd: player %td: %s (%d)\n", p - players, text, error);
	engine_on_hub_down(p->engine, loop_now_ms());
	settle(p);
}

static void open_socket(struct player *p, struct addr *at)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(at, &sa);

	p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&sa, len) != 0 ||
	    getsockname(p->fd, (struct sockaddr *)&sa, &len) != 0)
		die("no UDP socket: are there enough file descriptors (ulimit -n)?");
	*at = addr_from_sockaddr((struct sockaddr *)&sa);
}

static void start(struct player *p, unsigned number)
{
	static const struct hub_link_handler handler = { on_link_up, on_link_message, on_link_down };
	struct engine_config config = common;
	uint64_t now = loop_now_ms();
	struct addr at = host;

	snprintf(config.name, sizeof config.name, "player%u", number);
	rng_fill(&rng, config.ik_seed, sizeof config.ik_seed);
	rng_fill(&rng, config.wk_sk, sizeof config.wk_sk);
	open_socket(p, &at);
	config.udp_port = at.port;
	p->engine = malloc(sizeof *p->engine);
	if (!p->engine || engine_init(p->engine, &config, now, unix_ns()) != 0)
		die("out of memory");
	engine_on_hosts(p->engine, &host, 1, false, now);
	p->wall_ms = now + WALL_MS;
	p->timer = loop_timer_create(loop, on_due, p);
	p->watch = loop_fd_create(loop, p->fd, on_readable, p);
	if (!p->timer || !p->watch || loop_fd_want(p->watch, LOOP_READ) != 0 ||
	    hub_link_create(&p->link, loop, &hub, &rng, &handler, p) != 0)
		die("cannot start a player");
	settle(p);
}

/* The first one finds out who it is that all talk to. */
static void start_more(void)
{
	while (started < wanted && started - talking < (target_known ? AT_ONCE : 1)) {
		started++;
		start(&players[started - 1], started);
	}
}

static void read_network(const char *name, const char *path)
{
	char secret[256] = { 0 };
	FILE *f = fopen(path, "r");

	if (!f || !fgets(secret, sizeof secret, f))
		die("cannot read the secret");
	fclose(f);
	secret[strcspn(secret, "\n")] = 0;
	if (network_from_secret(&common.net, name, secret, strlen(secret)) != 0)
		die("no such network");
}

int main(int argc, char **argv)
{
	char *slash = argc == 8 ? strchr(argv[5], '/') : NULL;

	if (!slash)
		die("usage: crowd HUB_URL NETWORK SECRET_FILE ADDRESS PREFIX/BITS NODE COUNT");
	*slash = 0;
	target = argv[6];
	wanted = (unsigned)strtoul(argv[7], NULL, 10);
	common = (struct engine_config) { .have_ip4 = true, .pool = &pool };
	common.ip4_bits = (unsigned)strtoul(slash + 1, NULL, 10);
	if (crypto_init() != 0 || hub_url_parse(&hub, argv[1]) != 0 || addr_parse(&host, argv[4], 0) != 0 ||
	    addr_parse(&common.ip4_prefix, argv[5], 0) != 0 || !wanted || wanted > PLAYERS_MAX)
		die("an argument makes no sense");
	log_set_level(LOG_LVL_WARN);
	read_network(argv[2], argv[3]);
	rng_init_system(&rng);
	loop = loop_create();
	if (!loop || pkt_pool_init(&pool, PACKETS) != 0)
		die("out of memory");
	start_more();
	loop_run(loop);
	return 0;
}
