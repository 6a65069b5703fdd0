/* What natcheck finds out: asks STUN servers from one socket per address family, and judges by their answers. */
#ifndef P2PD_APPS_NATCHECK_CHECK_H
#define P2PD_APPS_NATCHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nat/classify.h"
#include "nat/stun_client.h"

enum { CHECK_MAX_SERVERS = 16 };

enum check_answer {
	CHECK_UNREACHABLE, /* no route, nothing was sent */
	CHECK_SILENT,
	CHECK_STRANGE, /* something came from there that is no answer to our request */
	CHECK_ANSWERED,
};

struct check_server {
	struct stun_client client; /* client.server is where it is */
	struct addr local;	   /* ours towards it; ADDR_NONE when it is unreachable */
	enum check_answer answer;
};

enum check_udp {
	CHECK_UDP_UNKNOWN, /* not tried, or only strange answers */
	CHECK_UDP_OK,
	CHECK_UDP_BLOCKED,
};

/* What the servers of one address family tell. */
struct check_view {
	enum check_udp udp;
	bool tried;
	struct classify_result nat;
	struct addr local, mapped; /* of the first answer */
};

enum check_verdict { CHECK_EASY, CHECK_HARD, CHECK_BLOCKED, CHECK_INCONCLUSIVE };

struct check {
	struct check_server servers[CHECK_MAX_SERVERS];
	size_t count;
	struct check_view ip4, ip6;
};

/* Adds all addresses of a host's name, without doubles and up to the limit; those that cannot be reached as well.
 * `family` restricts them; ADDR_NONE for both. 0, or what getaddrinfo returned (gai_strerror). */
int check_add_server(struct check *c, const char *host, const char *port, enum addr_family family);
/* Asks all servers at once and judges. Takes `timeout_ms` at most, less if all answer. 0 or a negative errno. */
int check_run(struct check *c, uint32_t timeout_ms, struct rng *rng);
/* The view that the verdict is about: IPv4, unless only IPv6 works or was asked for. */
const struct check_view *check_main_view(const struct check *c);
enum check_verdict check_verdict(const struct check *c);

#endif
