#include "apps/p2pd/forward/lease_link_impl.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/crypto.h"

static const char label[] = "p2pd1/lease", header_name[] = "P2PD-Signature";
enum {
	DIGEST = 64,
	SIGNED = sizeof label + DIGEST,
	SIG_TEXT = CRYPTO_BASE64_TEXT(CRYPTO_SIG),
	HEAD_MAX = 512
};

static const struct {
	int error, status;
	const char *code;
} codes[] = {
	{ -EINVAL, 400, "invalid" },	  { -EACCES, 403, "denied" },	    { -ENOENT, 404, "not_found" },
	{ -EADDRINUSE, 409, "conflict" }, { -EEXIST, 409, "exists" },	    { -EAGAIN, 429, "busy" },
	{ -ENOSPC, 507, "full" },	  { -ENOTSUP, 501, "unsupported" }, { -ETIMEDOUT, 504, "timeout" },
	{ -EIO, 500, "failed" },
};
enum { CODES = sizeof codes / sizeof *codes, CODE_FAILED = CODES - 1 };

/* --- Requests. */

static void what_is_signed(uint8_t out[static SIGNED], const uint8_t receiver[static 32], const char *method,
			   const char *path, const char *body, size_t body_len)
{
	const struct part parts[] = { { receiver, 32 },
				      { method, strlen(method) + 1 },
				      { path, strlen(path) + 1 },
				      { body, body_len } };

	memcpy(out, label, sizeof label);
	crypto_blake2b(out + sizeof label, DIGEST, NULL, 0, parts, 4);
}

char *lease_wire_request(const char *method, const char *path, const struct json_t *body,
			 const uint8_t sk[static 64], const uint8_t receiver[static 32], size_t *len)
{
	uint8_t message[SIGNED], sig[CRYPTO_SIG];
	char sig_text[SIG_TEXT], *request = NULL;
	char *text = body ? json_dumps((const json_t *)body, JSON_COMPACT) : strdup("");

	if (!text)
		return NULL;
	what_is_signed(message, receiver, method, path, text, strlen(text));
	crypto_ed25519_sign(sig, message, sizeof message, sk);
	crypto_base64url(sig_text, sig, sizeof sig);
	int n = asprintf(&request,
			 "%s %s HTTP/1.1\r\nHost: p2pd\r\n%s: %s\r\nConnection: close\r\n"
			 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			 method, path, header_name, sig_text, strlen(text), text);
	free(text);
	*len = n < 0 ? 0 : (size_t)n;
	return n < 0 ? NULL : request;
}

bool lease_wire_signed(const struct http_message *m, const uint8_t sender[static 32],
		       const uint8_t receiver[static 32])
{
	uint8_t message[SIGNED], sig[CRYPTO_SIG];
	const char *text = http_header(m, header_name);

	if (!text || *m->query || crypto_base64url_decode(sig, sizeof sig, text) != 0)
		return false;
	what_is_signed(message, receiver, m->method, m->path, m->body, m->body_len);
	return crypto_ed25519_verify(sig, message, sizeof message, sender) == 0;
}

/* --- Answers. */

struct json_t *lease_wire_error(int error, const char *why, const uint8_t *conflict, int *status)
{
	char id[RULE_ID_TEXT] = "";
	unsigned i = 0;

	while (i < CODE_FAILED && codes[i].error != error)
		i++;
	*status = codes[i].status;
	if (conflict && !crypto_is_zero(conflict, FORWARD_ID))
		rule_id_text(conflict, id);
	return json_pack("{s:s, s:i, s:s, s:{s:s, s:s}, s:s}", "type", "about:blank", "status", *status,
			 "detail", why, "error", "code", codes[i].code, "message", why, "forward_id", id);
}

static void nonsense(struct lease_reply *reply, const char *why)
{
	reply->error = -EBADMSG;
	snprintf(reply->why, sizeof reply->why, "it answered nonsense: %.200s", why);
}

static int error_of(const char *code)
{
	for (unsigned i = 0; i < CODES; i++)
		if (!strcmp(codes[i].code, code))
			return codes[i].error;
	return -EIO;
}

/* The text comes to terminals and logs, and is the peer's. */
static void take_why(char out[static RULE_WHY], const char *text)
{
	snprintf(out, RULE_WHY, "%s", text);
	for (unsigned char *p = (unsigned char *)out; *p; p++)
		if (*p < 0x20 || *p >= 0x7f)
			*p = '?';
}

static void read_error(struct lease_reply *reply, json_t *json)
{
	const char *code, *message, *id = "";

	if (json_unpack(json, "{s:{s:s, s:s}, s?s}", "error", "code", &code, "message", &message,
			"forward_id", &id) != 0) {
		nonsense(reply, "an error without a reason");
		return;
	}
	reply->error = error_of(code);
	take_why(reply->why, *message ? message : code);
	if (*id && rule_id_parse(reply->conflict, id) != 0)
		memset(reply->conflict, 0, sizeof reply->conflict);
}

static int read_good(enum lease_kind kind, const json_t *json, uint64_t now_ms, struct lease_reply *reply,
		     char why[static RULE_WHY])
{
	switch (kind) {
	case LEASE_PUT: return lease_grant_read(&reply->grant, json, why);
	case LEASE_STATS: return lease_stats_read(&reply->stats, json, now_ms, why);
	case LEASE_ADMIT: return admit_grant_read(&reply->admit, json, why);
	case LEASE_DELETE: break;
	}
	return 0;
}

void lease_wire_reply(enum lease_kind kind, const struct http_message *m, uint64_t now_ms,
		      struct lease_reply *reply)
{
	char why[RULE_WHY] = "";
	json_t *json = json_loadb(m->body, m->body_len, JSON_REJECT_DUPLICATES, NULL);

	*reply = (struct lease_reply) { 0 };
	if (!json_is_object(json))
		nonsense(reply, "no JSON object");
	else if (m->status != 200)
		read_error(reply, json);
	else if (read_good(kind, json, now_ms, reply, why) != 0)
		nonsense(reply, why);
	json_decref(json);
}
