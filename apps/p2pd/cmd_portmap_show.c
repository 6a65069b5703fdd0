#include <stdio.h>
#include <string.h>

#include "apps/p2pd/cmd_portmap.h"
#include "apps/p2pd/portmap_talk.h"
#include "core/fail.h"

enum { LABEL = 12 };

static json_int_t number(json_t *rule, const char *key)
{
	return json_integer_value(json_object_get(rule, key));
}

static void label(const char *text)
{
	printf("  %-*s", LABEL, text);
}

static void line(const char *name, const char *text)
{
	if (!*text)
		return;
	label(name);
	portmap_put(text, 0);
	printf("\n");
}

static void print_list(json_t *list, const char *separator)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		printf("%s", i ? separator : "");
		portmap_put(json_string_value(item) ? json_string_value(item) : "?", 0);
	}
}

static void print_service(json_t *rule)
{
	label("service");
	portmap_put(portmap_string(rule, "local"), 0);
	printf(" (%s)\n",
	       strcmp(portmap_string(rule, "proto"), "both") ? portmap_string(rule, "proto") : "tcp and udp");
}

static void print_addresses(json_t *rule)
{
	json_t *list = json_object_get(rule, "addresses");

	if (!json_array_size(list))
		return;
	label("reached at");
	print_list(list, "\n              ");
	printf("\n");
}

static void print_allow(json_t *allow)
{
	json_t *item;
	size_t i;

	json_array_foreach(allow, i, item)
	{
		const char *text = json_string_value(item) ? json_string_value(item) : "?";
		printf("%s", i ? ", " : "; only ");
		if (!strcmp(text, "token"))
			printf("who opened a link");
		else
			portmap_put(text, 0);
	}
}

static void print_who(json_t *rule)
{
	const char *scope = portmap_string(rule, "scope");
	json_t *to = json_object_get(rule, "to"), *allow = json_object_get(rule, "allow");

	label("for");
	if (!strcmp(scope, "public")) {
		printf("the public, by the gateway ");
		portmap_put(portmap_string(rule, "via"), 0);
	} else if (!strcmp(scope, "nodes")) {
		printf("the members ");
		print_list(to, ", ");
	} else {
		printf("all members of the network");
	}
	print_allow(allow);
	printf("\n");
}

/* What it was asked to be, and what came of it. */
static void print_mode(json_t *rule)
{
	const char *mode = portmap_string(rule, "mode"), *why = portmap_string(rule, "mode_why"),
		   *state = portmap_string(rule, "state");

	/* Else there is nothing that is carried. */
	if (!*mode || (strcmp(state, "active") && strcmp(state, "paused")))
		return;
	label("carried by");
	printf("%s", strcmp(mode, "kernel") ? "p2pd itself" : "the kernel");
	if (*why) {
		printf(": ");
		portmap_put(why, 0);
	}
	printf("\n");
	label("visitors");
	if (!strcmp(mode, "kernel"))
		printf("are seen by their own addresses\n");
	else if (!strcmp(portmap_string(rule, "source_ip"), "proxy-v2"))
		printf("are told by a PROXY protocol v2 header\n");
	else
		printf("are seen as this machine\n");
}

static void print_limits(json_t *rule)
{
	char text[PORTMAP_WHEN], amount[PORTMAP_AMOUNT];
	json_int_t conn = number(rule, "max_conn"), idle = number(rule, "idle_s"),
		   rate = number(rule, "rate"), end = number(rule, "expires_at");

	label("limits");
	if (conn)
		printf("%lld connections", (long long)conn);
	else
		printf("any number of connections");
	if (idle)
		printf(", idle ones end after %s", portmap_span(idle, text));
	if (rate)
		printf(", %s each way", portmap_rate(rate, amount));
	if (end)
		printf(", until %s", portmap_when(end, text));
	printf("\n");
}

static void print_times(json_t *rule)
{
	char made[PORTMAP_WHEN], changed[PORTMAP_WHEN];
	json_int_t at = number(rule, "created_at"), removed = number(rule, "removed_at");

	if (!at)
		return;
	label("made");
	printf("%s, last changed %s", portmap_when(at, made),
	       portmap_when(number(rule, "changed_at"), changed));
	if (removed)
		printf(", removed %s", portmap_when(removed, made));
	printf("\n");
}

static void print_rule(json_t *rule)
{
	const char *name = portmap_string(rule, "name"), *why = portmap_string(rule, "why");

	portmap_put(*name ? name : "(no name)", 0);
	printf("  %s", portmap_string(rule, "state"));
	if (*why) {
		printf(": ");
		portmap_put(why, 0);
	}
	printf("\n");
	line("forward_id", portmap_string(rule, "forward_id"));
	print_service(rule);
	print_who(rule);
	print_addresses(rule);
	line("domain", portmap_string(rule, "domain"));
	print_mode(rule);
	print_limits(rule);
	print_times(rule);
}

static int show_one(void *arg, const char *id)
{
	const struct portmap_talk *talk = arg;
	json_t *rule;
	int code = portmap_ask_about(talk, "GET", id, "", NULL, id, &rule);

	if (code)
		return code;
	if (talk->json)
		return portmap_print(talk, rule);
	print_rule(rule);
	json_decref(rule);
	return EXIT_OK;
}

int cmd_portmap_show(int argc, char **argv)
{
	struct portmap_talk talk = PORTMAP_TALK;
	const struct options_entry entries[] = {
		{ "json", NULL, "as JSON, one object a line", .flag = &talk.json },
		{ "socket", "PATH", PORTMAP_SOCKET_HELP, .text = &talk.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd portmap show RULE... [options]",
		.about = "Tells all about rules: where they are reached, how they are carried and why so, "
			 "their "
			 "limits.",
		.entries = entries,
		.more = "RULE is a forward_id or a name; - reads them from stdin.\n",
		.min_args = 1,
		.max_args = OPTIONS_LIST_MAX,
	};
	struct options_list args;
	int code;

	return options_parse(&options, argc, argv, &args, &code) ? portmap_each(&args, show_one, &talk)
								 : code;
}
