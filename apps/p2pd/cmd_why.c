#include "apps/p2pd/commands.h"

#include <jansson.h>
#include <stdlib.h>

#include "apps/p2pd/client.h"
#include "apps/p2pd/why_text.h"
#include "core/fail.h"
#include "core/options.h"

static int print_answer(const char *answer, bool as_json)
{
	json_t *why = as_json ? NULL : json_loads(answer, 0, NULL);

	if (as_json)
		printf("%s\n", answer);
	else if (!why)
		return fail_with(EXIT_FAILED, "the daemon's answer is not JSON");
	else
		why_text_print(why, stdout);
	json_decref(why);
	return EXIT_OK;
}

static int ask(const char *socket, const char *peer, bool as_json)
{
	json_t *json = json_pack("{ss}", "peer", peer);
	char *body = json ? json_dumps(json, JSON_COMPACT) : NULL, *answer;

	json_decref(json);
	if (!body)
		return fail_with(EXIT_USAGE, "'%s' is not the name or address of a peer", peer);
	int code = client_call(socket, "POST", "/v1/why", body, &answer);
	free(body);
	if (code)
		return code;
	code = print_answer(answer, as_json);
	free(answer);
	return code;
}

int cmd_why(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET;
	bool as_json = false;
	const struct options_entry entries[] = {
		{ "json", NULL, "as JSON, schema p2pd.why/1", .flag = &as_json },
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd why PEER [options]",
		.about = "Tells why packets to a peer, by name or overlay address, go directly or over the\n"
			 "relay: both NATs, what was tried, when it is tried again, what would help.",
		.entries = entries,
		.min_args = 1,
		.max_args = 1,
	};
	struct options_list args;
	int code;

	return options_parse(&options, argc, argv, &args, &code) ? ask(socket, args.items[0], as_json) : code;
}
