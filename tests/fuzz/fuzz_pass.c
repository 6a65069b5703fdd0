/* Packets of any content between outside and a forwarded port. Input: packets of length LE16, each
 * asked about both ways. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/forward/pass.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pass *make(const uint8_t *peer)
{
	struct pass_entry list[] = {
		{ .side = FORWARD_OWNER, .proto = FORWARD_TCP, .first = 100, .count = 40000 },
		{ .side = FORWARD_OWNER, .proto = FORWARD_UDP, .first = 100, .count = 40000 },
		{ .side = FORWARD_GATEWAY, .proto = FORWARD_TCP, .first = 100, .count = 40000 },
		{ .side = FORWARD_GATEWAY, .proto = FORWARD_UDP, .first = 1, .count = 65535 }
	};
	struct pass *p = pass_create();

	for (int i = 0; i < 4; i++)
		memcpy(list[i].peer, peer, 32);
	if (!p || pass_set(p, list, 4))
		abort();
	return p;
}

/* On the heap, exactly as long as its header says, so that a read beyond it is found. */
static void ask(struct pass *p, const uint8_t *peer, const uint8_t *data, size_t len)
{
	static const uint8_t stranger[32] = { 9 };
	struct ip_view ip;
	struct addr own4, own6;

	if (!ip_parse(&ip, data, len))
		return;
	uint8_t *packet = malloc(ip.total);
	memcpy(packet, data, ip.total);
	assert(ip_parse(&ip, packet, ip.total));
	own4 = own6 = addr_from_ip(ip.family, ip.dst, 0);
	assert(!pass_in(p, stranger, &ip, packet, &own4, &own6));
	pass_in(p, peer, &ip, packet, &own4, &own6);
	own4 = own6 = (struct addr) { 0 };
	assert(!pass_in(p, stranger, &ip, packet, &own4, &own6));
	pass_in(p, peer, &ip, packet, &own4, &own6);
	const uint8_t *gateway = pass_out(p, &ip, packet);
	assert(!gateway || !memcmp(gateway, peer, 32));
	free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t peer[32] = { 1 };
	struct reader r = reader_over(data, size);
	struct pass *p = make(peer);

	while (r.left >= 2) {
		size_t len = read_le16(&r);
		len = len < r.left ? len : r.left;
		ask(p, peer, read_bytes(&r, len), len);
	}
	pass_destroy(p);
	return 0;
}
