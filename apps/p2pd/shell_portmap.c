/* Port mappings: does on worker threads what nat/portmap wants done, and tells the engine what came of it. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/fail.h"
#include "core/log.h"
#include "nat/natpmp.h"
#include "nat/portmap.h"
#include "nat/portmap_run.h"
#include "tun/route.h"

enum {
	RELEASE_MS = 1000, /* for all mappings together, when the node ends */
	RELEASE_ONE_MS = 400,
	ANNOUNCEMENTS = 16, /* a wake-up */
};

struct shell_portmap {
	struct portmap map;
	struct upnp_igd igd;   /* of the UPnP job that runs, else ours */
	int cancel_fd;	       /* readable: jobs end */
	int announce_fd;       /* -1: no announcements are heard */
	struct loop_fd *watch; /* of announce_fd */
	struct addr seen;      /* the reflexive address by which double NAT was judged */
};

/* A job under way: the worker's until it is done. */
struct task {
	struct shell *s;
	struct gateway_job job;
	struct gateway_limit limit;
	struct gateway_result result;
};

/* ---- Jobs */

static void tell_engine(struct shell *s, uint64_t now_ms)
{
	struct shell_portmap *p = s->portmap;
	struct portmap_view view;

	p->seen = *engine_reflexive(s->engine);
	portmap_view(&p->map, &p->seen, &view);
	engine_on_portmap(s->engine, &view, now_ms);
}

static void do_task(void *arg)
{
	struct task *t = arg;

	portmap_run(&t->s->portmap->igd, &t->job, &t->limit, &t->result);
}

static void task_done(void *arg, int error)
{
	struct task *t = arg;
	struct shell *s = t->s;
	uint64_t now = shell_now(s);

	if (error)
		t->result = (struct gateway_result) { .error = error };
	portmap_on_result(&s->portmap->map, &t->job, &t->result, now);
	free(t);
	if (s->ending)
		return;
	tell_engine(s, now);
	shell_settle(s);
}

static void start_task(struct shell *s, const struct gateway_job *job, uint64_t now_ms)
{
	const struct gateway_result failed = { .error = -ENOMEM };
	struct task *t = calloc(1, sizeof *t);

	if (t) {
		t->s = s;
		t->job = *job;
		t->limit = (struct gateway_limit) { now_ms + PORTMAP_RUN_MS, s->portmap->cancel_fd };
		if (!loop_work(s->loop, do_task, task_done, t))
			return;
	}
	free(t);
	portmap_on_result(&s->portmap->map, job, &failed, now_ms);
}

void shell_run_portmap(struct shell *s, uint64_t now_ms)
{
	struct gateway_job job;

	while (s->portmap && portmap_next(&s->portmap->map, now_ms, &job))
		start_task(s, &job, now_ms);
}

uint64_t shell_portmap_deadline(const struct shell *s)
{
	return s->portmap ? portmap_deadline(&s->portmap->map) : UINT64_MAX;
}

/* ---- What changes around us */

void shell_portmap_on_hosts(struct shell *s, uint64_t now_ms)
{
	struct lan lan4, lan6;

	if (!s->portmap)
		return;
	route_default(ADDR_V4, s->tun.ifindex, &lan4);
	route_default(ADDR_V6, s->tun.ifindex, &lan6);
	if (!udp_is_open(&s->worker.udp4))
		lan4 = (struct lan) { 0 };
	if (!udp_is_open(&s->worker.udp6))
		lan6 = (struct lan) { 0 };
	portmap_on_network(&s->portmap->map, &lan4, &lan6, now_ms);
	tell_engine(s, now_ms);
}

/* STUN's answer changed: another address outside means that the gateway made a new start. */
void shell_portmap_on_settle(struct shell *s)
{
	const struct addr *now_seen = engine_reflexive(s->engine);
	struct shell_portmap *p = s->portmap;

	if (!p || addr_same_ip(now_seen, &p->seen))
		return;
	uint64_t now = shell_now(s);
	if (p->seen.family && now_seen->family)
		portmap_on_lost(&p->map, now);
	tell_engine(s, now);
}

static void on_announcement(struct shell *s, const uint8_t *msg, size_t len)
{
	struct portmap *map = &s->portmap->map;
	struct pcp_response pcp;
	struct addr external;
	uint32_t epoch;

	if (natpmp_is_announcement(msg, len, &epoch, &external))
		portmap_on_announcement(map, GATEWAY_NATPMP, epoch, &external, shell_now(s));
	else if (!pcp_decode(&pcp, msg, len) && pcp.opcode == PCP_ANNOUNCE && pcp.result == PCP_SUCCESS)
		portmap_on_announcement(map, GATEWAY_PCP, pcp.epoch_s, NULL, shell_now(s));
}

static void on_announce_fd(void *arg, unsigned events)
{
	struct shell *s = arg;
	struct sockaddr_storage ss;
	uint8_t msg[PCP_MAX];
	(void)events;

	for (int i = 0; i < ANNOUNCEMENTS; i++) {
		socklen_t size = sizeof ss;
		ssize_t n = recvfrom(s->portmap->announce_fd, msg, sizeof msg, 0, (struct sockaddr *)&ss,
				     &size);
		if (n < 0)
			break;
		struct addr from = addr_from_sockaddr((struct sockaddr *)&ss);
		if (addr_same_ip(&from, &s->portmap->map.lan[0].gateway))
			on_announcement(s, msg, (size_t)n);
	}
	shell_settle(s);
}

/* They go to 224.0.0.1, where every host listens. Others on this machine may want to hear them, too. */
static int open_announcements(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PCP_ANNOUNCE_PORT) };
	int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    bind(fd, (struct sockaddr *)&any, sizeof any) == 0)
		return fd;
	log_info("portmap", "no announcements of the gateway will be heard: %s", strerror(errno));
	close(fd);
	return -1;
}

static void watch_announcements(struct shell *s)
{
	struct shell_portmap *p = s->portmap;

	p->announce_fd = open_announcements();
	if (p->announce_fd < 0)
		return;
	p->watch = loop_fd_create(s->loop, p->announce_fd, on_announce_fd, s);
	if (p->watch)
		loop_fd_want(p->watch, LOOP_READ);
}

/* ---- Life */

/* The same after a restart, so that the gateway knows us again as the owner. */
static void derive_nonce(const struct engine *e, uint8_t nonce[static GATEWAY_NONCE])
{
	static const char label[] = "p2pd1/pcp-nonce";
	const struct part part = { label, sizeof label - 1 };
	uint8_t hash[BLAKE2S_LEN];

	crypto_blake2s(hash, sizeof hash, e->config.wk_sk, sizeof e->config.wk_sk, &part, 1);
	memcpy(nonce, hash, GATEWAY_NONCE);
	crypto_wipe(hash, sizeof hash);
}

int shell_start_portmap(struct shell *s)
{
	uint8_t nonce[GATEWAY_NONCE];

	if (s->config.network.no_portmap)
		return 0;
	struct shell_portmap *p = calloc(1, sizeof *p);
	if (!p)
		return fail_with(EXIT_FAILED, "out of memory");
	p->announce_fd = -1;
	p->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->cancel_fd < 0) {
		free(p);
		return fail_with(EXIT_FAILED, "cannot make an eventfd: %s", strerror(errno));
	}
	s->portmap = p;
	derive_nonce(s->engine, nonce);
	portmap_init(&p->map, s->port, nonce);
	watch_announcements(s);
	shell_portmap_on_hosts(s, shell_now(s));
	return 0;
}

/* What the jobs made is given back. */
static void release(struct shell_portmap *p)
{
	uint64_t end = loop_now_ms() + RELEASE_MS, now;
	struct gateway_result result;
	struct gateway_job job;

	portmap_release(&p->map);
	while ((now = loop_now_ms()) < end && portmap_next(&p->map, now, &job)) {
		struct gateway_limit limit = { now + RELEASE_ONE_MS < end ? now + RELEASE_ONE_MS : end, -1 };
		portmap_run(&p->igd, &job, &limit, &result);
		portmap_on_result(&p->map, &job, &result, now);
		log_info("portmap", "%s %s", gateway_protocol_name(job.protocol),
			 result.error ? "does not take the mapping back, its lease will end"
				      : "took the mapping back");
	}
}

void shell_cancel_portmap(struct shell *s)
{
	if (s->portmap)
		eventfd_write(s->portmap->cancel_fd, 1);
}

void shell_close_portmap(struct shell *s)
{
	struct shell_portmap *p = s->portmap;

	if (!p)
		return;
	release(p);
	loop_fd_destroy(p->watch);
	if (p->announce_fd >= 0)
		close(p->announce_fd);
	close(p->cancel_fd);
	free(p);
	s->portmap = NULL;
}
