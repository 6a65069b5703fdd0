#include "apps/p2pd/node_settings.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2pd/forward/audit.h"
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

/* --- Of a gateway */

/* Calls `take` for each word of a list. False as soon as that says so. */
static bool each_word(const char *list, bool (*take)(void *arg, const char *word), void *arg)
{
	char word[NODE_SETTINGS_WORD];

	for (size_t len; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		snprintf(word, sizeof word, "%.*s", (int)len, list);
		if (!take(arg, word))
			return false;
	}
	return true;
}

/* Where visitors can come to: one address, that is told to others. */
static bool is_public(const char *text)
{
	struct addr a;

	return addr_parse(&a, text, 1) == 0 && a.port == 1 && !strchr(text, '%') && !addr_is_unusable(&a) &&
	       !addr_is_link_local(&a) && strcspn(text, "[]") == strlen(text);
}

static bool take_public(void *arg, const char *text)
{
	struct gateway_config *g = arg;
	struct addr a;

	addr_parse(&a, text, 0);
	struct addr *at = a.family == ADDR_V4 ? &g->public4 : &g->public6;
	if (at->family != ADDR_NONE)
		return false;
	*at = a;
	return true;
}

/* "PORT" or "FIRST-LAST". */
static bool read_ports(const char *text, struct rule_range *out)
{
	const char *end = text;
	unsigned long port[2] = { 0, 0 };

	for (int i = 0; i < 2; i++) {
		if (strspn(end, "0123456789") == 0 || strspn(end, "0123456789") > 5)
			return false;
		port[i] = strtoul(end, (char **)&end, 10);
		if (*end != '-' || i)
			break;
		end++;
	}
	port[1] = port[1] ? port[1] : port[0];
	*out = (struct rule_range) { (uint16_t)port[0], (uint16_t)(port[1] - port[0] + 1) };
	return !*end && port[0] > 0 && port[1] >= port[0] && port[1] <= UINT16_MAX;
}

static bool is_ports(const char *text)
{
	struct rule_range r;

	return read_ports(text, &r);
}

static bool take_ports(void *arg, const char *text)
{
	struct gateway_config *g = arg;

	return g->port_count < GATEWAY_PORT_SETS && read_ports(text, &g->ports[g->port_count++]);
}

static bool take_owner(void *arg, const char *text)
{
	struct gateway_config *g = arg;

	if (g->owner_count == RULE_TO_MAX)
		return false;
	snprintf(g->owners[g->owner_count++], sizeof *g->owners, "%.*s", CERT_NAME_MAX, text);
	return true;
}

static bool is_host_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";

	return strspn(text, letters) == strlen(text) && text[0] != '.' && text[0] != '-' &&
	       !strstr(text, "..");
}

void node_settings_gateway(const struct node_settings *s, struct gateway_config *out)
{
	*out = (struct gateway_config) {
		.max_rate = s->gateway_rate,
		.max_conn = (uint32_t)s->gateway_conn,
		.max_ports = (uint32_t)s->gateway_owner_ports,
		.door_port = (uint16_t)s->door_port,
	};
	each_word(s->gateway, take_public, out);
	each_word(s->gateway_ports, take_ports, out);
	each_word(s->gateway_owners, take_owner, out);
	memcpy(out->door_cert, s->door_cert, sizeof out->door_cert);
	memcpy(out->door_key, s->door_key, sizeof out->door_key);
	memcpy(out->door_name, s->door_name, sizeof out->door_name);
}

/* --- The table */

#define AT(field) .offset = offsetof(struct node_settings, field)
#define TEXT(field)                                                           \
	.kind = CONFIG_TEXT, .offset = offsetof(struct node_settings, field), \
	.max = sizeof((struct node_settings *)0)->field

#define WORDS(field)                                                           \
	.kind = CONFIG_WORDS, .offset = offsetof(struct node_settings, field), \
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
	{ "portmap", CONFIG_FLAG, AT(portmap), .takes = "yes or no (rules for ports are under forwards)" },
	{ "hard_nat", CONFIG_FLAG, AT(hard_nat) },
	{ "tun", TEXT(tun), .option = "tun", .value = "NAME",
	  .help = "name of the network device (p2pd0, p2pd1, ...)",
	  .takes = "a name of 1 to 15 characters without / : % or spaces", .fits = is_tun },
	{ "metrics.listen", CONFIG_ADDR, AT(metrics), .option = "metrics", .value = "ADDR:PORT",
	  .help = "answer GET /metrics (Prometheus) there, on loopback (nowhere)" },
	{ "metrics.public", CONFIG_FLAG, AT(metrics_public) },
	{ "api.listen", CONFIG_ADDR, AT(api), .option = "api", .value = "ADDR:PORT",
	  .help = "answer GET of the local API there, on loopback, to who has the token (nowhere)" },
	{ "gateway.address", WORDS(gateway), .option = "gateway", .value = "ADDR",
	  .help = "let visitors come to forwarded ports at this public address; once for IPv4, once for IPv6",
	  .takes = "a public IPv4 or IPv6 address of this machine, without a port", .fits = is_public },
	{ "gateway.ports", WORDS(gateway_ports), .takes = "ports such as 443 or 10000-19999",
	  .fits = is_ports, .live = true },
	{ "gateway.owners", WORDS(gateway_owners), .fits = rule_is_node, .live = true,
	  .takes = "names of members, or their overlay IPv6 addresses" },
	{ "gateway.max_rate", CONFIG_RATE, AT(gateway_rate), .none = "unlimited", .live = true },
	{ "gateway.max_conn", CONFIG_NUMBER, AT(gateway_conn), .min = 1, .max = 1000000, .live = true },
	{ "gateway.max_ports", CONFIG_NUMBER, AT(gateway_owner_ports), .min = 1, .max = 65535, .live = true },
	{ "gateway.door.port", CONFIG_NUMBER, AT(door_port), .min = 1, .max = 65535 },
	{ "gateway.door.cert", TEXT(door_cert), .takes = "the path of a certificate" },
	{ "gateway.door.key", TEXT(door_key), .takes = "the path of a private key" },
	{ "gateway.door.name", TEXT(door_name), .takes = "a name that leads to this machine",
	  .fits = is_host_name },
	{ "audit.retention", CONFIG_TIME, AT(audit_retention_s), .none = "forever", .live = true },
	{ "forwards", CONFIG_OTHERS, .live = true }, /* node_settings_forwards() */
	{ "log.level", TEXT(log_level), .option = "log-level", .value = "LEVELS",
	  .help = LOG_LEVELS_HELP " (info)", .takes = LOG_LEVELS_HELP, .fits = log_levels_fit, .live = true },
	{ "log.format", TEXT(log_format), .option = "log-format", .value = "FORMAT",
	  .help = "text or json (text)", .takes = "text or json", .fits = is_format, .live = true },
	{ 0 },
};

_Static_assert(WORKERS_MAX == 16 && TUN_NAME_MAX == 15, "the table's words name them");

void node_settings_init(struct node_settings *s)
{
	*s = (struct node_settings) { .audit_retention_s = AUDIT_KEEP_S,
				      .log_level = "info",
				      .log_format = "text" };
}

/* Who says anything of the gateway wants one: without an address there is none. NULL: all is well. */
static const char *lone_gateway_key(const struct node_settings *s, const struct config_file *f)
{
	const struct config_entry *entries = node_settings_entries;

	for (size_t i = 0; entries[i].key && !*s->gateway; i++)
		if (f->at[i].line && !strncmp(entries[i].key, "gateway.", sizeof "gateway." - 1))
			return entries[i].key;
	return NULL;
}

/* What only holds of several settings, or of all words of one, together. */
static void check_together(const struct node_settings *s, struct config_file *f)
{
	const struct config_entry *entries = node_settings_entries;
	struct gateway_config g = { 0 };
	const char *alone = lone_gateway_key(s, f);
	bool lone_cert = *s->door_cert && !*s->door_key, lone_key = *s->door_key && !*s->door_cert;

	if (alone)
		config_complain(f, entries, alone,
				"a gateway wants its public address: give gateway.address, or --gateway");
	if (!each_word(s->gateway, take_public, &g))
		config_complain(f, entries, "gateway.address",
				"gateway.address (--gateway) takes one IPv4 address and one IPv6 address, "
				"not two of one kind");
	if (!each_word(s->gateway_ports, take_ports, &g))
		config_complain(f, entries, "gateway.ports", "gateway.ports takes at most %d ranges",
				GATEWAY_PORT_SETS);
	if (!each_word(s->gateway_owners, take_owner, &g))
		config_complain(f, entries, "gateway.owners", "gateway.owners takes at most %d names",
				RULE_TO_MAX);
	if (lone_cert || lone_key)
		config_complain(f, entries, lone_cert ? "gateway.door.cert" : "gateway.door.key",
				"certificate and key belong together: give both, or none");
	if (s->api.family != ADDR_NONE && !addr_is_loopback(&s->api))
		config_complain(f, entries, "api.listen",
				"api.listen (--api) takes an address that only this machine reaches, such as "
				"127.0.0.1:9479");
}

/* NULL: there is none. */
static const char *file_of(const struct node_settings_source *source)
{
	if (source->path)
		return source->path;
	return access(NODE_SETTINGS_FILE, F_OK) == 0 ? NODE_SETTINGS_FILE : NULL;
}

int node_settings_load(struct node_settings *s, const struct node_settings_source *source,
		       struct config_file *f)
{
	const char *path = file_of(source);

	node_settings_init(s);
	*f = (struct config_file) { .path = "p2pd" };
	if (path && config_read(f, node_settings_entries, s, path) != 0)
		return EXIT_USAGE;
	int code = config_set_typed(node_settings_entries, &source->typed, s);
	if (code)
		return code;
	check_together(s, f);
	return f->errors ? EXIT_USAGE : EXIT_OK;
}

/* The length, or a negative errno. */
static ssize_t read_file(const char *path, char *out, size_t cap)
{
	FILE *file = fopen(path, "re");
	ssize_t len = file ? (ssize_t)fread(out, 1, cap, file) : -errno;

	if (file && ferror(file))
		len = -EIO;
	if (file)
		fclose(file);
	return len;
}

int node_settings_forwards(struct policy *p, const struct node_settings_source *source, struct config_file *f)
{
	const char *path = file_of(source);
	char *text = path ? malloc(CONFIG_FILE_MAX) : NULL;
	ssize_t len = text ? read_file(path, text, CONFIG_FILE_MAX) : path ? -ENOMEM : 0;
	struct policy_error e = { 0 };

	*p = (struct policy) { 0 };
	*f = (struct config_file) { .path = path };
	if (len < 0)
		config_complain(f, node_settings_entries, "", "cannot be read: %s", strerror((int)-len));
	else if (policy_read(p, POLICY_SETTINGS, text ? text : "", (size_t)len, &e))
		snprintf(f->error[f->errors++], CONFIG_LINE, "%.200s:%u:%u: %s", path, e.line, e.column,
			 e.why);
	free(text);
	return f->errors ? EXIT_USAGE : EXIT_OK;
}
