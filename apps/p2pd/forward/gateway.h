/* The gateway's side: which leases it has given to whom, within what its administrator allows; kept on disk before the
 * owner hears of it. No sockets. */
#ifndef P2PD_APPS_P2PD_FORWARD_GATEWAY_H
#define P2PD_APPS_P2PD_FORWARD_GATEWAY_H

#include "apps/p2pd/forward/lease.h"
#include "apps/p2pd/forward/pass.h"

#define GATEWAY_FILE "gateway.json"

enum {
	GATEWAY_LEASES_MAX = 1024,
	GATEWAY_OWNER_MAX = 256, /* leases of one owner */
	GATEWAY_PORT_SETS = 16,
	GATEWAY_PORTS_DEFAULT = 4096,
	GATEWAY_DOOR_PORT = 7443,
	GATEWAY_PATH_MAX = 256,
	GATEWAY_PORT_BYTES = 65536 / 8,
};

/* What the gateway's administrator decided: `p2pd up --gateway ADDR`, `gateway:` in p2pd.yaml. */
struct gateway_config {
	struct addr public4, public6; /* ADDR_NONE: not by that family */
	struct rule_range
		ports[GATEWAY_PORT_SETS]; /* that owners may have; none: 1024 to 65535, and 80 and 443 */
	unsigned port_count;
	char owners[RULE_TO_MAX]
		   [CERT_NAME_MAX + 1]; /* who may have some (rule_is_node()); none: all members */
	unsigned owner_count;
	uint64_t max_rate;  /* bytes a second of one rule; 0: no limit */
	uint32_t max_conn;  /* of one rule; 0: no limit */
	uint32_t max_ports; /* of one owner, all rules together; 0: GATEWAY_PORTS_DEFAULT */
	/* The door (door.h), open while a rule takes tokens: its port, 0: GATEWAY_DOOR_PORT, which no rule gets; its
	 * certificate, "": one of our own; the name that links have, "": the address. */
	uint16_t door_port;
	char door_cert[GATEWAY_PATH_MAX], door_key[GATEWAY_PATH_MAX], door_name[RULE_DOMAIN];
};

struct gateway_owner {
	uint8_t ik[32];
	char name[CERT_NAME_MAX + 1];
	bool sole;	      /* nobody else in the network says that this is its name */
	struct addr ip4, ip6; /* overlay, ports 0; ADDR_NONE: none of that family */
};

/* What a gateway asks of its machine, and tells it. */
struct gateway_host {
	/* Which ports programs listen on that are not p2pd: adds bit port % 8 of byte port / 8. Asked once for a lease whose
	 * ports are to be found. */
	void (*ports_taken)(void *arg, enum forward_proto proto, uint8_t set[static GATEWAY_PORT_BYTES]);
	/* Whether another program has it, even if it does not listen; costs system calls, so it is asked only for what no
	 * lease has and is about to be given. */
	bool (*port_in_use)(void *arg, enum forward_proto proto, uint16_t port);
	/* A lease has ended that its owner did not give back. Do not call the gateway from there. */
	void (*ended)(void *arg, const struct lease_request *r, const char *why);
	void *arg;
};

struct gateway; /* opaque */

/* Reads what it gave before the last end; of a spoilt file the log says where it was put aside, and the owners will ask
 * again. `dir` as in book.h. `host` is copied. 0 or a negative errno. */
int gateway_open(struct gateway **out, int dir, const struct gateway_config *config,
		 const struct gateway_host *host);
void gateway_close(struct gateway *g); /* NULL is allowed */
/* The administrator changed it: leases that are not allowed any more end. True if something changed. */
bool gateway_configure(struct gateway *g, const struct gateway_config *config);
/* 0 and *grant; or, with `why` for the owner's person: -EACCES (not allowed here), -EADDRINUSE (`conflict` is the id of the
 * lease that has it, zero for another program; or whose tunnel ports meet these), -ENOSPC, or another negative errno: it
 * cannot be kept. `kernel_why`: why the kernel's NAT cannot be used here, "" if it can. The visitors that gateway_admit() added are those in r->allow from
 * then on: the owner knows them all, and who is to go. */
int gateway_lease(struct gateway *g, const struct gateway_owner *owner, const struct lease_request *r,
		  const char *kernel_why, uint64_t unix_s, struct lease_grant *grant,
		  uint8_t conflict[static FORWARD_ID], char why[static RULE_WHY]);
/* The kernel did not take this lease: sockets carry it until its owner asks for something else. */
void gateway_kernel_refused(struct gateway *g, const uint8_t id[static FORWARD_ID], const char *why);
/* What its owner has now. False: there is no such lease. */
bool gateway_granted(const struct gateway *g, const uint8_t id[static FORWARD_ID], struct lease_grant *grant);
/* 0, or -ENOENT: that owner has no such lease. */
int gateway_release(struct gateway *g, const uint8_t owner[static 32], const uint8_t id[static FORWARD_ID]);
/* A visitor may come until then. On disk when it returns 0; -ENOENT, -ENOSPC, ... */
int gateway_admit(struct gateway *g, const uint8_t id[static FORWARD_ID], const struct addr *visitor,
		  uint64_t until_unix_s);
/* Ends what has run out. True if something changed. */
bool gateway_tick(struct gateway *g, uint64_t unix_s);
uint64_t gateway_next_unix_s(const struct gateway *g); /* when to tick; UINT64_MAX: never */

/* Another number whenever what follows may have changed. */
uint64_t gateway_version(const struct gateway *g);
/* What is to be carried now, and let through. Count; at most `cap` are written. With a kernel lease, visitors of the
 * service's family come by the kernel, those of the other by our sockets: always to the owner's overlay address of the
 * visitor's family (of the other one if it has none). */
size_t gateway_entries(const struct gateway *g, struct forward_entry *kernel, size_t cap);
size_t gateway_user_entries(const struct gateway *g, struct forward_entry *user, size_t cap);
size_t gateway_passes(const struct gateway *g, struct pass_entry *out, size_t cap);
/* The owner of a lease; NULL: there is no such lease. */
const struct gateway_owner *gateway_owner(const struct gateway *g, const uint8_t id[static FORWARD_ID]);
/* Whether any lease takes tokens, so that the door is to be open. */
bool gateway_takes_tokens(const struct gateway *g);

#endif
