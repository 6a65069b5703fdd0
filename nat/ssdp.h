/* Search for devices on the LAN (UPnP Device Architecture 1.1, section 1.3). Pure. */
#ifndef P2PD_NAT_SSDP_H
#define P2PD_NAT_SSDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SSDP_PORT = 1900,
	SSDP_MAX = 1500,
	SSDP_URL_MAX = 256,
	SSDP_MX_S = 1, /* within which devices answer */
};
#define SSDP_GROUP "239.255.255.250"

/* The length of the search for `target`, or 0 when it does not fit. */
size_t ssdp_search(const char *target, char *out, size_t cap);
/* The description's URL in an answer. False for what is no answer of success or names none. */
bool ssdp_read_answer(char url[static SSDP_URL_MAX], const uint8_t *msg, size_t len);

#endif
