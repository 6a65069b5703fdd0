#include "apps/p2pd/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/client.h"
#include "apps/p2pd/secret.h"
#include "core/crypto.h"
#include "core/commands.h"
#include "core/fail.h"
#include "core/options.h"

/* --- add */

struct add {
	const char *socket, *key, *psk, *endpoint;
	struct options_list allowed;
	long keepalive;
};

/* "10.77.200.2/32,fd00::2/128" as an array of texts. */
static json_t *split_prefixes(const struct options_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		for (const char *at = list->items[i]; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
			json_array_append_new(array, json_stringn(at, strcspn(at, ",")));
	return array;
}

static char *add_body(const struct add *a, const char *name, const char *psk)
{
	json_t *json = json_pack("{ss ss so sI}", "name", name, "key", a->key, "allowed_ips",
				 split_prefixes(&a->allowed), "keepalive", (json_int_t)a->keepalive);

	if (json && psk)
		json_object_set_new(json, "psk", json_string(psk));
	if (json && a->endpoint)
		json_object_set_new(json, "endpoint", json_string(a->endpoint));
	char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return body;
}

static int run_add(const struct add *a, const char *name)
{
	struct secret psk = { 0 };
	char why[SECRET_WHY];

	if (!a->key || !a->allowed.count)
		return fail_with(EXIT_USAGE, "--key and --allowed-ips are needed; see `p2pd wg add --help`");
	if (a->psk && secret_read(&psk, a->psk, "pre-shared key", why))
		return fail_with(EXIT_USAGE, "--psk: %s", why);
	char *body = add_body(a, name, a->psk ? psk.text : NULL);
	int code = body ? client_call(a->socket, "POST", "/v1/wg", body, NULL)
			: fail_with(EXIT_USAGE, "names, keys and addresses are plain text");
	if (body)
		crypto_wipe(body, strlen(body));
	free(body);
	secret_wipe(&psk);
	return code;
}

static int wg_add(int argc, char **argv)
{
	struct add a = { .socket = CLIENT_SOCKET };
	const struct options_entry entries[] = {
		{ "key", "BASE64", "the peer's public key", .text = &a.key },
		{ "psk", "SPEC", "pre-shared key as file:PATH or env:NAME", .text = &a.psk },
		{ "endpoint", "IP:PORT", "where it listens; without, it calls us", .text = &a.endpoint },
		{ "allowed-ips", "CIDR[,CIDR]", "the addresses that it has; may be repeated",
		  .list = &a.allowed },
		{ "keepalive", "SECONDS", "send something this often, to keep a NAT's mapping open (0: no)",
		  .number = &a.keepalive, .max = 65535 },
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &a.socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd wg add NAME --key BASE64 --allowed-ips CIDR [options]",
		.about = "Lets a stock WireGuard device talk to this node (to this node only: it is no "
			 "member of the network).",
		.entries = entries,
		.more = "example: a phone that calls this node, which has the public address 203.0.113.7\n"
			"  p2pd wg add phone --key PHONES-PUBLIC-KEY --allowed-ips 10.77.200.2/32\n"
			"and in the phone's WireGuard app:\n"
			"  [Interface]\n"
			"  PrivateKey = PHONES-PRIVATE-KEY\n"
			"  Address = 10.77.200.2/32\n"
			"  MTU = 1392\n"
			"  [Peer]\n"
			"  PublicKey = what `p2pd wg key` prints here\n"
			"  Endpoint = 203.0.113.7:PORT, the port that `p2pd status --json` tells\n"
			"  AllowedIPs = this node's address, see `p2pd status`\n"
			"  PersistentKeepalive = 25\n",
		.min_args = 1,
		.max_args = 1,
	};
	struct options_list args;
	int code;

	return options_parse(&options, argc, argv, &args, &code) ? run_add(&a, args.items[0]) : code;
}

/* --- ls */

static void print_peer(json_t *peer)
{
	const char *name = "?", *key = "?", *endpoint = NULL;
	json_t *allowed = NULL, *item;
	size_t i;

	json_unpack(peer, "{ss ss s?s s?o}", "name", &name, "key", &key, "endpoint", &endpoint, "allowed_ips",
		    &allowed);
	printf("%s  %s  ", name, key);
	json_array_foreach(allowed, i, item) printf("%s%s", i ? "," : "", json_string_value(item));
	printf("  %s\n", endpoint ? endpoint : "calls us");
}

static int print_list(const char *text)
{
	json_t *json = json_loads(text, 0, NULL), *peers = json_object_get(json, "peers"), *peer;
	size_t i;

	json_array_foreach(peers, i, peer) print_peer(peer);
	if (!json_array_size(peers))
		printf("no stock WireGuard peers; see `p2pd wg add --help`\n");
	json_decref(json);
	return EXIT_OK;
}

static int wg_ls(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET;
	bool as_json = false;
	const struct options_entry entries[] = {
		{ "json", NULL, "as JSON, schema p2pd.wg/1", .flag = &as_json },
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd wg ls [options]",
		.about = "Lists the stock WireGuard peers of this node.",
		.entries = entries,
	};
	struct options_list args;
	char *answer;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = client_call(socket, "GET", "/v1/wg", NULL, &answer);
	if (code)
		return code;
	if (as_json)
		printf("%s\n", answer);
	else
		print_list(answer);
	free(answer);
	return EXIT_OK;
}

/* --- rm, key */

static int wg_rm(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET;
	const struct options_entry entries[] = {
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd wg rm NAME [options]",
		.about = "Removes a stock WireGuard peer.",
		.entries = entries,
		.min_args = 1,
		.max_args = 1,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	json_t *json = json_pack("{ss}", "name", args.items[0]);
	char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
	code = body ? client_call(socket, "DELETE", "/v1/wg", body, NULL)
		    : fail_with(EXIT_NOT_FOUND, "no stock peer has this name; see `p2pd wg ls`");
	free(body);
	json_decref(json);
	return code;
}

static int wg_key(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET;
	const struct options_entry entries[] = {
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd wg key [options]",
		.about = "Prints this node's WireGuard public key, for the other device's configuration.",
		.entries = entries,
	};
	struct options_list args;
	char *answer;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = client_call(socket, "GET", "/v1/wg/key", NULL, &answer);
	if (code)
		return code;
	json_t *json = json_loads(answer, 0, NULL);
	const char *key = json_string_value(json_object_get(json, "key"));
	printf("%s\n", key ? key : "");
	json_decref(json);
	free(answer);
	return EXIT_OK;
}

/* --- */

static const struct command_action actions[] = {
	{ "add", "add NAME --key BASE64 --allowed-ips CIDR [options]", wg_add },
	{ "ls", "ls", wg_ls },
	{ "rm", "rm NAME", wg_rm },
	{ "key", "key", wg_key },
};

int cmd_wg(int argc, char **argv)
{
	static const struct command_group group = {
		.name = "p2pd wg",
		.about = "Stock WireGuard devices, such as a phone, that talk to this node. Each of these "
			 "has its --help.",
		.actions = actions,
		.count = sizeof actions / sizeof *actions,
	};

	return commands_act(&group, argc, argv);
}
