/* A transport address (IP and port), in one canonical form: an IPv4-mapped IPv6 address (::ffff:a.b.c.d) never
 * exists as such, every constructor turns it into IPv4. So two equal addresses are equal bytes. */
#ifndef P2PD_CORE_ADDR_H
#define P2PD_CORE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;
struct sockaddr_storage;

enum addr_family { ADDR_NONE = 0, ADDR_V4 = 4, ADDR_V6 = 6 };
enum { ADDR_TEXT_MAX = 64 }; /* "[v6%scope]:port" and its NUL */

struct addr {
	uint8_t ip[16];	  /* IPv4 in the first 4 bytes, the rest zero */
	uint32_t scope;	  /* interface index of a link-local IPv6 address, else 0 */
	uint16_t port;	  /* host order */
	uint8_t family;	  /* enum addr_family */
	uint8_t reserved; /* always 0 */
};

/* `ip` is 4 bytes for ADDR_V4, 16 for ADDR_V6. */
struct addr addr_from_ip(enum addr_family family, const uint8_t *ip, uint16_t port);
/* ADDR_NONE for a family other than IPv4 and IPv6. */
struct addr addr_from_sockaddr(const struct sockaddr *sa);
/* Returns the length to pass to the system. */
unsigned addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);

/* "1.2.3.4:5", "[2001:db8::1]:5", "1.2.3.4", "2001:db8::1"; the port is `default_port` when the text has none.
 * Literal addresses only, no names. 0 or -EINVAL. */
int addr_parse(struct addr *out, const char *text, uint16_t default_port);
/* "ip:port"; without the port when it is 0. Returns `out`. */
const char *addr_format(const struct addr *a, char out[static ADDR_TEXT_MAX]);
/* The IP alone. Returns `out`. */
const char *addr_format_ip(const struct addr *a, char out[static ADDR_TEXT_MAX]);

bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_same_ip(const struct addr *a, const struct addr *b);
int addr_compare(const struct addr *a, const struct addr *b);
uint32_t addr_hash(const struct addr *a, uint32_t seed);

/* Loopback, unspecified, multicast and broadcast addresses: never a place to send to. Port 0 counts too. */
bool addr_is_unusable(const struct addr *a);
/* 0.0.0.0 or :: */
bool addr_is_any(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
/* RFC 1918, RFC 6598, RFC 4193 and link-local. */
bool addr_is_private(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
/* Whether one who is at `by` may name `a` as a place to send to: nobody may name what is unusable, one outside nothing
 * inside. Only one on loopback may name loopback, only one there or in a private network a private address. */
bool addr_may_name(const struct addr *by, const struct addr *a);
/* True if the first `bits` of the two addresses of one family are equal. */
bool addr_in_prefix(const struct addr *a, const struct addr *prefix, unsigned bits);

/* Wire form: family(1: 0, 4 or 6) port(LE16) ip(16). */
enum { ADDR_WIRE_LEN = 19 };
struct reader;
struct writer;
void addr_write(struct writer *w, const struct addr *a);
/* Sets r->bad on an unknown family; canonicalises. */
struct addr addr_read(struct reader *r);

#endif
