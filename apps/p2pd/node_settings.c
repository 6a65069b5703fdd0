#include "apps/p2pd/node_settings.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2pd/join.h"
#include "apps/p2pd/workers.h"
#include "core/fail.h"
#include "core/log.h"
#include "relay/hub_url.h"
#include "tun/device.h"

/* How many workers measure best: on two cores one, which shares nothing. */
unsigned node_settings_workers(const char *text)
{
	cpu_set_t cpus;
	char *end;

	if (*text && strcmp(text, "auto") != 0) {
		unsigned long n = strtoul(text, &end, 10);
		return *end || n > WORKERS_MAX ? 0 : (unsigned)n;
	}
	int cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	return cores < 4 ? 1 : cores < 8 ? 2 : 4;
}

static bool is_hub(const char *text)
{
	struct hub_url url;

	return strlen(text) <= STATE_URL_MAX && hub_url_parse(&url, text) == 0;
}

static bool is_secret(const char *text)
{
	return !strncmp(text, "file:", 5) || !strncmp(text, "env:", 4);
}

static bool is_ip4(const char *text)
{
	struct addr a;

	return addr_parse(&a, text, 0) == 0 && a.family == ADDR_V4 && a.port == 0;
}

static bool is_prefix(const char *text)
{
	struct addr prefix;
	unsigned bits;

	return join_parse_prefix(text, &prefix, &bits) == 0;
}

static bool is_cipher(const char *text)
{
	return !strcmp(text, "auto") || !strcmp(text, "chacha20");
}

static bool is_workers(const char *text)
{
	return node_settings_workers(text) > 0;
}

static bool is_tun(const char *text)
{
	return strlen(text) <= TUN_NAME_MAX && !strpbrk(text, "/: %");
}

static bool is_format(const char *text)
{
	return !strcmp(text, "text") || !strcmp(text, "json");
}

#define AT(field) .offset = offsetof(struct node_settings, field)
#define TEXT(field)                                                           \
	.kind = CONFIG_TEXT, .offset = offsetof(struct node_settings, field), \
	.max = sizeof((struct node_settings *)0)->field

const struct config_entry node_settings_entries[] = {
	{ "hub", TEXT(hub), .option = "hub", .value = "URL",
	  .help = "the hub, as `p2phub url` prints it there",
	  .takes = "a hub's URL, as `p2phub url` prints it there", .fits = is_hub },
	{ "network", TEXT(network), .option = "network", .value = "NAME",
	  .help = "the network; all its machines give the same name and secret" },
	{ "secret", TEXT(secret), .option = "secret", .value = "SPEC",
	  .help = "its secret as file:PATH or env:NAME; asked for when left out",
	  .takes = "file:PATH or env:NAME, never the secret itself", .fits = is_secret, .hushed = true },
	{ "name", TEXT(name), .option = "name", .value = "NAME",
	  .help = "this node's name in the network (the host's name)" },
	{ "ip4", TEXT(ip4), .option = "ip4", .value = "ADDRESS",
	  .help = "the overlay address to ask for (one derived from the node's key)",
	  .takes = "an IPv4 address", .fits = is_ip4 },
	{ "ip4_prefix", TEXT(ip4_prefix), .option = "ip4-prefix", .value = "CIDR",
	  .help = "the network's IPv4 addresses, the same on all machines (" JOIN_IP4_PREFIX ")",
	  .takes = "an IPv4 prefix of /8 to /29, such as " JOIN_IP4_PREFIX, .fits = is_prefix },
	{ "port", CONFIG_NUMBER, AT(port), .option = "port", .value = "N",
	  .help = "UDP port (a random one, kept)", .min = 1, .max = 65535 },
	{ "cipher", TEXT(cipher), .option = "cipher", .value = "WHICH",
	  .help = "auto: the faster one of two where both ends can; or chacha20 (auto; kept)",
	  .takes = "auto or chacha20", .fits = is_cipher },
	{ "workers", TEXT(workers), .option = "workers", .value = "N",
	  .help = "threads that carry data: 1 to 16, or auto: what measures best (auto)",
	  .takes = "auto or a number from 1 to 16", .fits = is_workers },
	{ "portmap", CONFIG_FLAG, AT(portmap) },
	{ "hard_nat", CONFIG_FLAG, AT(hard_nat) },
	{ "tun", TEXT(tun), .option = "tun", .value = "NAME",
	  .help = "name of the network device (p2pd0, p2pd1, ...)",
	  .takes = "a name of 1 to 15 characters without / : % or spaces", .fits = is_tun },
	{ "log.level", TEXT(log_level), .option = "log-level", .value = "LEVELS",
	  .help = LOG_LEVELS_HELP " (info)", .takes = LOG_LEVELS_HELP, .fits = log_levels_fit, .live = true },
	{ "log.format", TEXT(log_format), .option = "log-format", .value = "FORMAT",
	  .help = "text or json (text)", .takes = "text or json", .fits = is_format, .live = true },
	{ 0 },
};

_Static_assert(WORKERS_MAX == 16 && TUN_NAME_MAX == 15, "the table's words name them");

void node_settings_init(struct node_settings *s)
{
	*s = (struct node_settings) { .log_level = "info", .log_format = "text" };
}

int node_settings_load(struct node_settings *s, const struct node_settings_source *source,
		       struct config_file *f)
{
	const char *path = source->path;

	if (!path && access(NODE_SETTINGS_FILE, F_OK) == 0)
		path = NODE_SETTINGS_FILE;
	node_settings_init(s);
	*f = (struct config_file) { .path = "p2pd" };
	if (path && config_read(f, node_settings_entries, s, path) != 0)
		return EXIT_USAGE;
	return config_set_typed(node_settings_entries, &source->typed, s);
}
