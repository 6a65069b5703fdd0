/* Data messages of both ciphers, sealed and opened by themselves. In bulk and with sessions: test_session_bulk.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/noise.h"
#include "core/sealer.h"

enum { FULL = 1392 };

static const enum cipher ciphers[] = { CIPHER_CHACHA20, CIPHER_AEGIS256 };

static struct sealer sealer_of(enum cipher cipher)
{
	return (struct sealer) { .key = { 1, (uint8_t)cipher },
				 .end = UINT64_MAX,
				 .receiver = 0x01020304,
				 .cipher = cipher,
				 .mtu = FULL };
}

static struct opener opener_of_both(void)
{
	struct opener o = { .has_aegis = true };

	memcpy(o.chacha, sealer_of(CIPHER_CHACHA20).key, 32);
	memcpy(o.aegis, sealer_of(CIPHER_AEGIS256).key, 32);
	return o;
}

static void packets_are_padded_with_zeros_up_to_the_mtu(void **state)
{
	static const struct {
		size_t len, mtu, want;
	} cases[] = {
		{ 0, FULL, 0 },	      { 1, FULL, 16 },	    { 16, FULL, 16 },
		{ 17, FULL, 32 },     { 1391, FULL, FULL }, { FULL, FULL, FULL },
		{ 1393, FULL, 1393 }, { 1409, 1420, 1420 }, { 5, 0, 5 },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		const size_t len = cases[i / 2].len, want = cases[i / 2].want;
		uint8_t in[2048], out[2048];
		struct sealer s = sealer_of(ciphers[i % 2]);
		struct opener o = opener_of_both();
		struct opened opened;

		s.mtu = cases[i / 2].mtu;
		memset(in, 0xff, sizeof in);
		memset(out, 0xff, sizeof out);
		size_t n = sealer_length(&s, len);
		assert_int_equal(n, want + SEALER_HEADER + (s.cipher == CIPHER_AEGIS256 ? 32 : 16));
		assert_int_equal(sealer_seal(&s, out, in, len), n);
		assert_int_equal(out[n], 0xff);
		assert_int_equal(opener_open(&o, out, n, &opened), 0);
		assert_ptr_equal(opened.data, out + SEALER_HEADER);
		assert_int_equal(opened.len, want);
		assert_memory_equal(opened.data, in, len);
		assert_true(crypto_is_zero(opened.data + len, want - len));
	}
}

/* The mark of a packet whose checksum is left out, and what only looks like one. */
static void the_mark_of_a_missing_checksum_arrives_and_goes(void **state)
{
	static const struct {
		uint8_t first, want;
		bool unsummed;
	} cases[] = {
		{ 0x45, 0x45, false }, { 0x60, 0x60, false }, { 0xc5, 0x45, true },  { 0xe0, 0x60, true },
		{ 0xcf, 0x4f, true },  { 0xf0, 0xf0, false }, { 0xd0, 0xd0, false }, { 0x80, 0x80, false },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
		struct sealer s = sealer_of(ciphers[i % 2]);
		struct opener o = opener_of_both();
		struct opened opened;
		uint8_t in[64] = { cases[i / 2].first }, out[128];
		bool ours = s.cipher == CIPHER_AEGIS256;

		size_t n = sealer_seal(&s, out, in, sizeof in);
		assert_int_equal(opener_open(&o, out, n, &opened), 0);
		assert_int_equal(opened.unsummed, ours && cases[i / 2].unsummed);
		assert_int_equal(opened.data[0], ours ? cases[i / 2].want : cases[i / 2].first);
	}
	struct sealer s = sealer_of(CIPHER_AEGIS256);
	struct opener o = opener_of_both();
	struct opened opened;
	uint8_t out[128];
	assert_int_equal(opener_open(&o, out, sealer_seal(&s, out, out, 0), &opened), 0);
	assert_false(opened.unsummed); /* a keepalive */
}

/* Segments of one superframe lie one behind the other. */
static void sealing_elsewhere_leaves_the_packet_and_its_neighbours_alone(void **state)
{
	(void)state;
	for (size_t len = 0; len < 2 * 70; len++) {
		struct sealer s = sealer_of(ciphers[len % 2]), again = s;
		uint8_t in[256], before[256], out[256], place[256];

		for (size_t i = 0; i < sizeof in; i++)
			in[i] = (uint8_t)(i * 7);
		memcpy(before, in, sizeof in);
		size_t n = sealer_seal(&s, out, in + 64, len / 2);
		assert_memory_equal(in, before, sizeof in);
		memcpy(place + SEALER_HEADER, in + 64, len / 2);
		assert_int_equal(sealer_seal(&again, place, place + SEALER_HEADER, len / 2), n);
		assert_memory_equal(out, place, n);
	}
}

static void the_layouts_are_those_of_the_wire(void **state)
{
	static const uint8_t first[] = { 4, 0x83 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sealer s = sealer_of(ciphers[i]);
		uint8_t out[128], want[128];
		uint32_t receiver;

		s.next = UINT64_C(0x1122334455667788);
		size_t n = sealer_seal(&s, out, (const uint8_t *)"0123456789abcdef", 16);
		assert_int_equal(n, i == 0 ? 48 : 64);
		assert_int_equal(load_le32(out), first[i]);
		assert_int_equal(load_le32(out + 4), s.receiver);
		assert_int_equal(load_le64(out + 8), s.next - 1);
		assert_true(opener_is_data(out, n, &receiver));
		assert_int_equal(receiver, s.receiver);
		if (i == 0)
			crypto_chacha_seal(want, (const uint8_t *)"0123456789abcdef", 16, NULL, 0, s.next - 1,
					   s.key);
		else
			crypto_aegis_seal(want, (const uint8_t *)"0123456789abcdef", 16, s.next - 1, s.key);
		assert_memory_equal(out + SEALER_HEADER, want, n - SEALER_HEADER);
	}
}

static void only_whole_messages_are_data(void **state)
{
	static const struct {
		uint8_t head[4];
		size_t len;
		bool is_data;
	} cases[] = {
		{ { 4 }, 32, true },	       { { 4 }, 31, false },	      { { 0x83 }, 48, true },
		{ { 0x83 }, 47, false },       { { 0x83, 0, 1 }, 64, false }, { { 4, 1 }, 64, false },
		{ { 4, 0, 0, 1 }, 64, false }, { { 3 }, 64, false },	      { { 0x84 }, 64, false },
		{ { 4 }, 0, false },
	};
	uint32_t receiver;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t msg[64] = { 0 };

		memcpy(msg, cases[i].head, 4);
		assert_int_equal(opener_is_data(msg, cases[i].len, &receiver), cases[i].is_data);
	}
}

static void what_was_damaged_does_not_open(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sealer s = sealer_of(ciphers[i]);
		struct opener o = opener_of_both();
		struct opened opened;
		uint8_t out[128], bad[128];
		uint32_t receiver;
		size_t n = sealer_seal(&s, out, (const uint8_t *)"x", 1);

		for (size_t bit = 64; bit < n * 8; bit++) {
			memcpy(bad, out, n);
			bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(opener_open(&o, bad, n, &opened), -EBADMSG);
			assert_null(opened.data);
		}
		for (size_t len = 0; len < n; len++) {
			memcpy(bad, out, n);
			if (opener_is_data(bad, len, &receiver))
				assert_int_equal(opener_open(&o, bad, len, &opened), -EBADMSG);
		}
	}
}

/* Even with the keys of one in the place of the other's, and a message made to look like the other's. */
static void no_message_opens_as_the_other_ciphers(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sealer s = sealer_of(ciphers[i]);
		struct opener o = opener_of_both();
		struct opened opened;
		uint8_t out[128], copy[128];
		size_t n = sealer_seal(&s, out, out + SEALER_HEADER, 64);

		memcpy(copy, out, n);
		out[0] = i == 0 ? SEALER_FIRST_BYTE_AEGIS : WG_DATA;
		assert_int_equal(opener_open(&o, out, n, &opened), -EBADMSG);
		memcpy(out, copy, n);
		out[0] = i == 0 ? SEALER_FIRST_BYTE_AEGIS : WG_DATA;
		memcpy(o.chacha, s.key, 32);
		memcpy(o.aegis, s.key, 32);
		assert_int_equal(opener_open(&o, out, n, &opened), -EBADMSG);
	}
}

static void aegis_is_refused_by_who_does_not_open_it(void **state)
{
	(void)state;
	struct sealer s = sealer_of(CIPHER_AEGIS256);
	struct opener o = opener_of_both();
	struct opened opened;
	uint8_t out[128] = { 0 };
	size_t n = sealer_seal(&s, out, out + SEALER_HEADER, 16);

	o.has_aegis = false;
	assert_int_equal(opener_open(&o, out, n, &opened), -EBADMSG);
	o.has_aegis = true;
	assert_int_equal(opener_open(&o, out, n, &opened), 0);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

static void without_a_counter_nothing_is_sealed_ever(void **state)
{
	(void)state;
	uint8_t out[64] = { 0 };
	int status;
	pid_t child = fork();

	assert_int_not_equal(child, -1);
	if (child == 0) {
		struct sealer s = sealer_of(CIPHER_CHACHA20);
		signal(SIGABRT, SIG_DFL);
		s.next = s.end = 7;
		sealer_seal(&s, out, (const uint8_t *)"x", 1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_padded_with_zeros_up_to_the_mtu),
		cmocka_unit_test(the_mark_of_a_missing_checksum_arrives_and_goes),
		cmocka_unit_test(sealing_elsewhere_leaves_the_packet_and_its_neighbours_alone),
		cmocka_unit_test(the_layouts_are_those_of_the_wire),
		cmocka_unit_test(only_whole_messages_are_data),
		cmocka_unit_test(what_was_damaged_does_not_open),
		cmocka_unit_test(no_message_opens_as_the_other_ciphers),
		cmocka_unit_test(aegis_is_refused_by_who_does_not_open_it),
		cmocka_unit_test(without_a_counter_nothing_is_sealed_ever),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
