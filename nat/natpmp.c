#include "nat/natpmp.h"

#include <errno.h>
#include <natpmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "core/bytes.h"
#include "core/loop.h"

/* RFC 6886 sections 3.2, 3.3 and 3.5. */
enum { RESPONSE = 0x80, ADDRESS_LEN = 12, MAPPING_LEN = 16, ERROR_LEN = 8, UNSUPPORTED_VERSION = 1 };

bool natpmp_is_answer(const uint8_t *msg, size_t len, unsigned opcode)
{
	if (len < ERROR_LEN || len > NATPMP_ANSWER_MAX)
		return false;
	unsigned result = load_be16(msg + 2);
	if (result == UNSUPPORTED_VERSION)
		return true;
	if (msg[0] != 0 || msg[1] != (RESPONSE | opcode))
		return false;
	return result || len == (opcode == NATPMP_RESPTYPE_PUBLICADDRESS ? ADDRESS_LEN : MAPPING_LEN);
}

bool natpmp_is_announcement(const uint8_t *msg, size_t len, uint32_t *epoch_s, struct addr *external)
{
	if (len != ADDRESS_LEN || msg[0] != 0 || msg[1] != RESPONSE || load_be16(msg + 2))
		return false;
	*epoch_s = load_be32(msg + 4);
	*external = addr_from_ip(ADDR_V4, msg + 8, 0);
	return true;
}

/* Throws away what libnatpmp must not see. True if an answer is left to be read. */
static bool answer_waits(int fd, unsigned opcode)
{
	uint8_t msg[NATPMP_ANSWER_MAX + 1];
	ssize_t n = recv(fd, msg, sizeof msg, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 || natpmp_is_answer(msg, (size_t)n, opcode))
		return true;
	recv(fd, msg, sizeof msg, MSG_DONTWAIT);
	return false;
}

static int error_of(int rc, const natpmpresp_t *answer, struct gateway_result *out)
{
	switch (rc) {
	case 0: return 0;
	case NATPMP_ERR_NOTAUTHORIZED:
	case NATPMP_ERR_NETWORKFAILURE:
	case NATPMP_ERR_OUTOFRESOURCES:
	case NATPMP_ERR_UNDEFINEDERROR: out->code = answer->resultcode; return -EPERM;
	default: return -ENOENT;
	}
}

/* Until the answer to the request that was just sent. */
static int wait_for_answer(natpmp_t *n, unsigned opcode, const struct gateway_limit *limit,
			   natpmpresp_t *answer, struct gateway_result *out)
{
	for (;;) {
		struct timeval left = { 0 };
		uint64_t now = loop_now_ms();

		getnatpmprequesttimeout(n, &left);
		int64_t wait = (int64_t)left.tv_sec * 1000 + left.tv_usec / 1000 + 1;
		int rc = gateway_wait(limit, n->s, POLLIN, now + (wait > 0 ? (uint64_t)wait : 0));
		if (rc == -ECANCELED)
			return rc;
		if (loop_now_ms() >= limit->deadline_ms)
			return -ENOENT;
		if (rc == 0 && !answer_waits(n->s, opcode))
			continue;
		rc = readnatpmpresponseorretry(n, answer);
		if (rc != NATPMP_TRYAGAIN)
			return error_of(rc, answer, out);
	}
}

static int ask_address(natpmp_t *n, const struct gateway_limit *limit, struct gateway_result *out)
{
	natpmpresp_t answer = { 0 };

	if (sendpublicaddressrequest(n) < 0)
		return -ENOENT;
	int ret = wait_for_answer(n, NATPMP_RESPTYPE_PUBLICADDRESS, limit, &answer, out);
	if (!ret)
		out->external = addr_from_ip(ADDR_V4, (const uint8_t *)&answer.pnu.publicaddress.addr, 0);
	return ret;
}

static int ask_mapping(natpmp_t *n, const struct gateway_job *job, const struct gateway_limit *limit,
		       struct gateway_result *out)
{
	uint16_t port = job->unmap ? 0 : job->suggested_port;
	natpmpresp_t answer = { 0 };

	if (sendnewportmappingrequest(n, NATPMP_PROTOCOL_UDP, job->internal_port, port,
				      job->unmap ? 0 : job->lifetime_s) < 0)
		return -ENOENT;
	int ret = wait_for_answer(n, NATPMP_RESPTYPE_UDPPORTMAPPING, limit, &answer, out);
	if (ret)
		return ret;
	out->has_epoch = true;
	out->epoch_s = answer.epoch;
	out->external.port = answer.pnu.newportmapping.mappedpublicport;
	out->lifetime_s = answer.pnu.newportmapping.lifetime;
	if (job->unmap)
		return 0;
	return answer.pnu.newportmapping.privateport == job->internal_port && out->lifetime_s &&
			       !addr_is_unusable(&out->external)
		       ? 0
		       : -EBADMSG;
}

void natpmp_run(const struct gateway_job *job, const struct gateway_limit *limit, struct gateway_result *out)
{
	natpmp_t n;
	in_addr_t gateway;

	*out = (struct gateway_result) { .error = -EINVAL };
	if (job->lan.gateway.family != ADDR_V4)
		return;
	memcpy(&gateway, job->lan.gateway.ip, sizeof gateway);
	out->error = -ENOENT;
	if (initnatpmp(&n, 1, gateway) == 0) {
		int ret = job->unmap ? 0 : ask_address(&n, limit, out);
		out->error = ret ? ret : ask_mapping(&n, job, limit, out);
	}
	if (n.s >= 0)
		closenatpmp(&n);
}
