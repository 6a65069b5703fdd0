#include "apps/p2phub/hub_settings.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2phub/serve.h"
#include "core/fail.h"
#include "core/log.h"

enum { TLS_PORT = 443, UDP_PORT = 3478, SECOND_UDP_PORT = 3479, RETENTION_S = 90 * 86400 };

static bool is_host(const char *text)
{
	struct hub_url url = { .port = TLS_PORT }, again;
	char whole[HUB_URL_TEXT];

	if (strlen(text) > HUB_URL_HOST_MAX)
		return false;
	strcpy(url.host, text);
	return hub_url_parse(&again, hub_url_format(&url, whole)) == 0;
}

static bool is_url(const char *text)
{
	struct hub_url url;

	return hub_url_parse(&url, text) == 0;
}

static bool is_format(const char *text)
{
	return !strcmp(text, "text") || !strcmp(text, "json");
}

#define AT(field) .offset = offsetof(struct hub_settings, field)

const struct config_entry hub_settings_entries[] = {
	{ "data", CONFIG_TEXT, AT(data), "data", "DIR", "where the hub's key is kept (" HUB_SETTINGS_DATA ")",
	  .max = HUB_SETTINGS_TEXT, .takes = "the path of a folder" },
	{ "listen.tls", CONFIG_ADDR, AT(tls), "tls", "ADDR:PORT",
	  "for node links and the API, TCP (0.0.0.0:443)", .port = TLS_PORT },
	{ "listen.udp", CONFIG_ADDRS, AT(udp), "udp", "ADDR:PORT",
	  "for relay and STUN (0.0.0.0:3478 and :3479); up to 8 times", .port = UDP_PORT },
	{ "certificate.cert", CONFIG_TEXT, AT(cert), "cert", "FILE",
	  "certificate (PEM with its chain, or DER) instead of the hub's own", .max = HUB_SETTINGS_TEXT,
	  .takes = "the path of a certificate", .live = true },
	{ "certificate.key", CONFIG_TEXT, AT(key), "key", "FILE", "its private key", .max = HUB_SETTINGS_TEXT,
	  .takes = "the path of a private key", .live = true },
	{ "url_host", CONFIG_TEXT, AT(url_host), "url-host", "HOST",
	  "name or address in the URL that is shown", .max = HUB_SETTINGS_HOST,
	  .takes = "a name or an address", .fits = is_host, .live = true },
	{ "behind_proxy", CONFIG_TEXT, AT(behind_proxy), "behind-proxy", "URL",
	  "nodes come by a reverse proxy that ends TLS, at this URL: see below", .max = HUB_SETTINGS_URL,
	  .takes = "the URL by which nodes reach the proxy, such as https://vpn.example.org/hub",
	  .fits = is_url },
	{ "log.level", CONFIG_TEXT, AT(log_level), "log-level", "LEVELS", LOG_LEVELS_HELP " (info)",
	  .max = HUB_SETTINGS_LEVEL, .takes = LOG_LEVELS_HELP, .fits = log_levels_fit, .live = true },
	{ "log.format", CONFIG_TEXT, AT(log_format), "log-format", "FORMAT", "text or json (text)",
	  .max = HUB_SETTINGS_FORMAT, .takes = "text or json", .fits = is_format, .live = true },
	{ "metrics.listen", CONFIG_ADDR, AT(metrics), "metrics", "ADDR:PORT",
	  "answer GET /metrics (Prometheus) there by plain HTTP, too, on loopback (nowhere)" },
	{ "metrics.public", CONFIG_FLAG, AT(metrics_public) },
	{ "relays", CONFIG_ADDRS, AT(relays), "relay", "ADDR:PORT",
	  "another relay, run by `p2phub serve --relay-only`; up to 8 times", .port = UDP_PORT },
	{ "relay_key", CONFIG_TEXT, AT(relay_key), "relay-key", "FILE",
	  "the secret that the hub and its other relays share, as of `p2pd keygen`", .max = HUB_SETTINGS_TEXT,
	  .takes = "the path of a file" },
	{ "relay.quota.total_rate", CONFIG_RATE, AT(quota.total_rate), .none = "unlimited", .live = true },
	{ "relay.quota.network_rate", CONFIG_RATE, AT(quota.network_rate), .none = "unlimited",
	  .live = true },
	{ "relay.quota.node_rate", CONFIG_RATE, AT(quota.node_rate), .none = "unlimited", .live = true },
	{ "relay.quota.network_month", CONFIG_SIZE, AT(quota.network_month), .none = "unlimited",
	  .live = true },
	{ "relay.quota.node_month", CONFIG_SIZE, AT(quota.node_month), .none = "unlimited", .live = true },
	{ "limits.nodes", CONFIG_NUMBER, AT(nodes), .min = 1, .max = SERVE_NODES_MAX, .live = true },
	{ "audit.retention", CONFIG_TIME, AT(audit_retention_s), .none = "forever", .live = true },
	{ 0 },
};

void hub_settings_init(struct hub_settings *s)
{
	*s = (struct hub_settings) { .data = HUB_SETTINGS_DATA,
				     .log_level = "info",
				     .log_format = "text",
				     .metrics_public = CONFIG_NO,
				     .nodes = SERVE_NODES_MAX,
				     .audit_retention_s = RETENTION_S };
	addr_parse(&s->tls, "0.0.0.0", TLS_PORT);
	/* By the second one nodes see whether their NAT maps each destination anew. */
	addr_parse(&s->udp.items[0], "0.0.0.0", UDP_PORT);
	addr_parse(&s->udp.items[1], "0.0.0.0", SECOND_UDP_PORT);
	s->udp.count = 2;
}

/* What only holds of several settings together. */
static int check_together(const struct hub_settings *s, struct config_file *f)
{
	bool lone_cert = *s->cert && !*s->key, lone_key = *s->key && !*s->cert;

	if (s->udp.count == 0)
		config_complain(f, hub_settings_entries, "listen.udp",
				"listen.udp names no address: leave it out for the default");
	if (*s->behind_proxy && *s->url_host)
		config_complain(f, hub_settings_entries, "url_host",
				"behind_proxy holds the whole URL: leave out url_host");
	if (s->relays.count && !*s->relay_key)
		config_complain(f, hub_settings_entries, "relays",
				"other relays need relay_key, the file with the secret that they share with "
				"the hub");
	if (lone_cert || lone_key)
		config_complain(f, hub_settings_entries, lone_cert ? "certificate.cert" : "certificate.key",
				"certificate and key belong together: give both, or none");
	return f->errors ? -EBADMSG : 0;
}

int hub_settings_load(struct hub_settings *s, const struct hub_settings_source *source, struct config_file *f)
{
	bool named = source->path || access(HUB_SETTINGS_FILE, F_OK) == 0;
	int rc = 0;

	hub_settings_init(s);
	if (named)
		rc = config_read(f, hub_settings_entries, s, source->path ? source->path : HUB_SETTINGS_FILE);
	else
		*f = (struct config_file) { .path = "p2phub" };
	if (rc)
		return EXIT_USAGE;
	int code = config_set_typed(hub_settings_entries, &source->typed, s);
	if (code)
		return code;
	return check_together(s, f) ? EXIT_USAGE : EXIT_OK;
}
