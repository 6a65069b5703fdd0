/* Bodies of the control socket's requests: the first byte chooses the request. */
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/requests.h"

static struct engine engine;
static struct wg_peers wg;

static int on_wg_changed(void *arg, const struct engine_wg_peer *peer, bool added)
{
	(void)arg;
	(void)peer;
	(void)added;
	return 0;
}

static void on_down(void *arg, bool forget)
{
	(void)arg;
	(void)forget;
}

static void start(void)
{
	static struct pkt_pool pool;
	struct engine_config config = {
		.name = "self", .ik_seed = { 1 }, .wk_sk = { 2 }, .ip4_bits = 16, .pool = &pool, .seed = 1
	};

	crypto_init();
	addr_parse(&config.ip4_prefix, "10.77.0.0", 0);
	if (pkt_pool_init(&pool, 8) || network_from_secret(&config.net, "home", "some long secret", 16) ||
	    engine_init(&engine, &config, 1000, 1790000000000000000ull))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct requests_target target = { &engine,	      &wg,     "https://hub", "p2pd0",
						       on_wg_changed, on_down, NULL };
	struct requests_answer answer = { 0 };
	struct requests_ping ping;

	if (!engine.index)
		start();
	if (!size)
		return 0;
	const char *body = (const char *)data + 1;
	size_t len = size - 1;
	switch (data[0] % 4) {
	case 0: answer = requests_wg_add(&target, body, len, 1000); break;
	case 1: answer = requests_wg_remove(&target, body, len); break;
	case 2: answer = requests_down(&target, body, len); break;
	case 3: requests_ping(&target, body, len, &ping, &answer); break;
	}
	free(answer.body);
	while (wg.count) {
		if (engine_remove_wg(&engine, wg.items[0].name))
			abort();
		wg_peers_remove(&wg, wg.items[0].name);
	}
	return 0;
}
