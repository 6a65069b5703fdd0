/* Messages to a hub on three connections: two are logged in, one is not. Input: what(1), len(2), bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cert.h"
#include "relay/coord.h"
#include "relay/proto/link.pb-c.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LOGGED_IN = 2, CONNS = 3, UNIX_S = 1700000000 };

struct world {
	struct coord *c;
	uint64_t now;
	uint8_t nonce[CONNS + 1][32];
	bool to_close[CONNS + 1];
};

static struct network net;
static struct {
	uint8_t pk[32], sk[64], pass[64];
} nodes[CONNS + 1];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t seed[32] = { 1 };

	(void)argc;
	(void)argv;
	if (crypto_init())
		return -1;
	crypto_ed25519_keypair(net.root_pk, net.root_sk, seed);
	crypto_blake2b(net.netid, 32, NULL, 0, (struct part[]) { { "p2pd1/netid", 11 }, { net.root_pk, 32 } },
		       2);
	for (uint8_t i = 1; i <= CONNS; i++) {
		seed[1] = i;
		crypto_ed25519_keypair(nodes[i].pk, nodes[i].sk, seed);
		cert_pass_issue(nodes[i].pass, &net, nodes[i].pk, UNIX_S + 1000);
	}
	return 0;
}

/* All that the hub says must be what a node can read; challenges are remembered. */
static void listen_to(struct world *w)
{
	struct coord_out out;

	while (coord_next(w->c, &out)) {
		if (out.conn == 0 || out.conn > CONNS || (!out.msg && !out.close))
			abort();
		w->to_close[out.conn] |= out.close;
		Link__ToNode *m = out.msg ? link__to_node__unpack(NULL, out.len, out.msg) : NULL;
		if (out.msg && !m)
			abort();
		if (m && m->body_case == LINK__TO_NODE__BODY_CHALLENGE)
			memcpy(w->nonce[out.conn], m->challenge->nonce.data, 32);
		if (m)
			link__to_node__free_unpacked(m, NULL);
		free(out.msg);
	}
}

static ProtobufCBinaryData bin(uint8_t *p, size_t len)
{
	return (ProtobufCBinaryData) { .data = p, .len = len };
}

static void login(struct world *w, uint64_t conn)
{
	Link__Login l = LINK__LOGIN__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;
	uint8_t text[9 + 32 + 32 + 32] = "p2pd1/hub", sig[64], buf[512];

	memcpy(text + 41, net.netid, 32);
	memcpy(text + 73, w->nonce[conn], 32);
	crypto_ed25519_sign(sig, text, sizeof text, nodes[conn].sk);
	l.version = 1;
	l.netid = bin(net.netid, 32);
	l.root_pk = bin(net.root_pk, 32);
	l.ik = bin(nodes[conn].pk, 32);
	l.pass_not_after = UNIX_S + 1000;
	l.pass_sig = bin(nodes[conn].pass, 64);
	l.sig = bin(sig, 64);
	m.body_case = LINK__TO_HUB__BODY_LOGIN;
	m.login = &l;
	coord_on_message(w->c, conn, buf, link__to_hub__pack(&m, buf), w->now, UNIX_S);
}

static void open_conn(struct world *w, uint64_t conn)
{
	static const uint8_t exporter[COORD_EXPORTER];

	if (coord_on_open(w->c, conn, exporter, w->now))
		abort();
	listen_to(w);
	if (conn <= LOGGED_IN)
		login(w, conn);
	listen_to(w);
	if (conn <= LOGGED_IN && w->to_close[conn])
		abort();
}

/* Ends closed connections and opens the stranger's again. False when a member was closed: a login takes long, so the
 * input ends there. */
static bool go_on(struct world *w)
{
	bool members_there = true;

	for (uint64_t conn = 1; conn <= CONNS; conn++) {
		if (!w->to_close[conn])
			continue;
		coord_on_close(w->c, conn, w->now);
		w->to_close[conn] = false;
		members_there &= conn > LOGGED_IN;
		if (conn > LOGGED_IN)
			open_conn(w, conn);
	}
	return members_there;
}

static void step(struct world *w, struct reader *in)
{
	uint8_t what = read_u8(in);
	size_t len = read_le16(in);

	if (what % 8 == 7) {
		w->now += len;
		coord_tick(w->c, w->now);
		if (coord_deadline(w->c) <= w->now)
			abort();
		return;
	}
	len = len < in->left ? len : in->left;
	coord_on_message(w->c, 1 + what % CONNS, read_bytes(in, len), len, w->now, UNIX_S);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_over(data, size);
	struct world w = { .now = 1000 };
	struct rng rng;
	struct coord_config config = { .rng = &rng, .max_nodes = 4, .udp_count = 1 };

	rng_init_seed(&rng, 1);
	config.relay = relay_server_create(4, 4, &rng);
	w.c = coord_create(&config);
	for (uint64_t conn = 1; conn <= CONNS; conn++)
		open_conn(&w, conn);
	do {
		if (coord_stats(w.c).online != LOGGED_IN || coord_stats(w.c).connections != CONNS)
			abort();
		step(&w, &in);
		listen_to(&w);
	} while (go_on(&w) && in.left > 2);
	coord_destroy(w.c);
	relay_server_destroy(config.relay);
	return 0;
}
