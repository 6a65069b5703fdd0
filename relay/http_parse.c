#include "relay/http_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#if __has_include(<llhttp.h>)
#include <llhttp.h>
typedef llhttp_t library_parser;
typedef llhttp_settings_t library_settings;
#else
#include <http_parser.h>
typedef http_parser library_parser;
typedef http_parser_settings library_settings;
#endif

enum { FIRST_ROOM = 1024 };
enum piece { PIECE_NONE, PIECE_URL, PIECE_NAME, PIECE_VALUE };

/* Bytes that grow up to a limit; always followed by a NUL. */
struct text {
	char *base;
	size_t len, cap, max;
};

struct http_parse {
	library_parser lib;
	library_settings settings;
	struct text head, body; /* the head: URL, names and values in order, each with its NUL */
	enum piece piece;
	uint16_t name_at[HTTP_HEADERS_MAX], value_at[HTTP_HEADERS_MAX];
	bool begun, head_done, complete;
	int refused;
	void (*on_body)(void *arg, const char *data, size_t len);
	void *arg;
	struct http_message message;
};

/* 0, or the status to refuse with. */
static int text_append(struct text *t, const char *data, size_t len, int too_long)
{
	if (len > t->max - t->len)
		return too_long;
	if (t->len + len + 1 > t->cap) {
		size_t cap = t->cap ? t->cap : FIRST_ROOM;
		while (cap < t->len + len + 1)
			cap *= 2;
		char *p = realloc(t->base, cap);
		if (!p)
			return 500;
		t->base = p;
		t->cap = cap;
	}
	memcpy(t->base + t->len, data, len);
	t->len += len;
	t->base[t->len] = 0;
	return 0;
}

static int refuse(struct http_parse *p, int status)
{
	if (status && !p->refused)
		p->refused = status;
	return status ? -1 : 0;
}

/* The library hands URL, names and values out in pieces. A change of kind ends the one before. */
static int add_piece(struct http_parse *p, enum piece piece, const char *data, size_t len)
{
	struct http_message *m = &p->message;

	if (p->head_done)
		return 0; /* a trailer, which may be left out (RFC 9110 section 6.5.1) */
	if (memchr(data, 0, len))
		return refuse(p, 400);
	if (piece != p->piece && p->head.len && refuse(p, text_append(&p->head, "", 1, 431)))
		return -1;
	if (piece == PIECE_NAME && p->piece != PIECE_NAME) {
		if (m->header_count == HTTP_HEADERS_MAX)
			return refuse(p, 431);
		p->name_at[m->header_count++] = (uint16_t)p->head.len;
		p->value_at[m->header_count - 1] = 0;
	}
	if (piece == PIECE_VALUE && p->piece != PIECE_VALUE && m->header_count)
		p->value_at[m->header_count - 1] = (uint16_t)p->head.len;
	p->piece = piece;
	return refuse(p, text_append(&p->head, data, len, 431));
}

static int on_begin(library_parser *lib)
{
	struct http_parse *p = lib->data;

	p->begun = true;
	return 0;
}

static int on_url(library_parser *lib, const char *data, size_t len)
{
	return add_piece(lib->data, PIECE_URL, data, len);
}

static int on_name(library_parser *lib, const char *data, size_t len)
{
	return add_piece(lib->data, PIECE_NAME, data, len);
}

static int on_value(library_parser *lib, const char *data, size_t len)
{
	return add_piece(lib->data, PIECE_VALUE, data, len);
}

static const char *method_name(const library_parser *lib)
{
#if __has_include(<llhttp.h>)
	return llhttp_method_name((llhttp_method_t)lib->method);
#else
	return http_method_str((enum http_method)lib->method);
#endif
}

static bool keeps_alive(const library_parser *lib)
{
#if __has_include(<llhttp.h>)
	return llhttp_should_keep_alive(lib) != 0;
#else
	return http_should_keep_alive(lib) != 0;
#endif
}

/* Only "/path?query" is a target for us (RFC 9112 section 3.2.1). */
static int split_target(struct http_parse *p)
{
	char *query = strchr(p->head.base, '?');

	if (p->head.base[0] != '/')
		return refuse(p, 400);
	if (query)
		*query++ = 0;
	p->message.path = p->head.base;
	p->message.query = query ? query : "";
	return 0;
}

/* Space behind a value is not part of it (RFC 9112 section 5.1). */
static const char *trimmed(char *value)
{
	size_t len = strlen(value);

	while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	value[len] = 0;
	return value;
}

static int on_head(library_parser *lib)
{
	struct http_parse *p = lib->data;
	struct http_message *m = &p->message;

	if (lib->http_major != 1)
		return refuse(p, 400);
	if (refuse(p, text_append(&p->head, "", 1, 431)))
		return -1;
	p->head_done = true;
	for (size_t i = 0; i < m->header_count; i++) {
		m->header[i].name = p->head.base + p->name_at[i];
		if (strpbrk(m->header[i].name, " \t"))
			return refuse(p, 400); /* RFC 9112 section 5.1: names end at the colon */
		m->header[i].value = p->value_at[i] ? trimmed(p->head.base + p->value_at[i]) : "";
	}
	m->keep_alive = keeps_alive(lib);
	m->status = lib->status_code;
	if (lib->type == HTTP_RESPONSE)
		return 0;
	m->method = method_name(lib);
	if (http_header(m, "content-length") && strlen(http_header(m, "content-length")) > 9)
		return refuse(p, 413);
	return split_target(p);
}

static int on_body_piece(library_parser *lib, const char *data, size_t len)
{
	struct http_parse *p = lib->data;

	if (p->on_body) {
		p->on_body(p->arg, data, len);
		return 0;
	}
	return refuse(p, text_append(&p->body, data, len, 413));
}

/* Stops behind the message, so that the next one stays with the caller. */
static int on_complete(library_parser *lib)
{
	struct http_parse *p = lib->data;

	p->complete = true;
	p->message.upgrade = lib->upgrade;
	p->message.body = p->body.len ? p->body.base : "";
	p->message.body_len = p->body.len;
#if __has_include(<llhttp.h>)
	return HPE_PAUSED;
#else
	http_parser_pause(lib, 1);
	return 0;
#endif
}

static void start_library(struct http_parse *p, enum http_kind kind)
{
#if __has_include(<llhttp.h>)
	llhttp_settings_init(&p->settings);
	llhttp_init(&p->lib, kind == HTTP_IS_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &p->settings);
#else
	http_parser_settings_init(&p->settings);
	http_parser_init(&p->lib, kind == HTTP_IS_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
#endif
	p->lib.data = p;
	p->settings.on_message_begin = on_begin;
	p->settings.on_url = on_url;
	p->settings.on_header_field = on_name;
	p->settings.on_header_value = on_value;
	p->settings.on_headers_complete = on_head;
	p->settings.on_body = on_body_piece;
	p->settings.on_message_complete = on_complete;
}

struct http_parse *http_parse_create(enum http_kind kind, size_t body_max,
				     void (*on_body)(void *arg, const char *data, size_t len), void *arg)
{
	struct http_parse *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->head.max = HTTP_HEAD_MAX;
	p->body.max = body_max;
	p->on_body = on_body;
	p->arg = arg;
	start_library(p, kind);
	return p;
}

void http_parse_destroy(struct http_parse *p)
{
	if (!p)
		return;
	free(p->head.base);
	free(p->body.base);
	free(p);
}

/* How far the library read; false on an error in the message. */
static bool run_library(struct http_parse *p, const char *data, size_t len, size_t *used)
{
#if __has_include(<llhttp.h>)
	enum llhttp_errno e = len ? llhttp_execute(&p->lib, data, len) : llhttp_finish(&p->lib);
	const char *at = e == HPE_OK ? data + len : llhttp_get_error_pos(&p->lib);
	*used = len && at ? (size_t)(at - data) : 0;
	if (e == HPE_PAUSED)
		llhttp_resume(&p->lib);
	return e == HPE_OK || e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE;
#else
	*used = http_parser_execute(&p->lib, &p->settings, data, len);
	enum http_errno e = HTTP_PARSER_ERRNO(&p->lib);
	if (e == HPE_PAUSED)
		http_parser_pause(&p->lib, 0);
	return e == HPE_OK || e == HPE_PAUSED;
#endif
}

int http_parse_feed(struct http_parse *p, const void *data, size_t len, size_t *used)
{
	*used = 0;
	if (p->complete)
		return 1;
	if (p->refused)
		return p->refused;
	if (!run_library(p, data, len, used) && !p->complete)
		refuse(p, 400);
	if (p->refused)
		return p->refused;
	return p->complete;
}

bool http_parse_in_message(const struct http_parse *p)
{
	return p->begun && !p->complete;
}

const struct http_message *http_parse_message(const struct http_parse *p)
{
	return &p->message;
}

/* A connection that waits for its next message keeps no buffers. */
void http_parse_next(struct http_parse *p)
{
	free(p->head.base);
	free(p->body.base);
	p->head = (struct text) { .max = p->head.max };
	p->body = (struct text) { .max = p->body.max };
	p->piece = PIECE_NONE;
	p->begun = p->head_done = p->complete = false;
	p->message = (struct http_message) { 0 };
}

const char *http_header(const struct http_message *m, const char *name)
{
	for (size_t i = 0; i < m->header_count; i++)
		if (!strcasecmp(m->header[i].name, name))
			return m->header[i].value;
	return NULL;
}

bool http_header_has(const struct http_message *m, const char *name, const char *token)
{
	const char *p = http_header(m, name);
	size_t want = strlen(token);

	while (p && *p) {
		p += strspn(p, ", \t");
		size_t len = strcspn(p, ", \t");
		if (len && len == want && !strncasecmp(p, token, len))
			return true;
		p += len;
	}
	return false;
}
