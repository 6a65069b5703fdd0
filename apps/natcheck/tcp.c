#include "apps/natcheck/tcp.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

bool tcp_plan(struct tcp *t, const char *host, const char *port)
{
	int h = snprintf(t->host, sizeof t->host, "%s", host),
	    p = snprintf(t->port, sizeof t->port, "%s", port);

	t->answer = DISCOVER_UNKNOWN;
	return h < TCP_HOST_MAX && p < TCP_PORT_MAX;
}

static bool connects(const struct addrinfo *ai)
{
	const struct timeval limit = { .tv_sec = TCP_LIMIT_S };
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect(2) heeds it */
	bool ok = !connect(fd, ai->ai_addr, ai->ai_addrlen);
	close(fd);
	return ok;
}

void tcp_try(void *arg)
{
	struct tcp *t = arg;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;

	if (getaddrinfo(t->host, t->port, &hints, &found))
		return;
	t->answer = DISCOVER_NO;
	for (struct addrinfo *ai = found; ai && t->answer == DISCOVER_NO; ai = ai->ai_next)
		t->answer = connects(ai) ? DISCOVER_YES : DISCOVER_NO;
	freeaddrinfo(found);
}
