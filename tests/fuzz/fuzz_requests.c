/* Bodies of the control socket's requests: the first byte chooses the request, and whether the body is the input as it
 * is or JSON of the right shape whose values come from the input (the JSON library is not instrumented, so the fuzzer
 * would hardly find that shape by itself). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/requests.h"

enum { VALUE_MAX = 128, BODY_MAX = 2048, SHAPED = 0x80 };

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

/* The next value: up to a zero byte, what JSON would not take in a string left out. */
static const char *value(const uint8_t **at, const uint8_t *end, char out[static VALUE_MAX])
{
	size_t len = 0;

	for (; *at < end && **at; (*at)++)
		if (**at >= ' ' && **at < 127 && **at != '"' && **at != '\\' && len < VALUE_MAX - 1)
			out[len++] = (char)**at;
	*at += *at < end;
	out[len] = 0;
	return out;
}

static size_t shaped(const uint8_t *data, size_t size, char out[static BODY_MAX])
{
	static const char a_key[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	const uint8_t *at = data, *end = data + size;
	char name[VALUE_MAX], key[VALUE_MAX], endpoint[VALUE_MAX], first[VALUE_MAX], second[VALUE_MAX];

	value(&at, end, name);
	value(&at, end, key);
	value(&at, end, endpoint);
	value(&at, end, first);
	value(&at, end, second);
	return (size_t)snprintf(out, BODY_MAX,
				"{\"name\":\"%s\",\"peer\":\"%s\",\"key\":\"%s\",\"endpoint\":\"%s\","
				"\"allowed_ips\":[\"%s\",\"%s\"],\"keepalive\":%zu,\"count\":%zu}",
				name, name, *key ? key : a_key, endpoint, first, second, size * 7, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct requests_target target = {
		.engine = &engine,
		.wg = &wg,
		.hub_url = "https://hub",
		.tun = "p2pd0",
		.wg_changed = on_wg_changed,
		.down = on_down,
	};
	struct requests_answer answer = { 0 };
	struct requests_ping ping;

	if (!engine.index)
		start();
	if (!size)
		return 0;
	char made[BODY_MAX];
	const char *body = data[0] & SHAPED ? made : (const char *)data + 1;
	size_t len = data[0] & SHAPED ? shaped(data + 1, size - 1, made) : size - 1;
	switch (data[0] % 5) {
	case 0: answer = requests_wg_add(&target, body, len, 1000); break;
	case 1: answer = requests_wg_remove(&target, body, len); break;
	case 2: answer = requests_down(&target, body, len); break;
	case 3: requests_ping(&target, body, len, &ping, &answer); break;
	case 4: answer = requests_why(&target, body, len, 1000, 1790000000000000000ull); break;
	}
	free(answer.body);
	while (wg.count) {
		if (engine_remove_wg(&engine, wg.items[0].name))
			abort();
		wg_peers_remove(&wg, wg.items[0].name);
	}
	return 0;
}
