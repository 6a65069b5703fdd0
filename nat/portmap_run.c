#include "nat/portmap_run.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop.h"
#include "nat/natpmp.h"
#include "nat/pcp.h"

/* ---- PCP */

/* Connected to the gateway: the kernel drops what others send. The address that is to be mapped must be the one that the
 * request comes from (RFC 6887 section 8.3). */
static int open_pcp(const struct lan *lan)
{
	struct addr to = lan->gateway;
	struct sockaddr_storage ss;
	unsigned size = addr_to_sockaddr(&lan->local, &ss);
	int fd = socket(to.family == ADDR_V6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			0);

	if (fd < 0)
		return -errno;
	int rc = bind(fd, (struct sockaddr *)&ss, size);
	to.port = PCP_PORT;
	size = addr_to_sockaddr(&to, &ss);
	if (rc == 0)
		rc = connect(fd, (struct sockaddr *)&ss, size);
	if (rc == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* A refused packet is an answer, too: nobody listens there. */
static int ask_pcp(struct pcp_client *c, int fd, const struct gateway_limit *limit)
{
	uint8_t msg[PCP_MAX];

	while (c->state == PCP_WAITING) {
		size_t len = pcp_client_next(c, loop_now_ms(), msg);
		if (len && send(fd, msg, len, MSG_NOSIGNAL) < 0)
			return -ENOENT;
		int rc = gateway_wait(limit, fd, POLLIN, pcp_client_deadline(c));
		if (rc == -ECANCELED)
			return rc;
		if (loop_now_ms() >= limit->deadline_ms)
			return -ENOENT;
		ssize_t n = rc == 0 ? recv(fd, msg, sizeof msg, 0) : -1;
		if (rc == 0 && n < 0 && errno != EAGAIN)
			return -ENOENT;
		if (n >= 0)
			pcp_client_on_message(c, msg, (size_t)n);
	}
	return 0;
}

static int pcp_error(const struct pcp_client *c)
{
	if (c->state == PCP_DONE)
		return 0;
	if (c->response.result == PCP_UNSUPP_VERSION)
		return -ENOENT;
	return c->response.result ? -EPERM : -EBADMSG;
}

static void run_pcp(const struct gateway_job *job, const struct gateway_limit *limit,
		    struct gateway_result *out)
{
	struct pcp_map map = {
		.client = job->lan.local,
		.suggested = { .port = job->suggested_port },
		.lifetime_s = job->unmap ? 0 : job->lifetime_s,
	};
	struct pcp_client c;
	int fd = open_pcp(&job->lan);

	*out = (struct gateway_result) { .error = fd };
	if (fd < 0)
		return;
	map.client.port = job->internal_port;
	memcpy(map.nonce, job->nonce, PCP_NONCE);
	pcp_client_start(&c, &map, loop_now_ms());
	out->error = ask_pcp(&c, fd, limit);
	close(fd);
	if (out->error)
		return;
	*out = (struct gateway_result) {
		.error = pcp_error(&c),
		.code = c.response.result,
		.external = c.response.external,
		.lifetime_s = c.response.lifetime_s,
		.has_epoch = c.response.result != PCP_UNSUPP_VERSION,
		.epoch_s = c.response.epoch_s,
	};
}

void portmap_run(struct upnp_igd *igd, const struct gateway_job *job, const struct gateway_limit *limit,
		 struct gateway_result *out)
{
	*out = (struct gateway_result) { .error = -ENOENT };
	if (!job->lan.gateway.family)
		return;
	switch (job->protocol) {
	case GATEWAY_PCP: run_pcp(job, limit, out); break;
	case GATEWAY_NATPMP: natpmp_run(job, limit, out); break;
	case GATEWAY_UPNP: upnp_run(igd, job, limit, out); break;
	case GATEWAY_PROTOCOLS: break;
	}
}
