/* UPnP Internet Gateway Device 1 and 2 (WANIPConnection:1 and :2, WANPPPConnection:1, WANIPv6FirewallControl:1): blocks,
 * within the limit.
 * Search, HTTP and SOAP are done here, with libminiupnpc for the parsing of XML: the library's own transport waits for
 * each byte anew, takes answers of any length and looks up any name that a device on the LAN tells it. Here a device is
 * spoken to only at the literal address, on the LAN, that its answer to our search came from, for as long as the limit
 * allows, and says UPNP_REPLY_MAX bytes at most. */
#ifndef P2PD_NAT_UPNP_H
#define P2PD_NAT_UPNP_H

#include "nat/gateway.h"
#include "nat/lan_http.h"

enum {
	UPNP_REPLY_MAX = 65536,
	UPNP_DEVICES = 4, /* answers to a search that are looked at */
};

struct upnp_service {
	const char *type; /* NULL: not offered */
	struct lan_http_url url;
};

/* A gateway that was found, kept for the next job. Zeroed: none yet. */
struct upnp_igd {
	struct lan lan;		      /* where it was found (IPv4) */
	struct upnp_service wan;      /* WANIPConnection or WANPPPConnection */
	struct upnp_service firewall; /* WANIPv6FirewallControl */
	bool has_pinhole;
	unsigned pinhole; /* the id of our IPv6 pinhole */
};

/* The services in the description of the device at `base`, if their URLs stay at that address. False without one that
 * maps ports. `xml` is hostile; it is not terminated. */
bool upnp_read_description(struct upnp_igd *igd, const char *xml, size_t len, const struct addr *base);
/* An action's answer: 0, or -EPERM and the error's number in *code. `name` (NULL: none) is the element whose text is
 * copied to `value`, empty when it is not there. */
int upnp_read_answer(const char *xml, size_t len, const char *name, char *value, size_t cap, unsigned *code);
/* IPv6 means a pinhole, and is asked of the gateway that an IPv4 job has found before; else it is -ENOENT. */
void upnp_run(struct upnp_igd *igd, const struct gateway_job *job, const struct gateway_limit *limit,
	      struct gateway_result *out);

#endif
