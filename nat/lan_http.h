/* HTTP as devices on a LAN speak it: one request, one answer, to a literal address. The answer is read into a buffer
 * of the caller's and cut off at its end; no redirect is followed. */
#ifndef P2PD_NAT_LAN_HTTP_H
#define P2PD_NAT_LAN_HTTP_H

#include "nat/gateway.h"

enum { LAN_HTTP_PATH_MAX = 256 };

struct lan_http_url {
	struct addr addr;
	char path[LAN_HTTP_PATH_MAX]; /* printable, begins with a slash */
};

struct lan_http_answer {
	unsigned status;
	char *body; /* in the buffer, not terminated */
	size_t len;
};

/* "http://1.2.3.4:5/path" with a literal address. 0 or -EINVAL. Pure. */
int lan_http_parse_url(struct lan_http_url *out, const char *url);
/* The answer in `buf`, whose body is brought into one piece there. `closed`: no more will come. 0, -EAGAIN (it goes
 * on), or -EBADMSG. Pure. */
int lan_http_parse(struct lan_http_answer *out, char *buf, size_t len, bool closed);
/* Sends the request from lan.local and reads the answer. 0, -EBADMSG, -EFBIG, -ETIMEDOUT, -ECANCELED or another
 * negative errno. */
int lan_http_exchange(struct lan_http_answer *out, const struct lan *lan, const struct addr *to,
		      const char *request, const struct gateway_limit *limit, char *buf, size_t cap);

#endif
