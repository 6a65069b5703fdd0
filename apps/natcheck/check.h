/* What natcheck found out, and what follows from it. Pure values: run.c fills them, the reports tell them. */
#ifndef P2PD_APPS_NATCHECK_CHECK_H
#define P2PD_APPS_NATCHECK_CHECK_H

#include "apps/natcheck/mtu.h"
#include "apps/natcheck/nat64.h"
#include "nat/discover.h"
#include "nat/gateway.h"
#include "nat/lifetime.h"
#include "nat/portmap.h"
#include "nat/technique.h"

enum { CHECK_MAX_SERVERS = 16 };

enum check_answer {
	CHECK_UNREACHABLE, /* no route, nothing was sent */
	CHECK_SILENT,
	CHECK_STRANGE, /* something came from there that is no answer to our request */
	CHECK_ANSWERED,
};

struct check_server {
	struct addr addr;
	struct addr local; /* ours towards it; ADDR_NONE when it is unreachable */
	enum check_answer answer;
	struct addr mapped;
	uint32_t rtt_ms; /* 0: unknown */
};

enum check_udp {
	CHECK_UDP_UNKNOWN, /* not tried, or only strange answers */
	CHECK_UDP_OK,
	CHECK_UDP_BLOCKED,
};

/* A mapping that the gateway made for us, by one protocol. */
struct check_map {
	enum portmap_state state;
	struct addr external;
	enum discover_answer inbound; /* what the server sent there came in */
};

/* What is known of one address family. */
struct check_view {
	enum check_udp udp;
	bool tried;
	struct addr local, mapped; /* of the main socket */
	struct discover_result nat;
	enum discover_answer depth_known; /* no: the routers did not tell */
	struct mtu_result mtu;
	enum discover_answer alg; /* addresses inside datagrams are rewritten on the way */
	struct check_map maps[GATEWAY_PROTOCOLS];
};

enum check_verdict { CHECK_EASY, CHECK_HARD, CHECK_BLOCKED, CHECK_INCONCLUSIVE };

struct check {
	struct check_server servers[CHECK_MAX_SERVERS];
	size_t count;
	struct check_view ip4, ip6;
	struct nat64 nat64;
	enum discover_answer tcp; /* of --tcp */
	bool aged;		  /* --lifetime was asked for and has ended */
	struct lifetime lifetime;
};

/* The view that the verdict is about: IPv4, unless only IPv6 works or was asked for. */
const struct check_view *check_main_view(const struct check *c);
struct check_view *check_view_of(struct check *c, enum addr_family family);
enum check_verdict check_verdict(const struct check *c);
bool check_has_nat(const struct check_view *v);
/* Of no protocol is it known whether the gateway speaks it: they were not tried, or there was no time. */
bool check_maps_unknown(const struct check_view *v);
/* Is there a second NAT behind the gateway that maps ports for us? */
enum discover_answer check_double_nat(const struct check_view *v);
/* The address outside that a gateway mapped: one that was reached, if any. ADDR_NONE: none. */
struct addr check_external(const struct check_view *v);

#endif
