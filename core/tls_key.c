#include "core/tls_key.h"

#include <wolfssl/options.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "core/crypto.h"
#include "core/file.h"

enum { VALID_DAYS = 3650, P256_BYTES = 32, SPKI_MAX = 1024 };
static const char pin_prefix[] = "sha256:";

static int sign_self(struct tls_key *out, ecc_key *ecc, WC_RNG *rng)
{
	Cert cert;

	if (wc_InitCert(&cert) != 0)
		return -ENOMEM;
	strcpy(cert.subject.commonName, "p2pd");
	cert.sigType = CTC_SHA256wECDSA;
	cert.daysValid = VALID_DAYS;
	int len = wc_MakeCert(&cert, out->cert, sizeof out->cert, NULL, ecc, rng);
	if (len > 0)
		len = wc_SignCert(cert.bodySz, cert.sigType, out->cert, sizeof out->cert, NULL, ecc, rng);
	if (len <= 0)
		return -EIO;
	out->cert_len = (size_t)len;
	return 0;
}

static int make_ecc(struct tls_key *out, ecc_key *ecc, WC_RNG *rng)
{
	if (wc_ecc_make_key_ex(rng, P256_BYTES, ecc, ECC_SECP256R1) != 0)
		return -EIO;
	int len = wc_EccKeyToDer(ecc, out->key, sizeof out->key);
	if (len <= 0)
		return -EIO;
	out->key_len = (size_t)len;
	return 0;
}

/* A private key file names its public key, too, but is not believed: a damaged one would sign for another. */
static int load_ecc(const struct tls_key *k, ecc_key *ecc)
{
	word32 at = 0;

	if (wc_EccPrivateKeyDecode(k->key, &at, ecc, (word32)k->key_len) != 0 || wc_ecc_check_key(ecc) != 0)
		return -EBADMSG;
	return 0;
}

/* With `load` the key in `out` is used, else one is made. */
static int make_or_load(struct tls_key *out, bool load)
{
	WC_RNG rng;
	ecc_key ecc;
	int rc;

	if (wc_InitRng(&rng) != 0)
		return -EIO;
	if (wc_ecc_init(&ecc) != 0) {
		wc_FreeRng(&rng);
		return -ENOMEM;
	}
	wc_ecc_set_rng(&ecc, &rng);
	rc = load ? load_ecc(out, &ecc) : make_ecc(out, &ecc, &rng);
	if (rc == 0)
		rc = sign_self(out, &ecc, &rng);
	wc_ecc_free(&ecc);
	wc_FreeRng(&rng);
	if (rc)
		tls_key_wipe(out);
	return rc;
}

int tls_key_make(struct tls_key *out)
{
	memset(out, 0, sizeof *out);
	return make_or_load(out, false);
}

int tls_key_certify(struct tls_key *k)
{
	return make_or_load(k, true);
}

static int read_whole(const char *path, uint8_t *out, size_t cap, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	for (*len = 0; rc == 0;) {
		ssize_t n = read(fd, out + *len, cap - *len);
		if (n == 0)
			break;
		if (n < 0)
			rc = errno == EINTR ? 0 : -errno;
		else if ((*len += (size_t)n) == cap)
			rc = -EFBIG;
	}
	close(fd);
	return rc;
}

int tls_key_from_files(struct tls_key *out, const char *cert_path, const char *key_path)
{
	int rc = read_whole(cert_path, out->cert, sizeof out->cert, &out->cert_len);

	if (rc == 0)
		rc = read_whole(key_path, out->key, sizeof out->key, &out->key_len);
	if (rc)
		tls_key_wipe(out);
	return rc;
}

int tls_key_kept(struct tls_key *out, int dir, const char *name)
{
	memset(out, 0, sizeof *out);
	ssize_t len = file_read(dir, name, out->key, sizeof out->key);

	if (len >= 0) {
		out->key_len = (size_t)len;
		return tls_key_certify(out);
	}
	if (len != -ENOENT)
		return (int)len;
	int rc = tls_key_make(out);
	if (rc == 0)
		rc = file_write(dir, name, out->key, out->key_len);
	if (rc)
		tls_key_wipe(out);
	return rc;
}

void tls_key_wipe(struct tls_key *k)
{
	crypto_wipe(k, sizeof *k);
}

static int pin_of_der(uint8_t pin[static TLS_PIN], const uint8_t *der, size_t len)
{
	uint8_t spki[SPKI_MAX];
	word32 spki_len = sizeof spki;

	if (len > TLS_CERT_MAX || wc_GetSubjectPubKeyInfoDerFromCert(der, (word32)len, spki, &spki_len) != 0)
		return -EBADMSG;
	return wc_Sha256Hash(spki, spki_len, pin) == 0 ? 0 : -EBADMSG;
}

int tls_pin_of_cert(uint8_t pin[static TLS_PIN], const uint8_t *cert, size_t len)
{
	uint8_t der[TLS_CERT_MAX];

	if (len > sizeof der)
		return -EBADMSG;
	if (!memmem(cert, len, "-----BEGIN", 10))
		return pin_of_der(pin, cert, len);
	int n = wc_CertPemToDer(cert, (int)len, der, sizeof der, CERT_TYPE);
	return n > 0 ? pin_of_der(pin, der, (size_t)n) : -EBADMSG;
}

void tls_pin_format(const uint8_t pin[static TLS_PIN], char out[static TLS_PIN_TEXT])
{
	strcpy(out, pin_prefix);
	crypto_base64url(out + sizeof pin_prefix - 1, pin, TLS_PIN);
}

int tls_pin_parse(uint8_t pin[static TLS_PIN], const char *text)
{
	size_t prefix = sizeof pin_prefix - 1;

	if (strncmp(text, pin_prefix, prefix) != 0)
		return -EINVAL;
	return crypto_base64url_decode(pin, TLS_PIN, text + prefix);
}
