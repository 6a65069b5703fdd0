/* All WireGuard messages, and those of AEGIS-256, into two peers that have a session and a new handshake under way. The input is a message, or
 * damage done to a real one, with mac1 made right again or not. Whatever is not the real message must be refused and
 * leave the sessions as they were. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/control.h"
#include "tests/unit/wg_pair.h"

enum { REALS = 8 };

static struct pair pair;
static struct {
	struct node *to;
	struct letter letter;
} real[REALS];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void give(struct node *to, const struct letter *letter, struct letter *reply)
{
	struct letter in = *letter;
	struct session_opened opened;

	must(node_receive(to, pair.now, false, &in, reply, &opened) == 0);
}

static void handshake(struct letter *a, struct letter *b)
{
	session_want(&pair.lo.session, pair.now);
	must(node_next(&pair.lo, pair.now, a) == SESSION_MESSAGE);
	give(&pair.hi, a, b);
	give(&pair.lo, b, a);
	must(node_next(&pair.lo, pair.now, a) == SESSION_MESSAGE);
	give(&pair.hi, a, b);
	must(node_next(&pair.hi, pair.now, b) == SESSION_MESSAGE);
	give(&pair.lo, b, a);
}

/* A word on ciphers. */
static void send_by(struct node *from, struct node *to, int number, enum cipher cipher)
{
	uint8_t word[CONTROL_CIPHER_LEN];
	struct sealer s;

	control_write_cipher(word, &(struct control_cipher) { .opens_aegis = true });
	must(keypair_sealer(&from->session.keypairs.current, cipher, 1, 1420, &s) == 0);
	real[number].to = to;
	real[number].letter.len = sealer_seal(&s, real[number].letter.bytes, word, sizeof word);
}

static void prepare(void)
{
	struct letter x;
	struct session_opened opened;

	must(crypto_init() == 0);
	pair_open(&pair, &(struct pair_options) { .own_kind = true, .aegis = true });
	handshake(&real[0].letter, &real[1].letter);
	pair.now += SESSION_REKEY_AFTER_MS;
	must(node_send(&pair.lo, pair.now, "from lo", &real[0].letter));
	must(node_send(&pair.hi, pair.now, "from hi", &real[1].letter));
	must(real[0].letter.bytes[0] == SEALER_FIRST_BYTE_AEGIS);
	send_by(&pair.lo, &pair.hi, 5, CIPHER_CHACHA20);
	send_by(&pair.hi, &pair.lo, 6, CIPHER_CHACHA20);
	send_by(&pair.hi, &pair.lo, 7, CIPHER_AEGIS256);
	must(node_next(&pair.lo, pair.now, &real[2].letter) == SESSION_MESSAGE);
	x = real[2].letter;
	must(node_receive(&pair.hi, pair.now, true, &x, &real[3].letter, &opened) == -EPERM);
	/* Its answer, from a copy, so that it is still unanswered. */
	const struct session before = pair.hi.session;
	give(&pair.hi, &real[2].letter, &real[4].letter);
	pair.hi.session = before;
	real[0].to = real[2].to = &pair.hi;
	real[1].to = real[3].to = real[4].to = &pair.lo;
}

static void make_mac1(const struct node *to, struct letter *l)
{
	size_t len = l->len - WG_MACS_LEN;

	crypto_blake2s(l->bytes + len, 16, to->checker.mac1_key, 32, &(struct part) { l->bytes, len }, 1);
}

/* True if the two differ in what the cryptography of the message covers. A sender's index and the MACs are only
 * covered by mac1, which anyone can make; a cookie's receiver index by nothing. */
static bool is_damaged(const struct letter *l, const struct letter *genuine)
{
	bool is_data = l->bytes[0] == WG_DATA || l->bytes[0] == SEALER_FIRST_BYTE_AEGIS;
	size_t end = is_data || l->bytes[0] == WG_COOKIE ? l->len : l->len - WG_MACS_LEN;
	size_t skip = is_data ? 4 : 8;

	if (l->len != genuine->len || memcmp(l->bytes, genuine->bytes, 4) != 0)
		return true;
	return memcmp(l->bytes + skip, genuine->bytes + skip, end - skip) != 0;
}

static void expect_refusal(struct node *to, const struct letter *letter, bool under_load)
{
	static struct session before;
	struct session_opened opened;
	struct letter in = *letter, reply;

	before = to->session;
	must(node_receive(to, pair.now, under_load, &in, &reply, &opened) < 0);
	must(memcmp(&before, &to->session, sizeof before) == 0);
	must(reply.len == 0 || (under_load && reply.len == WG_COOKIE_LEN && reply.len < letter->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct letter l = { .len = 0 };

	if (!pair.now)
		prepare();
	if (size < 2 || size > 1500)
		return 0;
	const bool raw = data[0] & 1, with_mac1 = data[0] & 2, under_load = data[0] & 4;
	struct node *to = real[data[1] % REALS].to;
	if (!raw)
		l = real[data[1] % REALS].letter;
	for (size_t i = 2; i < size; i++)
		l.bytes[i - 2] ^= data[i];
	if (raw || l.len < size - 2)
		l.len = size - 2;
	for (int i = 0; i < REALS; i++)
		if (!is_damaged(&l, &real[i].letter))
			return 0;
	if (with_mac1 && l.len > WG_MACS_LEN)
		make_mac1(to, &l);
	expect_refusal(to, &l, under_load);
	return 0;
}
