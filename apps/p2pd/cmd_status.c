#include "apps/p2pd/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/p2pd/client.h"
#include "core/fail.h"
#include "core/options.h"

/* The text under `key`, or `otherwise` when it is null or absent. */
static const char *text_of(json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : otherwise;
}

static const char *bytes_text(json_t *object, const char *key, char out[static 32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double n = (double)json_integer_value(json_object_get(object, key));
	size_t unit = 0;

	for (; n >= 1024 && unit < 4; unit++)
		n /= 1024;
	snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
	return out;
}

/* natcheck's verdict, in few words. Where the type is not known, the mapping may be. */
static const char *nat_words(json_t *nat)
{
	static const struct {
		const char *type, *words;
	} table[] = {
		{ "open", "none" },
		{ "firewall", "none, but a firewall that lets in only answers" },
		{ "nat1", "easy (NAT1, full cone)" },
		{ "nat2", "easy (NAT2, address-restricted cone)" },
		{ "nat3", "easy (NAT3, port-restricted cone)" },
		{ "nat4", "hard (NAT4, symmetric)" },
		{ "blocked", "UDP does not get out to the hub: allow it in the router or firewall" },
	};
	const char *type = text_of(nat, "type", ""), *mapping = text_of(nat, "mapping", "unknown");

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(type, table[i].type))
			return table[i].words;
	if (!strcmp(mapping, "none"))
		return "none";
	return strcmp(mapping, "endpoint-independent") ? "not known" : "easy";
}

static void print_nat(json_t *nat, const char *seen)
{
	printf("\n  NAT      %s", nat_words(nat));
	if (seen)
		printf("; seen from outside as %s", seen);
	printf("\n");
}

static void print_portmap(json_t *portmap)
{
	const char *external = text_of(portmap, "external", NULL);

	if (external)
		printf("  router   forwards %s to this node%s\n", external,
		       json_is_true(json_object_get(portmap, "double_nat"))
			       ? ", but is behind another NAT itself"
			       : "");
}

/* Only where it is not what one expects. */
static void print_data(json_t *data)
{
	const char *offload = text_of(data, "offload", "all");
	long long workers = json_integer_value(json_object_get(data, "workers"));

	if (!strcmp(offload, "all") && workers <= 1)
		return;
	printf("  data     offload %s, %lld thread%s\n", offload, workers, workers == 1 ? "" : "s");
}

static void print_forwarding(json_t *forwarding)
{
	const char *off = text_of(forwarding, "off", NULL);

	if (off)
		printf("  ports    forwarding is off: %s\n", off);
}

static void print_self(json_t *status)
{
	json_t *self = json_object_get(status, "self"), *hub = json_object_get(status, "hub");
	json_t *rtt = json_object_get(hub, "rtt_ms");

	printf("%s in network %s\n", text_of(self, "name", "?"), text_of(status, "network", "?"));
	printf("  address  %s  %s  (%s)\n", text_of(self, "ip4", "no IPv4"), text_of(self, "ip6", "no IPv6"),
	       text_of(self, "tun", "?"));
	printf("  hub      %.*s  %s", (int)strcspn(text_of(hub, "url", "?"), "#"), text_of(hub, "url", "?"),
	       json_is_true(json_object_get(hub, "connected")) ? "connected" : "not connected, trying");
	if (json_is_integer(rtt))
		printf(", %lld ms", (long long)json_integer_value(rtt));
	if (text_of(hub, "proxy", NULL))
		printf(", by the proxy %s", text_of(hub, "proxy", NULL));
	print_nat(json_object_get(self, "nat"), text_of(self, "reflexive", NULL));
	print_portmap(json_object_get(json_object_get(self, "nat"), "portmap"));
	print_data(json_object_get(status, "data"));
	print_forwarding(json_object_get(status, "forwarding"));
}

/* "42 s", "3 min", "5 h", "12 d" since a time such as 2026-01-31T09:05:00Z. */
static const char *ago_text(const char *since, char out[static 32])
{
	static const struct {
		long s;
		const char *name;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" } };
	struct tm tm = { 0 };

	if (!strptime(since, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return "?";
	long s = (long)(time(NULL) - timegm(&tm));
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (s >= 2 * units[i].s) {
			snprintf(out, 32, "%ld %s", s / units[i].s, units[i].name);
			return out;
		}
	snprintf(out, 32, "%ld s", s > 0 ? s : 0);
	return out;
}

/* "direct to 203.0.113.7:4242 (lan), 9 ms, for 3 min", "relayed by the hub for 5 s: the peer is offline" */
static void print_path(json_t *path)
{
	const char *kind = text_of(path, "kind", "none"), *reason = text_of(path, "reason", NULL);
	json_t *rtt = json_object_get(path, "rtt_ms");
	char ago[32];

	if (!strcmp(kind, "none")) {
		printf("%s\n", reason ? reason : "no way");
		return;
	}
	if (!strcmp(kind, "direct"))
		printf("direct to %s (%s)", text_of(path, "endpoint", "?"), text_of(path, "technique", "?"));
	else if (json_is_true(json_object_get(path, "home_relay")))
		printf("relayed by its home relay %s", text_of(path, "endpoint", "?"));
	else
		printf("relayed by the hub%s", strcmp(kind, "relay-tls") ? "" : " over TLS");
	if (json_is_integer(rtt))
		printf(", %lld ms,", (long long)json_integer_value(rtt));
	printf(" for %s", ago_text(text_of(path, "since", ""), ago));
	if (reason)
		printf(": %s", reason);
	printf("\n");
}

static void print_cipher(const char *cipher, int width)
{
	if (cipher)
		printf("%*s  sealed with %s\n", width, "", cipher);
}

static int name_width(json_t *peers)
{
	size_t i, width = 4;
	json_t *peer;

	json_array_foreach(peers, i, peer)
	{
		size_t len = strlen(text_of(peer, "name", "?"));
		width = len > width ? len : width;
	}
	return (int)width;
}

/* The word says it all. Stock peers are not watched by the hub: there it takes a reason. */
static bool is_plainly_offline(json_t *peer)
{
	return json_is_false(json_object_get(peer, "online")) &&
	       strcmp(text_of(peer, "kind", ""), "wireguard") &&
	       strcmp(text_of(json_object_get(peer, "path"), "kind", ""), "direct");
}

static void print_peers(json_t *peers)
{
	int width = name_width(peers);
	char rx[32], tx[32];
	size_t i;
	json_t *peer;

	if (!json_array_size(peers))
		printf("\nno other machine is in this network yet: run `p2pd up` there with the same "
		       "secret\n");
	json_array_foreach(peers, i, peer)
	{
		printf("\n%-*s  %s  %s, received %s, sent %s\n", width, text_of(peer, "name", "?"),
		       text_of(peer, "ip4", text_of(peer, "ip6", "?")),
		       json_is_true(json_object_get(peer, "online")) ? "online" : "offline",
		       bytes_text(peer, "rx_bytes", rx), bytes_text(peer, "tx_bytes", tx));
		if (is_plainly_offline(peer))
			continue;
		printf("%*s  ", width, "");
		print_path(json_object_get(peer, "path"));
		print_cipher(text_of(peer, "cipher", NULL), width);
	}
}

static int print_table(const char *text)
{
	json_t *status = json_loads(text, 0, NULL);

	if (!status)
		return fail_with(EXIT_FAILED, "the daemon's answer is not JSON");
	print_self(status);
	print_peers(json_object_get(status, "peers"));
	json_decref(status);
	return EXIT_OK;
}

int cmd_status(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET;
	bool as_json = false;
	const struct options_entry entries[] = {
		{ "json", NULL, "as JSON, schema p2pd.status/1", .flag = &as_json },
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd status [options]",
		.about = "Tells of this node, its hub and its peers: how packets reach each, and why when "
			 "not directly.",
		.entries = entries,
	};
	struct options_list args;
	char *answer;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = client_call(socket, "GET", "/v1/status", NULL, &answer);
	if (code)
		return code;
	if (as_json)
		printf("%s\n", answer);
	else
		code = print_table(answer);
	free(answer);
	return code;
}
