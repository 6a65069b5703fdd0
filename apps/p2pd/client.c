#include "apps/p2pd/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "relay/http_client.h"

enum { ANSWER_MS = 10000, ALIVE_MS = 2000, PLACE_MAX = 440 };

static int no_talk(const char *socket, int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return fail_with(EXIT_NO_DAEMON, "no p2pd is running on %s: start it with `p2pd up`", socket);
	case -EACCES:
	case -EPERM:
		return fail_with(EXIT_DENIED,
				 "only root and the daemon's own user may talk to it on %s: try sudo",
				 socket);
	case -ETIMEDOUT: return fail_with(EXIT_TIMED_OUT, "the daemon on %s does not answer", socket);
	case -ECONNRESET: return fail_with(EXIT_NO_DAEMON, "the daemon on %s ended", socket);
	case -ENAMETOOLONG: return fail_with(EXIT_USAGE, "--socket: the path is too long");
	default:
		return fail_with(EXIT_FAILED, "cannot talk to the daemon on %s: %s", socket,
				 strerror(-error));
	}
}

/* "policy.yaml:12:5: ": where it is wrong, as far as that is known. */
static void write_place(char out[static PLACE_MAX], const char *about, json_t *error)
{
	json_t *line = json_object_get(error, "line"), *column = json_object_get(error, "column");

	*out = 0;
	if (!about)
		return;
	if (json_is_integer(line))
		snprintf(out, PLACE_MAX, "%.400s:%lld:%lld: ", about, (long long)json_integer_value(line),
			 (long long)json_integer_value(column));
	else
		snprintf(out, PLACE_MAX, "%.400s: ", about);
}

/* {"error": {"code": WORD, "message": TEXT}}, for a conflict with "forward_id": the rule that is in the way; for a file
 * with "line" and "column". */
static int refused(const struct http_reply *reply, const char *about)
{
	json_t *json = reply->body ? json_loads(reply->body, 0, NULL) : NULL;
	json_t *error = json_object_get(json, "error");
	const char *word = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "message"));
	const char *id = json_string_value(json_object_get(error, "forward_id"));
	bool named = !id || (text && strstr(text, id));
	char place[PLACE_MAX];

	write_place(place, about, error);
	int code = fail_with(fail_code(word ? word : ""), "%s%s%s%s%s", place,
			     text ? text : "the daemon refused without a word", named ? "" : " (forward_id ",
			     named ? "" : id, named ? "" : ")");
	json_decref(json);
	return code;
}

/* The body is the caller's now, if it is wanted. */
static void hand_over(struct http_reply *reply, char **to)
{
	if (!to)
		return;
	*to = reply->body;
	reply->body = NULL;
}

/* The end of a talk: what came of it. */
static int conclude(const struct client_question *q, int error, struct http_reply *reply, char **answer,
		    char **refusal)
{
	int code = EXIT_OK;

	if (refusal)
		*refusal = NULL;
	if (error)
		return no_talk(q->socket, error);
	if (reply->status / 100 != 2)
		code = refused(reply, q->about);
	hand_over(reply, code ? refusal : answer);
	http_reply_free(reply);
	return code;
}

int client_ask(const struct client_question *q, char **answer, char **refusal)
{
	struct http_reply reply = { 0 };
	int error = http_client_request(q->socket, q->method, q->path, q->body, q->wait_ms, &reply);

	return conclude(q, error, &reply, answer, refusal);
}

int client_call(const char *socket, const char *method, const char *path, const char *body, char **answer)
{
	return client_ask(&(struct client_question) { socket, method, path, body, ANSWER_MS, NULL }, answer,
			  NULL);
}

int client_stream(const char *socket, const char *path, const char *body,
		  bool (*on_line)(void *arg, const char *line), void *arg)
{
	struct http_reply reply = { 0 };
	int error = http_client_lines(socket, "POST", path, body, 0, on_line, arg, &reply);

	return conclude(&(struct client_question) { .socket = socket }, error, &reply, NULL, NULL);
}

bool client_is_alive(const char *socket)
{
	struct http_reply reply = { 0 };
	int error = http_client_request(socket, "GET", "/v1/wg/key", NULL, ALIVE_MS, &reply);

	http_reply_free(&reply);
	return !error || error == -ETIMEDOUT;
}
