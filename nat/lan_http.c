#include "nat/lan_http.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- URLs */

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

int lan_http_parse_url(struct lan_http_url *out, const char *url)
{
	static const char scheme[] = "http://";
	char host[ADDR_TEXT_MAX];

	if (strncasecmp(url, scheme, sizeof scheme - 1) || !is_printable(url))
		return -EINVAL;
	url += sizeof scheme - 1;
	size_t len = strcspn(url, "/?#");
	const char *path = url[len] ? url + len : "/";
	if (len >= sizeof host || *path != '/' || strlen(path) >= sizeof out->path)
		return -EINVAL;
	memcpy(host, url, len);
	host[len] = 0;
	*out = (struct lan_http_url) { 0 };
	strcpy(out->path, path);
	return addr_parse(&out->addr, host, 80);
}

/* ---- Answers */

/* The value of a header among the lines up to `end`, or NULL. It ends with its line. */
static const char *header(const char *at, const char *end, const char *name)
{
	size_t len = strlen(name);

	while (at < end) {
		if ((size_t)(end - at) > len && !strncasecmp(at, name, len) && at[len] == ':') {
			for (at += len + 1; at < end && (*at == ' ' || *at == '\t');)
				at++;
			return at;
		}
		at = memchr(at, '\n', (size_t)(end - at));
		if (!at)
			return NULL;
		at++;
	}
	return NULL;
}

/* A number of the given base at the start of at..end; SIZE_MAX for none or one that is far too large. */
static size_t number(const char *at, const char *end, unsigned base)
{
	size_t n = 0;
	const char *start = at;

	for (; at < end; at++) {
		unsigned digit = isdigit((unsigned char)*at)	? (unsigned)(*at - '0')
				 : isxdigit((unsigned char)*at) ? (unsigned)(tolower(*at) - 'a' + 10)
								: 16;
		if (digit >= base)
			break;
		n = n * base + digit;
		if (n > INT32_MAX)
			return SIZE_MAX;
	}
	return at == start ? SIZE_MAX : n;
}

/* Walks the chunks at `in`, and copies them to `to` unless that is NULL. The body's length, -EAGAIN or -EBADMSG. */
static ssize_t dechunk(char *to, const char *in, size_t len)
{
	const char *end = in + len;
	size_t total = 0;

	for (;;) {
		const char *eol = memchr(in, '\n', (size_t)(end - in));
		if (!eol)
			return -EAGAIN;
		size_t size = number(in, eol, 16);
		if (size == SIZE_MAX)
			return -EBADMSG;
		in = eol + 1;
		if (size == 0)
			return (ssize_t)total;
		if (size + 2 > (size_t)(end - in))
			return -EAGAIN;
		if (to)
			memmove(to + total, in, size);
		total += size;
		in += size + 2;
	}
}

static int take_chunks(struct lan_http_answer *out)
{
	ssize_t n = dechunk(NULL, out->body, out->len);

	if (n < 0)
		return (int)n;
	dechunk(out->body, out->body, out->len);
	out->len = (size_t)n;
	return 0;
}

int lan_http_parse(struct lan_http_answer *out, char *buf, size_t len, bool closed)
{
	int more = closed ? -EBADMSG : -EAGAIN;
	char *end = memmem(buf, len, "\r\n\r\n", 4);

	if (!end)
		return more;
	*out = (struct lan_http_answer) { .body = end + 4, .len = len - (size_t)(end + 4 - buf) };
	if (end - buf < 12 || memcmp(buf, "HTTP/1.", 7) || buf[8] != ' ')
		return -EBADMSG;
	size_t status = number(buf + 9, buf + 12, 10);
	if (status < 100 || status > 599)
		return -EBADMSG;
	out->status = (unsigned)status;

	const char *coding = header(buf, end, "transfer-encoding"),
		   *length = header(buf, end, "content-length");
	if (coding && end - coding >= 7 && !strncasecmp(coding, "chunked", 7)) {
		int ret = take_chunks(out);
		return ret == -EAGAIN ? more : ret;
	}
	if (!length)
		return closed ? 0 : -EAGAIN;
	size_t want = number(length, end, 10);
	if (want == SIZE_MAX)
		return -EBADMSG;
	if (out->len < want)
		return more;
	out->len = want;
	return 0;
}

/* ---- Over a socket */

static int open_socket(const struct lan *lan, const struct addr *to, const struct gateway_limit *limit)
{
	struct sockaddr_storage ss;
	int error = 0, fd = socket(to->family == ADDR_V6 ? AF_INET6 : AF_INET,
				   SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof error;

	if (fd < 0)
		return -errno;
	unsigned size = addr_to_sockaddr(&lan->local, &ss);
	int rc = bind(fd, (struct sockaddr *)&ss, size);
	size = addr_to_sockaddr(to, &ss);
	if (rc == 0)
		rc = connect(fd, (struct sockaddr *)&ss, size);
	rc = rc < 0 && errno != EINPROGRESS ? -errno : gateway_wait(limit, fd, POLLOUT, UINT64_MAX);
	if (rc == 0)
		rc = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? -errno : -error;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

static int send_all(int fd, const char *text, const struct gateway_limit *limit)
{
	size_t left = strlen(text);

	while (left) {
		int rc = gateway_wait(limit, fd, POLLOUT, UINT64_MAX);
		if (rc)
			return rc;
		ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		text += n > 0 ? n : 0;
		left -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int receive(struct lan_http_answer *out, int fd, const struct gateway_limit *limit, char *buf,
		   size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		int rc = gateway_wait(limit, fd, POLLIN, UINT64_MAX);
		if (rc)
			return rc;
		ssize_t n = recv(fd, buf + len, cap - len, 0);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		rc = lan_http_parse(out, buf, len, n == 0);
		if (rc != -EAGAIN)
			return rc;
	}
	return -EFBIG;
}

int lan_http_exchange(struct lan_http_answer *out, const struct lan *lan, const struct addr *to,
		      const char *request, const struct gateway_limit *limit, char *buf, size_t cap)
{
	int fd = open_socket(lan, to, limit);

	if (fd < 0)
		return fd;
	int ret = send_all(fd, request, limit);
	if (!ret)
		ret = receive(out, fd, limit, buf, cap);
	close(fd);
	return ret;
}
