#include "apps/p2pd/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "relay/http_client.h"

enum { ANSWER_MS = 10000, ALIVE_MS = 2000 };

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

/* {"error": {"code": WORD, "message": TEXT}} */
static int refused(const struct http_reply *reply)
{
	json_t *json = reply->body ? json_loads(reply->body, 0, NULL) : NULL;
	json_t *error = json_object_get(json, "error");
	const char *word = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "message"));
	int code = fail_with(fail_code(word ? word : ""), "%s",
			     text ? text : "the daemon refused without a word");

	json_decref(json);
	return code;
}

/* The end of a talk: what came of it. The body goes to *answer, if that is wanted. */
static int conclude(const char *socket, int error, struct http_reply *reply, char **answer)
{
	int code = EXIT_OK;

	if (error)
		return no_talk(socket, error);
	if (reply->status != 200)
		code = refused(reply);
	if (!code && answer) {
		*answer = reply->body;
		reply->body = NULL;
	}
	http_reply_free(reply);
	return code;
}

int client_call(const char *socket, const char *method, const char *path, const char *body, char **answer)
{
	struct http_reply reply = { 0 };
	int error = http_client_request(socket, method, path, body, ANSWER_MS, &reply);

	return conclude(socket, error, &reply, answer);
}

int client_stream(const char *socket, const char *path, const char *body,
		  bool (*on_line)(void *arg, const char *line), void *arg)
{
	struct http_reply reply = { 0 };
	int error = http_client_lines(socket, "POST", path, body, 0, on_line, arg, &reply);

	return conclude(socket, error, &reply, NULL);
}

bool client_is_alive(const char *socket)
{
	struct http_reply reply = { 0 };
	int error = http_client_request(socket, "GET", "/v1/wg/key", NULL, ALIVE_MS, &reply);

	http_reply_free(&reply);
	return !error || error == -ETIMEDOUT;
}
