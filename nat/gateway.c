#include "nat/gateway.h"

#include <errno.h>
#include <poll.h>

#include "core/loop.h"

const char *gateway_protocol_name(enum gateway_protocol protocol)
{
	static const char *const names[GATEWAY_PROTOCOLS] = { "pcp", "natpmp", "upnp" };

	return names[protocol];
}

int gateway_wait(const struct gateway_limit *limit, int fd, short events, uint64_t until_ms)
{
	struct pollfd fds[] = { { .fd = limit->cancel_fd, .events = POLLIN },
				{ .fd = fd, .events = events } };
	uint64_t end = until_ms < limit->deadline_ms ? until_ms : limit->deadline_ms;

	for (;;) {
		uint64_t now = loop_now_ms();
		int n = poll(fds, 2, now < end ? (int)(end - now) : 0);
		if (n > 0 && fds[0].revents)
			return -ECANCELED;
		if (n > 0)
			return now < end ? 0 : -ETIMEDOUT;
		if (n == 0 || errno != EINTR)
			return -ETIMEDOUT;
	}
}

bool gateway_is_on_lan(const struct lan *lan, const struct addr *a)
{
	return addr_is_private(a) && !addr_is_loopback(a) && a->family == lan->local.family &&
	       !addr_same_ip(a, &lan->local) && addr_in_prefix(a, &lan->local, lan->bits);
}
