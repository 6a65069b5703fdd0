/* The audit, and the token for reading the local API. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_spec.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

enum { TAIL = 64 };

static int tail_of(char out[static TAIL], const char *since)
{
	uint64_t ago, now = (uint64_t)time(NULL);

	*out = 0;
	if (!since)
		return EXIT_OK;
	if (portmap_seconds(&ago, since, NULL))
		return fail_with(EXIT_USAGE, "--since takes a time such as 90min, 12h or 7d, not '%.40s'",
				 since);
	snprintf(out, TAIL, "?since=%llu", (unsigned long long)(ago < now ? now - ago : 0));
	return EXIT_OK;
}

int cmd_portmap_audit(int argc, char **argv)
{
	struct portmap_talk talk = PORTMAP_TALK;
	const char *since = NULL;
	const struct options_entry entries[] = {
		{ "since", "TIME", "only the last 90min, 12h, 7d (all that is kept)", .text = &since },
		{ "json", NULL, "as one JSON object, schema p2pd.portmap.audit/1", .flag = &talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap audit [options]",
		.about = "Prints who did what to port forwarding on this node, and when: one JSON object a "
			 "line, "
			 "the newest\nlast, kept for 30 days by default.",
		.entries = entries,
	};
	struct options_list args;
	json_t *answer, *entry;
	char tail[TAIL + 8] = "/audit";
	size_t i;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = tail_of(tail + strlen(tail), since);
	if (!code)
		code = portmap_ask(&talk, "GET", NULL, tail, NULL, &answer);
	if (code)
		return code;
	if (talk.json)
		return portmap_print(&talk, answer);
	json_array_foreach(json_object_get(answer, "entries"), i, entry)
	{
		json_dumpf(entry, stdout, JSON_COMPACT);
		printf("\n");
	}
	json_decref(answer);
	return fflush(stdout) ? fail_with(EXIT_FAILED, "cannot write the answer") : EXIT_OK;
}

int cmd_portmap_api_token(int argc, char **argv)
{
	struct portmap_talk talk = PORTMAP_TALK;
	bool revoke = false;
	const struct options_entry entries[] = {
		{ "revoke", NULL, "take it back: nobody may read any more", .flag = &revoke },
		{ "json", NULL, "as JSON", .flag = &talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap api-token [options]",
		.about = "Prints a new token for reading the local API over TCP, as `p2pd up --api "
			 "127.0.0.1:9479` offers\nit. It can read, and change nothing. There is one at a "
			 "time: the "
			 "one of before is worth\nnothing from now on.",
		.entries = entries,
		.more = "example\n"
			"  p2pd portmap api-token > token\n"
			"  curl -H \"Authorization: Bearer $(cat token)\" "
			"http://127.0.0.1:9479/api/v1/portmap\n",
	};
	struct options_list args;
	json_t *answer;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = portmap_ask(&talk, revoke ? "DELETE" : "POST", NULL, "/api-token", NULL, &answer);
	if (code)
		return code;
	if (talk.json)
		return portmap_print(&talk, answer);
	if (!revoke)
		printf("%s\n", portmap_string(answer, "token"));
	json_decref(answer);
	return EXIT_OK;
}
