/* TLS 1.3 over memory: ciphertext and plaintext go in and out as bytes, no sockets. Key exchange X25519MLKEM768, else
 * X25519 or P-256. A client believes either a pin (then neither chain, name nor dates are looked at, the handshake's
 * signature is) or the system's certificate authorities and the host's name. */
#ifndef P2PD_CORE_TLS_H
#define P2PD_CORE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/tls_key.h"

enum {
	TLS_EXPORTER = 32,
	TLS_OUTPUT_MAX = 1 << 20, /* ciphertext not yet taken by the caller */
};

struct tls_config; /* opaque: what many connections share; lives until the last of them has gone */
struct tls;	   /* opaque: one connection */

/* 0, -EBADMSG (not a certificate and its key), -ENOMEM. The key is copied. */
int tls_server_config(struct tls_config **out, const struct tls_key *key);
/* `pin` NULL: the system's authorities. 0, -ENOENT (no bundle of authorities on this machine), -ENOMEM. */
int tls_client_config(struct tls_config **out, const uint8_t *pin);
/* No more connections are made with it; those that are live on. NULL is allowed. */
void tls_config_destroy(struct tls_config *c);

/* `host` is for clients: the name sent, and checked unless pinned. NULL without memory. */
struct tls *tls_create(struct tls_config *c, const char *host);
void tls_destroy(struct tls *t); /* NULL is allowed */

/* Received ciphertext. The bytes must stay until tls_handshake() and tls_read() have said -EAGAIN or failed. */
void tls_input(struct tls *t, const void *data, size_t len);
/* 0 once done, -EAGAIN while the peer's next message is missing, -EKEYREJECTED: not the pinned key, -ENOKEY: the
 * certificate is not trusted for this host, -EPROTO: anything else. There may be output after every call. */
int tls_handshake(struct tls *t);
/* Plaintext: its length, 0 when the peer closed, -EAGAIN when there is none now, -EPROTO. There may be output. */
ssize_t tls_read(struct tls *t, void *out, size_t cap);
/* 0, -ENOBUFS over TLS_OUTPUT_MAX, -EPROTO. */
int tls_write(struct tls *t, const void *data, size_t len);
/* Queues the closing alert. */
void tls_shutdown(struct tls *t);

/* Ciphertext to send; its length. */
size_t tls_output(const struct tls *t, const uint8_t **data);
void tls_output_taken(struct tls *t);
/* RFC 8446 section 7.5 with label "EXPORTER-p2pd1-hub" and an empty context: equal at both ends, and nowhere else. Only
 * after the handshake. */
const uint8_t *tls_exporter(const struct tls *t);
/* What went wrong, in the library's words. */
const char *tls_error_text(const struct tls *t);

#endif
