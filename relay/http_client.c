#include "relay/http_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/http_parse.h"

struct call {
	int fd;
	struct http_parse *parse;
	struct http_reply *reply;
	bool (*on_line)(void *arg, const char *line); /* NULL: the whole body */
	void *arg;
	bool stopped;
	int error;
};

static int open_socket(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	if (strlen(path) >= sizeof sa.sun_path)
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	int rc = -errno;
	close(fd);
	return rc;
}

static int timed_out_or(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK ? -ETIMEDOUT : -error;
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return timed_out_or(errno);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_request(int fd, const char *method, const char *path, const char *body)
{
	char head[1024];
	size_t body_len = body ? strlen(body) : 0;
	int len = snprintf(head, sizeof head,
			   "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
			   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			   method, path, body_len);

	if (len < 0 || (size_t)len >= sizeof head)
		return -ENAMETOOLONG;
	int rc = send_all(fd, head, (size_t)len);
	return rc ? rc : send_all(fd, body, body_len);
}

static bool append(struct call *c, const char *data, size_t len)
{
	struct http_reply *r = c->reply;
	size_t max = c->on_line && r->status == 200 ? HTTP_LINE_MAX : HTTP_REPLY_MAX;

	if (len > max - r->len) {
		c->error = max == HTTP_LINE_MAX ? -EMSGSIZE : -EFBIG;
		return false;
	}
	char *p = realloc(r->body, r->len + len + 1);
	if (!p) {
		c->error = -ENOMEM;
		return false;
	}
	memcpy(p + r->len, data, len);
	r->body = p;
	r->len += len;
	p[r->len] = 0;
	return true;
}

/* Keeps in the reply what follows the last newline. */
static void hand_out_lines(struct call *c)
{
	struct http_reply *r = c->reply;
	char *line = r->body, *end;

	while (!c->stopped && (end = memchr(line, '\n', r->len - (size_t)(line - r->body)))) {
		*end = 0;
		c->stopped = !c->on_line(c->arg, line);
		line = end + 1;
	}
	r->len -= (size_t)(line - r->body);
	memmove(r->body, line, r->len + 1);
}

static void on_body(void *arg, const char *data, size_t len)
{
	struct call *c = arg;

	c->reply->status = http_parse_message(c->parse)->status;
	if (!c->error && !c->stopped && append(c, data, len) && c->on_line && c->reply->status == 200)
		hand_out_lines(c);
}

static int receive(struct call *c)
{
	char buf[16384];
	size_t used;
	int rc = 0;

	while (rc == 0 && !c->stopped && !c->error) {
		ssize_t n = recv(c->fd, buf, sizeof buf, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return timed_out_or(errno);
		rc = http_parse_feed(c->parse, buf, (size_t)n, &used);
		if (n == 0 && rc != 1)
			return -ECONNRESET;
	}
	if (c->error)
		return c->error;
	c->reply->status = http_parse_message(c->parse)->status;
	return rc > 1 ? -EBADMSG : 0;
}

int http_client_lines(const char *socket_path, const char *method, const char *path, const char *body,
		      unsigned timeout_ms, bool (*on_line)(void *arg, const char *line), void *arg,
		      struct http_reply *reply)
{
	struct call c = { .reply = reply, .on_line = on_line, .arg = arg };
	int rc = -ENOMEM;

	*reply = (struct http_reply) { 0 };
	c.fd = open_socket(socket_path, timeout_ms);
	if (c.fd < 0)
		return c.fd;
	c.parse = http_parse_create(HTTP_IS_RESPONSE, HTTP_REPLY_MAX, on_body, &c);
	if (!c.parse || !append(&c, "", 0))
		goto out;
	rc = send_request(c.fd, method, path, body);
	if (rc == 0)
		rc = receive(&c);
out:
	http_parse_destroy(c.parse);
	close(c.fd);
	if (rc)
		http_reply_free(reply);
	return rc;
}

int http_client_request(const char *socket_path, const char *method, const char *path, const char *body,
			unsigned timeout_ms, struct http_reply *reply)
{
	return http_client_lines(socket_path, method, path, body, timeout_ms, NULL, NULL, reply);
}

void http_reply_free(struct http_reply *reply)
{
	free(reply->body);
	*reply = (struct http_reply) { 0 };
}
