/* A whole node: datagrams, TUN packets and hub messages of any content, in any order, while time passes.
 * Input: records of kind(1), length LE16, bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/engine.h"
#include "core/bytes.h"
#include "core/log.h"

enum { POOL = 256, FROM_HUB = 0, FROM_PEER, FROM_STRANGER, TUN, HUB_MESSAGE, HUB_DOWN, HUB_UP, TICK, KINDS };

static struct network net;
static struct pkt_pool pool;
static struct engine_config config;
static struct addr hub, peer, stranger;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_set_level(LOG_LVL_ERROR);
	if (crypto_init() || network_from_secret(&net, "home", "correct horse battery staple", 28) ||
	    pkt_pool_init(&pool, POOL))
		abort();
	addr_parse(&hub, "198.51.100.1:3478", 0);
	addr_parse(&peer, "203.0.113.1:40000", 0);
	addr_parse(&stranger, "203.0.113.99:1", 0);
	config = (struct engine_config) {
		.net = net, .name = "fuzzed", .ip4_bits = 16, .have_ip4 = true, .seed = 1
	};
	config.udp_port = 40001;
	config.pool = &pool;
	addr_parse(&config.ip4_prefix, "10.77.0.0", 0);
	return 0;
}

static void drain(struct engine *e)
{
	struct engine_event ev;

	/* Nothing of this input can have come from a peer's TUN: it would have to be sealed. */
	assert(e->tun_out.count == 0);
	pkt_list_clear(&e->udp_out, &pool);
	pkt_list_clear(&e->hub_out, &pool);
	while (engine_next_event(e, &ev)) {
	}
}

static struct pkt *pkt_of(const uint8_t *data, size_t len, const struct addr *from)
{
	struct pkt *p = pkt_get(&pool);

	if (!p)
		abort();
	memcpy(pkt_data(p), data, len);
	p->len = (uint32_t)len;
	p->addr = *from;
	return p;
}

static void step(struct engine *e, uint8_t kind, const uint8_t *data, size_t len, uint64_t *now_ms)
{
	static const uint8_t exporter[ENGINE_EXPORTER];

	switch (kind % KINDS) {
	case FROM_HUB: engine_on_datagram(e, pkt_of(data, len, &hub), *now_ms); break;
	case FROM_PEER: engine_on_datagram(e, pkt_of(data, len, &peer), *now_ms); break;
	case FROM_STRANGER: engine_on_datagram(e, pkt_of(data, len, &stranger), *now_ms); break;
	case TUN: engine_on_tun(e, pkt_of(data, len, &hub), *now_ms); break;
	case HUB_MESSAGE: engine_on_hub_message(e, data, len, *now_ms); break;
	case HUB_DOWN: engine_on_hub_down(e, *now_ms); break;
	case HUB_UP: engine_on_hub_up(e, exporter, &hub, *now_ms); break;
	default: *now_ms += len * 7; engine_tick(e, *now_ms);
	}
	drain(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_over(data, size);
	struct engine *e = malloc(sizeof *e);
	uint64_t now_ms = 1000000;
	struct engine_wg_peer wg = { .name = "phone", .pk = { 9 }, .endpoint = peer, .keepalive_s = 25 };

	if (!e || engine_init(e, &config, now_ms, 1800000000ULL * 1000000000))
		abort();
	engine_add_wg(e, &wg, now_ms);
	while (r.left >= 3) {
		uint8_t kind = read_u8(&r);
		size_t len = read_le16(&r);
		len = len < r.left ? len : r.left;
		step(e, kind, read_bytes(&r, len), len, &now_ms);
	}
	engine_free(e);
	free(e);
	assert(pool.in_use == 0);
	return 0;
}
