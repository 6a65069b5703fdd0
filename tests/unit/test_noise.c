#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/noise.h"

/* Two peers that know each other, and one handshake between them, step by step. */
struct fixture {
	struct rng rng;
	struct noise_local a, b;
	struct noise_remote a_sees_b, b_sees_a;
	struct noise_initiator hs;
	struct noise_initiation in;
	struct noise_keys a_keys, b_keys;
	uint8_t initiation[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
};

static const uint8_t stamp[NOISE_TIMESTAMP_LEN] = "at this time";

static void unhex(uint8_t *out, const char *hex)
{
	for (; *hex; hex += 2)
		sscanf(hex, "%2hhx", out++);
}

static void introduce(struct fixture *f, const uint8_t *psk)
{
	uint8_t sk[32];

	memset(f, 0, sizeof *f);
	rng_init_seed(&f->rng, 1);
	rng_fill(&f->rng, sk, 32);
	noise_local_init(&f->a, sk);
	rng_fill(&f->rng, sk, 32);
	noise_local_init(&f->b, sk);
	assert_int_equal(noise_remote_init(&f->a_sees_b, &f->a, f->b.pk, psk), 0);
	assert_int_equal(noise_remote_init(&f->b_sees_a, &f->b, f->a.pk, psk), 0);
}

static void initiate_and_respond(struct fixture *f)
{
	assert_int_equal(
		noise_initiate(&f->hs, &f->a, &f->a_sees_b, 0xa1a2a3a4, stamp, &f->rng, f->initiation), 0);
	assert_int_equal(noise_open_initiation(&f->in, &f->b, f->initiation), 0);
	assert_int_equal(noise_respond(&f->in, &f->b_sees_a, 0xb1b2b3b4, &f->rng, f->response, &f->b_keys),
			 0);
}

static int finish(struct fixture *f, const uint8_t *response, uint32_t *remote_index)
{
	return noise_open_response(&f->hs, &f->a, &f->a_sees_b, response, &f->a_keys, remote_index);
}

static void a_handshake_starts_from_the_papers_constants(void **state)
{
	(void)state;
	uint8_t chain[32], hash[32], want[32];

	noise_initial(chain, hash);
	unhex(want, "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36");
	assert_memory_equal(chain, want, 32);
	unhex(want, "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3");
	assert_memory_equal(hash, want, 32);
}

static void both_sides_derive_the_same_keys(void **state)
{
	static const uint8_t psk[32] = "a key that was agreed beforehand";
	const uint8_t *psks[] = { NULL, psk };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct fixture f;
		uint32_t remote_index;

		introduce(&f, psks[i]);
		initiate_and_respond(&f);
		assert_memory_equal(f.in.peer_pk, f.a.pk, 32);
		assert_memory_equal(f.in.timestamp, stamp, sizeof stamp);
		assert_int_equal(f.in.remote_index, 0xa1a2a3a4);
		assert_int_equal(finish(&f, f.response, &remote_index), 0);
		assert_int_equal(remote_index, 0xb1b2b3b4);
		assert_memory_equal(f.a_keys.send, f.b_keys.receive, 32);
		assert_memory_equal(f.a_keys.receive, f.b_keys.send, 32);
		assert_memory_not_equal(f.a_keys.send, f.a_keys.receive, 32);
	}
}

/* Recorded from the code as it shook hands with wireguard-go in both roles. */
static void the_bytes_stay_what_other_implementations_accepted(void **state)
{
	(void)state;
	static const uint8_t psk[32] = "a key that was agreed beforehand";
	uint8_t got[32], want[32];
	struct fixture f;

	introduce(&f, psk);
	initiate_and_respond(&f);
	struct part parts[] = { { f.initiation, sizeof f.initiation },
				{ f.response, sizeof f.response },
				{ &f.b_keys, sizeof f.b_keys } };
	crypto_blake2s(got, 32, NULL, 0, parts, 3);
	unhex(want, "9694b0160614576b1812d1f1ffeb4ba35b7ef840399acc3ed24b3f94d275560f");
	assert_memory_equal(got, want, 32);
}

static void different_preshared_keys_do_not_meet(void **state)
{
	(void)state;
	struct fixture f;
	uint32_t remote_index;

	introduce(&f, NULL);
	f.b_sees_a.psk[31] = 1;
	initiate_and_respond(&f);
	assert_int_equal(finish(&f, f.response, &remote_index), -EBADMSG);
}

/* The sender's index (bytes 4 to 7) and the MACs are not the handshake's to protect: that is what mac1 is for. */
static void every_flipped_bit_of_an_initiation_is_rejected(void **state)
{
	(void)state;
	struct fixture f;

	introduce(&f, NULL);
	initiate_and_respond(&f);
	for (size_t bit = 0; bit < (WG_INITIATION_LEN - WG_MACS_LEN) * 8; bit++) {
		uint8_t bad[WG_INITIATION_LEN];
		struct noise_initiation in;

		if (bit / 32 == 1)
			continue;
		memcpy(bad, f.initiation, sizeof bad);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* X25519 ignores the highest bit, but the hash does not. */
		assert_in_range(-noise_open_initiation(&in, &f.b, bad), 1, 4095);
		assert_true(crypto_is_zero(&in, sizeof in));
	}
}

static void every_flipped_bit_of_a_response_is_rejected(void **state)
{
	(void)state;
	struct fixture f;
	uint32_t remote_index = 0;

	introduce(&f, NULL);
	initiate_and_respond(&f);
	const struct noise_initiator before = f.hs;
	for (size_t bit = 0; bit < (WG_RESPONSE_LEN - WG_MACS_LEN) * 8; bit++) {
		uint8_t bad[WG_RESPONSE_LEN];

		if (bit / 32 == 1)
			continue;
		memcpy(bad, f.response, sizeof bad);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_in_range(-finish(&f, bad, &remote_index), 1, 4095);
	}
	assert_memory_equal(&before, &f.hs, sizeof before);
	assert_true(crypto_is_zero(&f.a_keys, sizeof f.a_keys));
	assert_int_equal(remote_index, 0);
	assert_int_equal(finish(&f, f.response, &remote_index), 0);
}

/* All points of small order, as in libsodium's and the curve25519 page's list. */
static const char *const low_order[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void low_order_points_send_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof low_order / sizeof *low_order; i++) {
		struct fixture f;
		struct noise_remote remote;
		struct noise_initiation in;
		struct noise_keys keys;
		uint8_t point[32], msg[WG_INITIATION_LEN];
		uint32_t remote_index;

		unhex(point, low_order[i]);
		introduce(&f, NULL);
		initiate_and_respond(&f);
		assert_int_equal(noise_remote_init(&remote, &f.a, point, NULL), -EINVAL);
		/* As the ephemeral key of either message. */
		memcpy(msg, f.initiation, sizeof msg);
		memcpy(msg + 8, point, 32);
		assert_int_equal(noise_open_initiation(&in, &f.b, msg), -EINVAL);
		memcpy(f.response + 12, point, 32);
		assert_int_equal(finish(&f, f.response, &remote_index), -EINVAL);
		in = f.in;
		memcpy(in.peer_ephemeral, point, 32);
		assert_int_equal(noise_respond(&in, &f.b_sees_a, 1, &f.rng, f.response, &keys), -EINVAL);
		/* As the static key inside a message that is sealed as it should be. */
		memcpy(f.a.pk, point, 32);
		memset(f.a_sees_b.ss, 0, 32);
		assert_int_equal(noise_initiate(&f.hs, &f.a, &f.a_sees_b, 1, stamp, &f.rng, msg), 0);
		assert_int_equal(noise_open_initiation(&in, &f.b, msg), -EINVAL);
		/* As the peer to start with. */
		memcpy(f.a_sees_b.pk, point, 32);
		assert_int_equal(noise_initiate(&f.hs, &f.a, &f.a_sees_b, 1, stamp, &f.rng, msg), -EINVAL);
	}
}

static void nobody_is_their_own_peer(void **state)
{
	(void)state;
	struct fixture f;
	struct noise_remote remote;

	introduce(&f, NULL);
	assert_int_equal(noise_remote_init(&remote, &f.a, f.a.pk, NULL), -EINVAL);
}

static void messages_for_others_do_not_open(void **state)
{
	(void)state;
	struct fixture f, g;
	uint32_t remote_index;

	introduce(&f, NULL);
	initiate_and_respond(&f);
	assert_int_equal(noise_open_initiation(&f.in, &f.a, f.initiation), -EBADMSG);
	/* A response to an earlier initiation of ours, told by nothing but the handshake's hash. */
	g = f;
	initiate_and_respond(&g);
	assert_int_equal(finish(&g, f.response, &remote_index), -EBADMSG);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handshake_starts_from_the_papers_constants),
		cmocka_unit_test(both_sides_derive_the_same_keys),
		cmocka_unit_test(the_bytes_stay_what_other_implementations_accepted),
		cmocka_unit_test(different_preshared_keys_do_not_meet),
		cmocka_unit_test(every_flipped_bit_of_an_initiation_is_rejected),
		cmocka_unit_test(every_flipped_bit_of_a_response_is_rejected),
		cmocka_unit_test(low_order_points_send_nothing),
		cmocka_unit_test(nobody_is_their_own_peer),
		cmocka_unit_test(messages_for_others_do_not_open),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
