/* Does a TCP connection come about, where UDP may not? */
#ifndef P2PD_APPS_NATCHECK_TCP_H
#define P2PD_APPS_NATCHECK_TCP_H

#include <stdbool.h>

#include "nat/discover.h"

enum { TCP_HOST_MAX = 256, TCP_PORT_MAX = 8, TCP_LIMIT_S = 2 };

struct tcp {
	char host[TCP_HOST_MAX], port[TCP_PORT_MAX];
	enum discover_answer answer; /* unknown: no such name */
};

/* False if the texts are too long. */
bool tcp_plan(struct tcp *t, const char *host, const char *port);
/* Blocks; each address of the name may take TCP_LIMIT_S. `arg` is a struct tcp. */
void tcp_try(void *arg);

#endif
