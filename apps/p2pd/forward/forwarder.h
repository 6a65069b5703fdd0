/* All of port forwarding of a node, joined: the book of rules, leases asked of gateways and given as one, the kernel's NAT
 * and our own sockets, what the tunnel lets through, tokens, counts and audit. On the loop, in its thread; what blocks is
 * done on work threads. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARDER_H
#define P2PD_APPS_P2PD_FORWARD_FORWARDER_H

#include "apps/p2pd/engine.h"
#include "apps/p2pd/forward/book.h"
#include "apps/p2pd/forward/gateway.h"
#include "core/loop.h"
#include "tun/device.h"

struct forwarder; /* opaque */

struct forwarder_config {
	struct loop *loop;
	struct engine *engine;
	const struct tun_device *tun;
	int state_dir;			      /* stays the caller's */
	const struct gateway_config *gateway; /* NULL: this node is none */
};

/* 0 or a negative errno. Rules of before come into effect as soon as the node has joined. */
int forwarder_start(struct forwarder **out, const struct forwarder_config *config);
void forwarder_stop(struct forwarder *f); /* NULL is allowed */
/* Who is in the network, our addresses or our joining changed. */
void forwarder_on_change(struct forwarder *f);

/* --- Asked by a person: the book's changes, brought into effect. Errors as there. */
struct book *forwarder_book(struct forwarder *f);
/* After any change of the book: brings it into effect. */
void forwarder_refresh(struct forwarder *f);

/* What has become of a rule. */
enum forwarder_state {
	FORWARDER_ACTIVE,
	FORWARDER_PENDING,
	FORWARDER_PAUSED,
	FORWARDER_EXPIRED,
	FORWARDER_FAILED,
	FORWARDER_REMOVED
};
enum { FORWARDER_ADDRESSES = RULE_RANGES_MAX * 4, FORWARDER_ADDRESS = 80 };
struct forwarder_view {
	enum forwarder_state state;
	char why[RULE_WHY];
	bool kernel;
	char mode_why[RULE_WHY];
	char addresses[FORWARDER_ADDRESSES][FORWARDER_ADDRESS];
	unsigned address_count;
	struct forward_stats stats; /* with those of before */
};
bool forwarder_look(const struct forwarder *f, const uint8_t id[static FORWARD_ID],
		    struct forwarder_view *out);

#endif
