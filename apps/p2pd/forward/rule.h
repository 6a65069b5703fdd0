/* A forwarding rule: what a person asked for, checked; as JSON and back. Pure.
 *
 * As JSON, in the local API, in `portmap show`, in the file that keeps them and (without "state" and what follows it) in what a
 * person asks for; only "local" is needed there:
 *   forward_id "0198...": UUIDv7     name "till-lyon-3306"          local "192.168.50.10:3306", "...:80,443,9000-9099"
 *   proto "tcp|udp|both"             scope "org|nodes|public"       to ["NODE", ...]         via "GATEWAY"
 *   public_port N (0: the local one) domain "shop.example.org"
 *   allow ["198.51.100.0/24", "token", ...]: "token" is who was admitted by one
 *   max_conn N  idle_s N  rate N (bytes a second, 0: none)          expires_at UNIX-SECONDS (0: never)
 *   source_ip "kernel|proxy-v2|nat"  paused true|false              created_at, changed_at UNIX-SECONDS
 *   declared true: by p2pd.yaml, which keeps it so; left out of all others
 *   state "active|pending|paused|expired|failed|removed"            why "": what it waits for, or why it failed
 *   mode "kernel|user"               mode_why "": why not the kernel
 *   addresses ["203.0.113.5:8443/tcp", ...]: where visitors go      removed_at UNIX-SECONDS, of a tombstone
 *   conflict "0198...": the rule, of another member perhaps, that has its port at the gateway; only where there is one */
#ifndef P2PD_APPS_P2PD_FORWARD_RULE_H
#define P2PD_APPS_P2PD_FORWARD_RULE_H

#include "core/cert.h"
#include "core/forward.h"

struct json_t;

enum {
	RULE_RANGES_MAX = 16,
	RULE_PORTS_MAX = 4096, /* of a rule, all ranges together */
	RULE_TO_MAX = 32,
	RULE_ALLOW_MAX = 32,
	RULE_NAME = 64,
	RULE_DOMAIN = 254,
	RULE_ID_TEXT = 37,
	RULE_WHY = 240,
	RULE_LOCAL = 320, /* the text of address and ports, and its NUL */
	RULE_PREFIX = 48, /* that of a prefix */
	RULE_LINKS_MAX = 32,
	RULE_OWN_PORT = 7781, /* of the overlay address, LEASE_PORT: never forwarded */
	RULE_CONN_MAX = 1000000,
	RULE_IDLE_MAX_S = 7 * 86400,
	RULE_RATE_MIN = 1000, /* bytes a second: less lets no packet through */
};
#define RULE_RATE_MAX 12500000000ull /* 100 Gbit/s: what the kernel can limit (tun/nat_change.c) */

enum rule_scope { RULE_ORG, RULE_NODES, RULE_PUBLIC };
enum rule_source { RULE_KERNEL, RULE_PROXY_V2, RULE_NAT };

struct rule_range {
	uint16_t first, count;
};

struct rule {
	uint8_t id[FORWARD_ID];
	char name[RULE_NAME];
	struct addr local; /* port 0 */
	struct rule_range ranges[RULE_RANGES_MAX];
	unsigned range_count;
	bool tcp, udp;
	enum rule_scope scope;
	char to[RULE_TO_MAX][CERT_NAME_MAX + 1]; /* and `via`: see rule_is_node() */
	unsigned to_count;
	char via[CERT_NAME_MAX + 1];
	uint16_t
		public_port; /* of the first range's first; the others keep their distance to it. 0: the same numbers */
	char domain[RULE_DOMAIN];
	struct forward_prefix allow[RULE_ALLOW_MAX];
	unsigned allow_count;
	bool allow_token; /* "token" in the allow-list: those admitted by one, too; see rule_restricted() */
	uint32_t max_conn, idle_s;
	uint64_t rate;						 /* bytes a second */
	uint64_t expires_at, created_at, changed_at, removed_at; /* Unix seconds; 0: not */
	enum rule_source source_ip;
	bool paused, declared;
};

/* Where a rule's owner is: what rule_check_place() has to know of it. */
struct rule_place {
	const char *name;	      /* of the owner; NULL: not known */
	struct addr ip6;	      /* its overlay address */
	struct addr prefix4, prefix6; /* the overlay's */
	unsigned bits4, bits6;
	struct forward_prefix links[RULE_LINKS_MAX]; /* networks that an interface of this host is in */
	unsigned link_count;
};

/* Whether only those in the allow-list may come; else whoever gets to the port. */
static inline bool rule_restricted(const struct rule *r)
{
	return r->allow_count || r->allow_token;
}

/* What must hold for any rule: RULE_WHY says what does not, in words for who typed it. 0 or -EINVAL. */
int rule_check(const struct rule *r, char why[static RULE_WHY]);
/* The part of it that is about max_conn, idle_s and rate. */
int rule_check_limits(const struct rule *r, char why[static RULE_WHY]);
/* The same of what a person must say twice (--force): -EPERM for a public rule that lets in everybody. To be asked when
 * a rule is made, and when a change makes it so. */
int rule_check_open(const struct rule *r, char why[static RULE_WHY]);
/* Of the target, before packets are sent there: not in the overlay, and if it is no private address, in a network of this
 * host, so that no rule makes it a proxy to the internet. Of the gateway: another node than the owner. 0 or -EINVAL. */
int rule_check_place(const struct rule *r, const struct rule_place *place, char why[static RULE_WHY]);
/* The defaults. */
void rule_init(struct rule *r);
/* Reads what `spec` has over what is in `r` (so rule_init() first, or the rule to be changed); unknown keys and wrong
 * types are errors, and so is a forward_id other than that of `r`, if it has one. Checks nothing but limits. 0 or -EINVAL, then `r`
 * is spoilt. */
int rule_read(struct rule *r, const struct json_t *spec, char why[static RULE_WHY]);
/* All but state, why, mode, mode_why, addresses. A new reference, NULL without memory. */
struct json_t *rule_json(const struct rule *r);
/* "IP:PORT[-PORT][,PORT...]", IPv6 in brackets. 0 or -EINVAL with `why`. */
int rule_read_local(struct rule *r, const char *text, char why[static RULE_WHY]);
const char *rule_local_text(const struct rule *r, char out[static RULE_LOCAL]);
/* "198.51.100.0/24", or one address. 0 or -EINVAL with `why`: host bits that are not zero, IPv4-mapped. */
int rule_read_prefix(struct forward_prefix *out, const char *text, char why[static RULE_WHY]);
/* "2027-01-31", "2027-01-31T18:00:00Z" as Unix seconds: nothing else, and only days that there are. 0 or -EINVAL. */
int rule_read_date(uint64_t *unix_s, const char *text);
const char *rule_prefix_text(const struct forward_prefix *p, char out[static RULE_PREFIX]);
/* Words that stand in the local API where a rule's name does: no rule is called so. */
bool rule_is_reserved(const char *name);
/* The port that visitors use for the first of range `i`. */
uint16_t rule_public_port(const struct rule *r, unsigned i);
/* Whether both claim a port at the same place: the owner's overlay address, or one gateway. */
bool rule_overlap(const struct rule *a, const struct rule *b);
const char *rule_scope_name(enum rule_scope scope);
const char *rule_source_name(enum rule_source source);
const char *rule_proto_name(const struct rule *r);
const char *rule_id_text(const uint8_t id[static FORWARD_ID], char out[static RULE_ID_TEXT]);
/* Whether a text can stand for a member: the name that it gives itself, or its overlay IPv6 address, which follows from its
 * key, so that no other can have it. */
bool rule_is_node(const char *text);
/* Whether it stands for the member of that name and that overlay IPv6 address. */
bool rule_node_is(const char *text, const char *name, const struct addr *ip6);
/* 0 or -EINVAL. */
int rule_id_parse(uint8_t id[static FORWARD_ID], const char *text);
/* Writes `why`, with what could steer a terminal or is no ASCII made '?', for it may quote anything. Returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int rule_refuse(char why[static RULE_WHY], const char *fmt, ...);

#endif
