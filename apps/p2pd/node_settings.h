/* What the node's administrator decides: by the file, and by options of `p2pd up` that win over it. */
#ifndef P2PD_APPS_P2PD_NODE_SETTINGS_H
#define P2PD_APPS_P2PD_NODE_SETTINGS_H

#include "apps/p2pd/forward/gateway.h"
#include "apps/p2pd/forward/policy.h"
#include "core/config.h"

#define NODE_SETTINGS_FILE "/etc/p2pd.yaml"

enum { NODE_SETTINGS_TEXT = 512, NODE_SETTINGS_WORD = 128 };

/* "" and 0 for what was not said. */
struct node_settings {
	char hub[NODE_SETTINGS_TEXT], network[NODE_SETTINGS_WORD], secret[NODE_SETTINGS_TEXT];
	char name[NODE_SETTINGS_WORD], ip4[NODE_SETTINGS_WORD], ip4_prefix[NODE_SETTINGS_WORD];
	long port;
	char cipher[NODE_SETTINGS_WORD], workers[NODE_SETTINGS_WORD], tun[NODE_SETTINGS_WORD];
	enum config_flag portmap, hard_nat;
	struct addr metrics;
	enum config_flag metrics_public;
	struct addr api;
	/* Of a gateway of port forwarding: words with commas between. */
	char gateway[NODE_SETTINGS_WORD], gateway_ports[NODE_SETTINGS_TEXT];
	char gateway_owners[RULE_TO_MAX * (CERT_NAME_MAX + 1)];
	uint32_t gateway_rate; /* bytes a second */
	long gateway_conn, gateway_owner_ports, door_port;
	char door_cert[GATEWAY_PATH_MAX], door_key[GATEWAY_PATH_MAX], door_name[RULE_DOMAIN];
	uint64_t audit_retention_s; /* of port forwarding; 0: for ever */
	char log_level[NODE_SETTINGS_TEXT], log_format[NODE_SETTINGS_WORD];
};

/* Where they come from, kept for the next reading. */
struct node_settings_source {
	const char *path; /* of --config, NULL: NODE_SETTINGS_FILE if there is one */
	struct config_typed typed;
};

extern const struct config_entry node_settings_entries[];

void node_settings_init(struct node_settings *s); /* the defaults */
/* The defaults, under what the file says, under what was typed. EXIT_OK; or another code, with errors in `f`, or none
 * there when a line was written to stderr. */
int node_settings_load(struct node_settings *s, const struct node_settings_source *source,
		       struct config_file *f);
/* The forwarding rules that the file declares. As above; to be freed after EXIT_OK. */
int node_settings_forwards(struct policy *p, const struct node_settings_source *source,
			   struct config_file *f);
/* What a gateway's administrator decided; without public addresses: this node is none. */
void node_settings_gateway(const struct node_settings *s, struct gateway_config *out);
/* How many threads `workers` stands for; 0 for what is no number of them. */
unsigned node_settings_workers(const char *text);

#endif
