/* A TLS server's key and certificate, and pins: the SHA-256 of a certificate's SubjectPublicKeyInfo (DER), which stays
 * when a certificate is renewed for the same key. As text "sha256:" + base64url without padding. */
#ifndef P2PD_CORE_TLS_KEY_H
#define P2PD_CORE_TLS_KEY_H

#include <stddef.h>
#include <stdint.h>

enum { TLS_PIN = 32, TLS_PIN_TEXT = 7 + 43 + 1, TLS_CERT_MAX = 32768, TLS_KEY_MAX = 8192 };

struct tls_key {
	uint8_t cert[TLS_CERT_MAX]; /* PEM (then with its chain) or DER */
	size_t cert_len;
	uint8_t key[TLS_KEY_MAX]; /* PEM or DER */
	size_t key_len;
};

/* A new ECDSA P-256 key (browsers know no Ed25519) with a certificate signed by itself. 0, -ENOMEM or -EIO. */
int tls_key_make(struct tls_key *out);
/* A fresh certificate for the P-256 key that is in `k` (DER): it never runs out when made at each start, and the pin
 * stays. 0, -EBADMSG for a damaged key, -ENOMEM, -EIO. On failure `k` is wiped. */
int tls_key_certify(struct tls_key *k);
/* Key and certificate from files in PEM or DER. 0, -ENOENT, -EACCES, -EFBIG ... Whether they belong together shows in
 * tls_server_config(). */
int tls_key_from_files(struct tls_key *out, const char *cert_path, const char *key_path);
/* One of our own that is kept in a file of that folder (core/file), made the first time, with a fresh certificate each
 * time. 0 or a negative errno; -EBADMSG: the file is damaged. */
int tls_key_kept(struct tls_key *out, int dir, const char *name);
void tls_key_wipe(struct tls_key *k);

/* The pin of the first certificate. 0 or -EBADMSG. */
int tls_pin_of_cert(uint8_t pin[static TLS_PIN], const uint8_t *cert, size_t len);
void tls_pin_format(const uint8_t pin[static TLS_PIN], char out[static TLS_PIN_TEXT]);
/* 0 or -EINVAL. */
int tls_pin_parse(uint8_t pin[static TLS_PIN], const char *text);

#endif
