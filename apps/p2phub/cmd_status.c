#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_data.h"
#include "core/fail.h"
#include "core/options.h"
#include "relay/http_client.h"

enum { ANSWER_MS = 10000 };

static int no_talk(const char *data, int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return fail_with(EXIT_NO_DAEMON, "no hub is running in %s: start it with `p2phub serve`",
				 data);
	case -EACCES:
	case -EPERM:
		return fail_with(EXIT_DENIED,
				 "only root and the hub's own user may ask the hub in %s: try sudo", data);
	case -ETIMEDOUT: return fail_with(EXIT_TIMED_OUT, "the hub in %s does not answer", data);
	case -ECONNRESET: return fail_with(EXIT_NO_DAEMON, "the hub in %s ended", data);
	case -ENAMETOOLONG: return fail_with(EXIT_USAGE, "--data: the path is too long");
	default: return fail_with(EXIT_FAILED, "cannot ask the hub in %s: %s", data, strerror(-error));
	}
}

static long long number(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "?";
}

static void print_uptime(long long s)
{
	if (s >= 2 * 86400)
		printf("%lld days", s / 86400);
	else if (s >= 2 * 3600)
		printf("%lld hours", s / 3600);
	else if (s >= 120)
		printf("%lld minutes", s / 60);
	else
		printf("%lld seconds", s);
}

static int print_table(const char *body)
{
	json_t *status = json_loads(body, 0, NULL);
	json_t *relay = json_object_get(status, "relay"), *store = json_object_get(status, "store");

	if (!status)
		return fail_with(EXIT_FAILED, "the hub's answer is not JSON");
	printf("hub %s, %s, up for ", text(status, "version"), text(status, "status"));
	print_uptime(number(status, "uptime_s"));
	printf("\n  nodes    %lld online in %lld networks, %lld connections\n", number(status, "online"),
	       number(status, "networks"), number(status, "connections"));
	printf("  relay    %lld sessions, %lld nodes bound, %lld bytes forwarded\n",
	       number(relay, "sessions"), number(relay, "bound"), number(relay, "bytes"));
	printf("  store    %s", text(store, "state"));
	if (number(store, "waiting"))
		printf(", %lld writes wait", number(store, "waiting"));
	if (number(store, "audit_lost"))
		printf(", %lld audit entries lost", number(store, "audit_lost"));
	printf("\n");
	json_decref(status);
	return EXIT_OK;
}

int cmd_status(int argc, char **argv)
{
	const char *data = HUB_DATA;
	bool as_json = false;
	const struct options_entry entries[] = {
		{ "data", "DIR", "the hub's data folder (" HUB_DATA ")", .text = &data },
		{ "json", NULL, "as JSON, schema p2phub.status/1", .flag = &as_json },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2phub status [options]",
		.about = "Tells how the running hub is: nodes, relay, store.",
		.entries = entries,
	};
	struct http_reply reply;
	struct options_list args;
	char path[HUB_DATA_PATH];
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	int rc = hub_data_path(path, data, HUB_DATA_SOCKET);
	if (!rc)
		rc = http_client_request(path, "GET", "/api/v1/health", NULL, ANSWER_MS, &reply);
	if (rc)
		return no_talk(data, rc);
	if (reply.status != 200)
		code = fail_with(EXIT_FAILED, "the hub in %s answers with status %d", data, reply.status);
	else if (as_json)
		code = printf("%s\n", reply.body) < 0 ? EXIT_FAILED : EXIT_OK;
	else
		code = print_table(reply.body);
	http_reply_free(&reply);
	return code;
}
