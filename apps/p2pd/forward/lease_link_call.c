/* Requests of ours: a connection for each, one timer over all of it. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/lease_link_impl.h"

struct lease_call {
	struct lease_link *link;
	struct lease_call *next, **at;
	enum lease_kind kind;
	struct stream *stream;
	struct http_parse *parse;
	struct loop_timer *timer;
	char *request;
	size_t request_len;
	void (*done)(void *arg, const struct lease_reply *reply);
	void *arg;
};

enum { PATH_MAX_LEN = 64 };

void lease_call_cancel(struct lease_call *c)
{
	if (!c)
		return;
	if (c->at) {
		*c->at = c->next;
		if (c->next)
			c->next->at = c->at;
		c->link->call_count--;
	}
	stream_close(c->stream);
	loop_timer_destroy(c->timer);
	http_parse_destroy(c->parse);
	if (c->request)
		crypto_wipe(c->request, c->request_len); /* a token may be in it */
	free(c->request);
	free(c);
}

void lease_calls_stop(struct lease_link *k)
{
	while (k->calls)
		lease_call_cancel(k->calls);
}

static void end(struct lease_call *c, const struct lease_reply *reply)
{
	void (*done)(void *, const struct lease_reply *) = c->done;
	void *arg = c->arg;

	lease_call_cancel(c);
	done(arg, reply);
}

static void fail(struct lease_call *c, int error)
{
	struct lease_reply reply = { .error = error };

	switch (error) {
	case -ECONNREFUSED: snprintf(reply.why, sizeof reply.why, "it does not forward ports"); break;
	case -ETIMEDOUT: snprintf(reply.why, sizeof reply.why, "it does not answer"); break;
	default: snprintf(reply.why, sizeof reply.why, "it is not reached: %s", strerror(-error));
	}
	end(c, &reply);
}

static void timed_out(void *arg)
{
	fail(arg, -ETIMEDOUT);
}

static void on_up(void *arg)
{
	struct lease_call *c = arg;
	int rc = stream_write(c->stream, c->request, c->request_len);

	if (rc)
		fail(c, rc);
}

/* True if that ended it. `len` 0: the connection ended. */
static bool feed(struct lease_call *c, const uint8_t *data, size_t len)
{
	struct lease_reply reply;
	size_t used;
	int rc = http_parse_feed(c->parse, data, len, &used);

	if (rc == 0)
		return false;
	if (rc == 1) {
		lease_wire_reply(c->kind, http_parse_message(c->parse), loop_now_ms(), &reply);
		end(c, &reply);
	} else {
		fail(c, -EBADMSG);
	}
	return true;
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	feed(arg, data, len);
}

static void on_close(void *arg, int error)
{
	struct lease_call *c = arg;

	c->stream = NULL;
	if (error == 0 && feed(c, NULL, 0))
		return;
	fail(c, error ? error : -ECONNRESET);
}

static const struct stream_handler handler = { on_up, on_data, on_close };

static struct lease_call *call_create(struct lease_link *k, enum lease_kind kind)
{
	struct lease_call *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->link = k;
	c->kind = kind;
	c->parse = http_parse_create(HTTP_IS_RESPONSE, LEASE_REPLY_MAX, NULL, NULL);
	c->timer = loop_timer_create(k->config.loop, timed_out, c);
	if (c->parse && c->timer)
		return c;
	lease_call_cancel(c);
	return NULL;
}

static int connect_to(struct lease_call *c, const struct addr *peer)
{
	struct lease_link *k = c->link;
	struct addr to = *peer;

	to.port = LEASE_PORT;
	int rc = stream_connect_by(&c->stream, k->config.loop, k->config.device,
				   &k->listeners[lease_family(peer)].at, &to, &handler, c);
	if (rc)
		return rc;
	loop_timer_set(c->timer, loop_now_ms() + LEASE_ASK_MS);
	c->next = k->calls;
	c->at = &k->calls;
	if (c->next)
		c->next->at = &c->next;
	k->calls = c;
	k->call_count++;
	return 0;
}

/* A request's place and content. */
struct question {
	enum lease_kind kind;
	const char *method;
	char path[PATH_MAX_LEN];
	json_t *body;
};

/* Takes the reference to the body over. */
static int ask(struct lease_link *k, const struct addr *peer, const struct question *question,
	       void (*done)(void *arg, const struct lease_reply *reply), void *arg, struct lease_call **out)
{
	const uint8_t *key = k->config.handler.key_of(k->config.arg, peer);
	struct lease_call *c = NULL;
	int rc = !key							   ? -ENOENT
		 : k->listeners[lease_family(peer)].at.family == ADDR_NONE ? -EADDRNOTAVAIL
		 : k->call_count >= LEASE_ASKS_MAX			   ? -EAGAIN
									   : 0;

	if (rc == 0) {
		c = call_create(k, question->kind);
		rc = c ? 0 : -ENOMEM;
	}
	if (rc == 0) {
		c->done = done;
		c->arg = arg;
		c->request = lease_wire_request(question->method, question->path, question->body,
						k->config.ik_sk, key, &c->request_len);
		rc = c->request ? connect_to(c, peer) : -ENOMEM;
	}
	json_decref(question->body);
	if (rc)
		lease_call_cancel(c);
	else if (out)
		*out = c;
	return rc;
}

static struct question of_rule(enum lease_kind kind, const char *method, const uint8_t id[static FORWARD_ID])
{
	struct question question = { .kind = kind, .method = method };
	char text[RULE_ID_TEXT];

	snprintf(question.path, sizeof question.path, "/lease/%s", rule_id_text(id, text));
	return question;
}

int lease_link_put(struct lease_link *k, const struct addr *peer, const struct lease_request *r,
		   void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		   struct lease_call **out)
{
	struct question question = of_rule(LEASE_PUT, "PUT", r->id);

	question.body = lease_request_json(r);
	return question.body ? ask(k, peer, &question, done, arg, out) : -ENOMEM;
}

int lease_link_delete(struct lease_link *k, const struct addr *peer, const uint8_t id[static FORWARD_ID],
		      void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		      struct lease_call **out)
{
	struct question question = of_rule(LEASE_DELETE, "DELETE", id);

	return ask(k, peer, &question, done, arg, out);
}

int lease_link_stats(struct lease_link *k, const struct addr *peer, const uint8_t id[static FORWARD_ID],
		     void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		     struct lease_call **out)
{
	struct question question = of_rule(LEASE_STATS, "GET", id);

	return ask(k, peer, &question, done, arg, out);
}

int lease_link_admit(struct lease_link *k, const struct addr *peer, const struct admit_request *r,
		     void (*done)(void *arg, const struct lease_reply *reply), void *arg,
		     struct lease_call **out)
{
	struct question question = { .kind = LEASE_ADMIT, .method = "POST", .path = "/admit" };

	question.body = admit_request_json(r);
	return question.body ? ask(k, peer, &question, done, arg, out) : -ENOMEM;
}
