#include "apps/natcheck/nat64.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

/* RFC 6052 section 2.2: where the four bytes are, for each length of prefix. Byte 8 is always left out. */
static const struct {
	unsigned bits;
	uint8_t at[4];
} places[] = {
	{ 96, { 12, 13, 14, 15 } }, { 64, { 9, 10, 11, 12 } }, { 56, { 7, 9, 10, 11 } },
	{ 48, { 6, 7, 9, 10 } },    { 40, { 5, 6, 7, 9 } },    { 32, { 4, 5, 6, 7 } },
};

/* RFC 7050 section 8.2: 192.0.0.170 and 192.0.0.171. */
static bool is_well_known(const uint8_t ip[static 4])
{
	return ip[0] == 192 && ip[1] == 0 && ip[2] == 0 && (ip[3] == 170 || ip[3] == 171);
}

unsigned nat64_prefix_bits(const struct addr *a)
{
	if (a->family != ADDR_V6)
		return 0;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		uint8_t ip[4];
		for (int j = 0; j < 4; j++)
			ip[j] = a->ip[places[i].at[j]];
		if (is_well_known(ip))
			return places[i].bits;
	}
	return 0;
}

static void note(struct nat64 *n, const struct addr *a)
{
	unsigned bits = nat64_prefix_bits(a);

	if (!bits || n->found == DISCOVER_YES)
		return;
	n->found = DISCOVER_YES;
	n->bits = bits;
	n->prefix = (struct addr) { .family = ADDR_V6 };
	memcpy(n->prefix.ip, a->ip, bits / 8);
}

void nat64_find(void *arg)
{
	struct nat64 *n = arg;
	struct addrinfo hints = { .ai_family = AF_INET6, .ai_socktype = SOCK_DGRAM }, *found;
	int ret = getaddrinfo("ipv4only.arpa", NULL, &hints, &found);

	/* The name exists everywhere, with IPv4 addresses only. */
	if (ret == EAI_NODATA || ret == EAI_ADDRFAMILY)
		n->found = DISCOVER_NO;
	if (ret)
		return;
	n->found = DISCOVER_NO;
	for (struct addrinfo *ai = found; ai; ai = ai->ai_next) {
		struct addr a = addr_from_sockaddr(ai->ai_addr);
		note(n, &a);
	}
	freeaddrinfo(found);
}
