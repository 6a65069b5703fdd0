/* A relay that knows nobody, and three guests with good tickets, two of one network and one of another, among strangers.
 * Input: steps, each an op(1) and what it takes:
 *   train    from(1), id(1), len(1), bytes     as they are, but for the id that stands in a header, if `id` says so
 *   admit    who(1), from(1)                   a guest binds, from there
 *   spoil    who(1), from(1), at(1), xor(1)    the same with one byte of its message changed
 *   join     who(1), whom(1)
 *   wait     seconds(1) */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "relay/relay_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GUESTS = 3, UNIX_S = 1700000000, OPS = 5 };
enum op { TRAIN, ADMIT, SPOIL, JOIN, WAIT };

struct guest {
	uint8_t network, ticket[RELAY_TICKET], token[RELAY_TOKEN];
	struct addr at; /* where it bound last */
	uint32_t slot;
};

struct world {
	struct relay_server *r;
	struct rng rng;
	uint64_t now;
	struct guest guests[GUESTS];
	uint32_t session; /* that a join gave */
	uint8_t reply[RELAY_PROVE_LEN];
	size_t reply_len;
};

static const uint8_t key[RELAY_KEY] = "shared with the hub";
static const struct addr relay = { .ip = { 203, 0, 113, 1 }, .port = 3478, .family = ADDR_V4 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct addr address(uint8_t n)
{
	return addr_from_ip(ADDR_V4, (const uint8_t[]) { 198, 51, 100, n & 3 }, (uint16_t)(n >> 2));
}

static void begin(struct world *w)
{
	*w = (struct world) { .now = 50000 };
	crypto_init();
	rng_init_seed(&w->rng, 1);
	w->r = relay_server_create(4, 4, &w->rng);
	relay_server_take_guests(w->r, key);
	relay_server_tick(w->r, w->now, UNIX_S);
	for (uint8_t i = 0; i < GUESTS; i++) {
		struct guest *g = &w->guests[i];
		const uint8_t netid[32] = { i / 2 }, ik[32] = { i };
		g->network = i / 2;
		relay_ticket_issue(g->ticket, g->token, key, netid, ik, UNIX_S + 600);
	}
}

static bool may_forward(const struct world *w, const struct addr *from, const struct addr *to)
{
	for (size_t i = 0; i < GUESTS; i++)
		for (size_t k = 0; k < GUESTS; k++)
			if (i != k && w->guests[i].network == w->guests[k].network &&
			    addr_equal(&w->guests[i].at, from) && addr_equal(&w->guests[k].at, to))
				return true;
	return false;
}

static enum relay_action give(struct world *w, const uint8_t *msg, size_t len, const struct addr *from)
{
	struct relay_route route = { relay, *from };

	w->reply_len = 0;
	enum relay_action what = relay_server_on_run(w->r, msg, len, len, &route, w->now, w->reply,
						     &w->reply_len);
	struct relay_stats s = relay_server_stats(w->r);
	must(what != RELAY_REPLY || (w->reply_len <= len && addr_equal(&route.node, from)));
	must(what != RELAY_FORWARD || may_forward(w, from, &route.node));
	must(s.slots <= GUESTS && s.sessions <= 1);
	return what;
}

static void train(struct world *w, struct reader *in)
{
	struct addr from = address(read_u8(in));
	uint8_t id = read_u8(in), msg[256];
	size_t len = read_u8(in);

	len = len < in->left ? len : in->left;
	memcpy(msg, read_bytes(in, len), len);
	if (len >= RELAY_HEADER && id % 8 < GUESTS)
		store_le32(msg + 4, w->guests[id % 8].slot);
	else if (len >= RELAY_HEADER && id % 8 < 5)
		store_le32(msg + 4, w->session);
	if (len)
		give(w, msg, len, &from);
}

/* A bind and what proves it, one byte of that changed. */
static void admit(struct world *w, struct guest *g, const struct addr *from, uint8_t at, uint8_t change)
{
	uint8_t msg[RELAY_ADMIT_LEN] = { RELAY_CONTROL, RELAY_BIND };

	if (from->port == 0 || give(w, msg, RELAY_BIND_LEN, from) != RELAY_REPLY)
		return;
	msg[1] = RELAY_ADMIT;
	memcpy(msg + RELAY_HEADER, w->reply + RELAY_HEADER, RELAY_MAC);
	crypto_blake2s(msg + 24, RELAY_MAC, g->token, RELAY_TOKEN, &(struct part) { msg + 4, 4 + RELAY_MAC },
		       1);
	memcpy(msg + RELAY_PROVE_LEN, g->ticket, RELAY_TICKET);
	msg[at % sizeof msg] ^= change;
	enum relay_action what = give(w, msg, sizeof msg, from);
	must(!change || what != RELAY_REPLY || w->reply[1] != RELAY_BOUND);
	if (what != RELAY_REPLY || w->reply[1] != RELAY_BOUND)
		return;
	g->at = *from;
	g->slot = load_le32(w->reply + 4);
	must(g->slot != 0);
}

static void join(struct world *w, const struct guest *g, const struct guest *whom)
{
	uint8_t msg[RELAY_JOIN_LEN] = { RELAY_CONTROL, RELAY_JOIN };

	store_le32(msg + 4, g->slot);
	memcpy(msg + RELAY_HEADER, whom->ticket + RELAY_TAG, RELAY_TAG);
	if (g->at.family == ADDR_NONE || give(w, msg, sizeof msg, &g->at) != RELAY_REPLY)
		return;
	uint32_t session = load_le32(w->reply + 4);
	must(!session || (g != whom && g->network == whom->network));
	w->session = session ? session : w->session;
}

static void step(struct world *w, struct reader *in)
{
	enum op op = read_u8(in) % OPS;

	if (op == TRAIN) {
		train(w, in);
		return;
	}
	uint8_t one = read_u8(in), two = op == WAIT ? 0 : read_u8(in);
	struct guest *g = &w->guests[one % GUESTS];
	struct addr from = address(two);
	if (op == ADMIT)
		admit(w, g, &from, 0, 0);
	if (op == SPOIL) {
		uint8_t at = read_u8(in), change = read_u8(in);
		admit(w, g, &from, at, change);
	}
	if (op == JOIN)
		join(w, g, &w->guests[two % GUESTS]);
	if (op == WAIT) {
		w->now += one * 1000U;
		relay_server_tick(w->r, w->now, UNIX_S + w->now / 1000);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_over(data, size);
	struct world w;

	begin(&w);
	while (in.left > 4)
		step(&w, &in);
	relay_server_destroy(w.r);
	return 0;
}
