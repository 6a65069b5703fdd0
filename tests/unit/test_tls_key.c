#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/tls.h"

/* The pinned certificate without its key: the handshake's signature does not fit. */
static void a_copied_certificate_is_worth_nothing_without_its_key(void **state)
{
	(void)state;
	struct tls_key a, b;
	struct tls_config *config;

	assert_int_equal(tls_key_make(&a), 0);
	assert_int_equal(tls_key_make(&b), 0);
	memcpy(a.key, b.key, sizeof a.key);
	a.key_len = b.key_len;
	assert_int_equal(tls_server_config(&config, &a), -EBADMSG);
	assert_null(config);
}

static void a_new_certificate_for_the_same_key_keeps_the_pin(void **state)
{
	(void)state;
	struct tls_key k;
	uint8_t before[TLS_PIN], after[TLS_PIN];

	assert_int_equal(tls_key_make(&k), 0);
	assert_int_equal(tls_pin_of_cert(before, k.cert, k.cert_len), 0);
	memset(k.cert, 0, sizeof k.cert);
	assert_int_equal(tls_key_certify(&k), 0);
	assert_int_equal(tls_pin_of_cert(after, k.cert, k.cert_len), 0);
	assert_memory_equal(before, after, TLS_PIN);
	assert_int_equal(tls_key_make(&k), 0);
	assert_int_equal(tls_pin_of_cert(after, k.cert, k.cert_len), 0);
	assert_memory_not_equal(before, after, TLS_PIN);
	k.key[20] ^= 1;
	assert_int_equal(tls_key_certify(&k), -EBADMSG);
}

static void a_pin_is_read_as_it_is_written(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "sha256:",
					   "sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					   "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					   "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
					   "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					   "sha256:AAAAAAAAAAAAAAAAAAAA+AAAAAAAAAAAAAAAAAAAAAA" };
	uint8_t pin[TLS_PIN], back[TLS_PIN];
	char text[TLS_PIN_TEXT];

	for (int i = 0; i < TLS_PIN; i++)
		pin[i] = (uint8_t)(250 - i * 7);
	tls_pin_format(pin, text);
	assert_int_equal(strlen(text), TLS_PIN_TEXT - 1);
	assert_int_equal(tls_pin_parse(back, text), 0);
	assert_memory_equal(pin, back, TLS_PIN);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(tls_pin_parse(back, bad[i]), -EINVAL);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copied_certificate_is_worth_nothing_without_its_key),
		cmocka_unit_test(a_new_certificate_for_the_same_key_keeps_the_pin),
		cmocka_unit_test(a_pin_is_read_as_it_is_written),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
