/* HTTP requests to a local daemon over its Unix socket, for command-line programs: blocking, no loop. */
#ifndef P2PD_RELAY_HTTP_CLIENT_H
#define P2PD_RELAY_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_REPLY_MAX = 16 << 20, HTTP_LINE_MAX = 65536 };

struct http_reply {
	int status;
	char *body; /* malloc'ed, terminated by a NUL; free with http_reply_free() */
	size_t len;
};

/* One request with a JSON body (NULL: none) and its answer, each wait at most `timeout_ms` (0: for ever). 0;
 * -ENOENT or -ECONNREFUSED: no daemon there; -EACCES; -ETIMEDOUT; -ECONNRESET: it ended in the middle; -EBADMSG: that is
 * no HTTP; -EFBIG; -ENAMETOOLONG. */
int http_client_request(const char *socket_path, const char *method, const char *path, const char *body,
			unsigned timeout_ms, struct http_reply *reply);
/* The same for an answer that grows: each line of a 200 is handed out as it comes, without its newline, until on_line
 * returns false, which ends the request. The body of any other status is in `reply`. -EMSGSIZE: a line over the limit. */
int http_client_lines(const char *socket_path, const char *method, const char *path, const char *body,
		      unsigned timeout_ms, bool (*on_line)(void *arg, const char *line), void *arg,
		      struct http_reply *reply);
void http_reply_free(struct http_reply *reply);

#endif
