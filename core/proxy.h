/* Through an HTTP proxy by CONNECT (RFC 9110 section 9.3.6): a proxy's URL, the request, the head of the answer, and which
 * hosts do without (NO_PROXY). Pure. */
#ifndef P2PD_CORE_PROXY_H
#define P2PD_CORE_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PROXY_HOST_MAX = 253,	     /* RFC 1035 section 2.3.4 */
	PROXY_CREDENTIALS_MAX = 255, /* "user:password" */
	PROXY_TEXT = 7 + 2 + PROXY_HOST_MAX + 6 + 1,
	PROXY_REQUEST_MAX = 1280,
	PROXY_ANSWER_MAX = 16384, /* its head; what lies behind is not looked at */
	PROXY_URL_MAX = 1023,	  /* with percent signs */
};

struct proxy {
	char host[PROXY_HOST_MAX + 1]; /* a name or a literal address, IPv6 without its brackets */
	uint16_t port;
	char credentials[PROXY_CREDENTIALS_MAX + 1]; /* "user:password", "" without */
};

/* [http://][USER[:PASSWORD]@]HOST[:PORT][/], where user and password may hold %XX; the port is 80 when left out. 0,
 * -EPROTONOSUPPORT for another scheme (https://, socks5:// ...), or -EINVAL. */
int proxy_parse(struct proxy *out, const char *text);
/* Without user and password, so that it can be shown. Returns `out`. */
const char *proxy_format(const struct proxy *p, char out[static PROXY_TEXT]);
/* True if this host is not to be reached by a proxy, after the list in the environment: names with their subdomains
 * (".example.com" is the same as "example.com"), addresses, prefixes (10.0.0.0/8), each with :PORT if wanted, or "*";
 * between commas or spaces. NULL is an empty one. This machine itself never is. */
bool proxy_is_bypassed(const char *no_proxy, const char *host, uint16_t port);

/* Asks for a connection to host:port, with basic authentication (RFC 7617) if there are credentials. Its length; 0 when
 * the host is too long. */
size_t proxy_request(const struct proxy *p, const char *host, uint16_t port,
		     char out[static PROXY_REQUEST_MAX]);

/* The answer so far; zeroed memory is its beginning. */
struct proxy_answer {
	int status;
	size_t len, line_len; /* of all, and of this line */
	bool in_headers, line_is_blank;
};

/* 1 when the head is complete: `status` tells, and `*used` bytes of these belonged to it; 0: more is needed; -EBADMSG:
 * that is no HTTP, or has no end. */
int proxy_answer_feed(struct proxy_answer *a, const void *data, size_t len, size_t *used);

#endif
