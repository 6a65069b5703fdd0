#include "core/tls.h"

#include <wolfssl/options.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

#include "core/addr.h"
#include "core/crypto.h"

static const char exporter_label[] = "EXPORTER-p2pd1-hub";
/* RFC 8446 appendix B.4, the quickest first: what is relayed over TLS is sealed already, end to end. */
static const char suites[] = "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256";
static const char authorities[] = "/etc/ssl/certs/ca-certificates.crt";

struct tls_config {
	WOLFSSL_CTX *ctx;
	unsigned users; /* its owner, and each connection */
	bool server, pinned;
	uint8_t pin[TLS_PIN];
};

struct tls {
	WOLFSSL *ssl;
	struct tls_config *config;
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len, out_cap;
	bool pin_matches, untrusted;
	uint8_t exporter[TLS_EXPORTER];
	char error[WOLFSSL_MAX_ERROR_SZ];
};

static int receive(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;
	size_t n = (size_t)size < t->in_len ? (size_t)size : t->in_len;

	(void)ssl;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(buf, t->in, n);
	t->in += n;
	t->in_len -= n;
	return (int)n;
}

/* An idle connection keeps no buffer, and a busy one shall not grow a new one each time: the last is kept for whichever
 * connection is next. */
static _Thread_local struct {
	uint8_t *out;
	size_t cap;
} spare;

static void take_spare(struct tls *t)
{
	t->out = spare.out;
	t->out_cap = spare.cap;
	spare.out = NULL;
	spare.cap = 0;
}

static bool make_room(struct tls *t, size_t n)
{
	if (!t->out)
		take_spare(t);
	size_t cap = t->out_cap ? t->out_cap : 2048;

	if (n > TLS_OUTPUT_MAX - t->out_len)
		return false;
	while (cap < t->out_len + n)
		cap *= 2;
	if (cap == t->out_cap)
		return true;
	uint8_t *p = realloc(t->out, cap);
	if (!p)
		return false;
	t->out = p;
	t->out_cap = cap;
	return true;
}

static int emit(WOLFSSL *ssl, char *buf, int size, void *arg)
{
	struct tls *t = arg;

	(void)ssl;
	if (!make_room(t, (size_t)size))
		return WOLFSSL_CBIO_ERR_GENERAL;
	memcpy(t->out + t->out_len, buf, (size_t)size);
	t->out_len += (size_t)size;
	return size;
}

/* What can be wrong with a certificate whose key is the pinned one: it is signed by itself or by an authority unknown
 * here, or a clock is wrong. A certificate that cannot be read is none of these. */
static bool is_no_matter_when_pinned(int error)
{
	return error == ASN_NO_SIGNER_E || error == ASN_SELF_SIGNED_E || error == ASN_BEFORE_DATE_E ||
	       error == ASN_AFTER_DATE_E;
}

/* Called for each certificate that the library does not trust, the chain's top first. As a pinning client knows no
 * authority, that is at least once in each handshake; certs[0] is always the server's own. */
static int judge_certificate(int trusted, WOLFSSL_X509_STORE_CTX *store)
{
	struct tls *t = store->userCtx;
	uint8_t pin[TLS_PIN];

	if (!t->config->pinned) {
		t->untrusted |= !trusted;
		return trusted;
	}
	if (store->totalCerts < 1 ||
	    tls_pin_of_cert(pin, store->certs[0].buffer, store->certs[0].length) != 0)
		return 0;
	t->pin_matches = crypto_equal(pin, t->config->pin, TLS_PIN);
	t->untrusted |= !t->pin_matches;
	return t->pin_matches && (trusted || is_no_matter_when_pinned(store->error));
}

static struct tls_config *config_create(WOLFSSL_METHOD *method, bool server)
{
	int groups[] = { WOLFSSL_X25519MLKEM768, WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1 };
	struct tls_config *c = calloc(1, sizeof *c);

	if (!c || wolfSSL_Init() != WOLFSSL_SUCCESS || !(c->ctx = wolfSSL_CTX_new(method))) {
		free(c);
		return NULL;
	}
	c->users = 1;
	c->server = server;
	wolfSSL_SetIORecv(c->ctx, receive);
	wolfSSL_SetIOSend(c->ctx, emit);
	if (wolfSSL_CTX_set_groups(c->ctx, groups, sizeof groups / sizeof *groups) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_cipher_list(c->ctx, suites) != WOLFSSL_SUCCESS) {
		tls_config_destroy(c);
		return NULL;
	}
	return c;
}

static int file_type(const uint8_t *data, size_t len)
{
	return memmem(data, len, "-----BEGIN", 10) ? WOLFSSL_FILETYPE_PEM : WOLFSSL_FILETYPE_ASN1;
}

int tls_server_config(struct tls_config **out, const struct tls_key *key)
{
	struct tls_config *c = config_create(wolfTLSv1_3_server_method(), true);

	*out = NULL;
	if (!c)
		return -ENOMEM;
	/* No resumption: a link lives long, and tickets would be one more way in. They would save the signature alone; the key
	 * exchange is made anew in either case. */
	if (wolfSSL_CTX_no_ticket_TLSv13(c->ctx) != 0 ||
	    wolfSSL_CTX_use_certificate_chain_buffer_format(c->ctx, key->cert, (long)key->cert_len,
							    file_type(key->cert, key->cert_len)) !=
		    WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_use_PrivateKey_buffer(c->ctx, key->key, (long)key->key_len,
					      file_type(key->key, key->key_len)) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_check_private_key(c->ctx) != WOLFSSL_SUCCESS) {
		tls_config_destroy(c);
		return -EBADMSG;
	}
	*out = c;
	return 0;
}

int tls_client_config(struct tls_config **out, const uint8_t *pin)
{
	struct tls_config *c = config_create(wolfTLSv1_3_client_method(), false);

	*out = NULL;
	if (!c)
		return -ENOMEM;
	wolfSSL_CTX_set_verify(c->ctx, WOLFSSL_VERIFY_PEER, judge_certificate);
	if (pin) {
		c->pinned = true;
		memcpy(c->pin, pin, TLS_PIN);
	} else if (wolfSSL_CTX_load_verify_locations_ex(c->ctx, authorities, NULL,
							WOLFSSL_LOAD_FLAG_IGNORE_ERR) != WOLFSSL_SUCCESS) {
		tls_config_destroy(c);
		return -ENOENT;
	}
	*out = c;
	return 0;
}

void tls_config_destroy(struct tls_config *c)
{
	if (!c || --c->users)
		return;
	wolfSSL_CTX_free(c->ctx);
	free(c);
}

/* A share for the hybrid and one for X25519 alone: a server that knows only the latter needs no second round trip. */
static bool set_up_client(struct tls *t, const char *host)
{
	struct addr literal;

	if (wolfSSL_UseKeyShare(t->ssl, WOLFSSL_X25519MLKEM768) != WOLFSSL_SUCCESS ||
	    wolfSSL_UseKeyShare(t->ssl, WOLFSSL_ECC_X25519) != WOLFSSL_SUCCESS)
		return false;
	if (host && addr_parse(&literal, host, 1) != 0 &&
	    wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, host, (unsigned short)strlen(host)) !=
		    WOLFSSL_SUCCESS)
		return false;
	if (t->config->pinned)
		return true;
	return host && wolfSSL_check_domain_name(t->ssl, host) == WOLFSSL_SUCCESS;
}

struct tls *tls_create(struct tls_config *c, const char *host)
{
	struct tls *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->config = c;
	c->users++;
	t->ssl = wolfSSL_new(c->ctx);
	if (!t->ssl || (!c->server && !set_up_client(t, host))) {
		tls_destroy(t);
		return NULL;
	}
	wolfSSL_SetIOReadCtx(t->ssl, t);
	wolfSSL_SetIOWriteCtx(t->ssl, t);
	wolfSSL_SetCertCbCtx(t->ssl, t);
	wolfSSL_KeepArrays(t->ssl); /* until the exporter has run */
	return t;
}

void tls_destroy(struct tls *t)
{
	if (!t)
		return;
	wolfSSL_free(t->ssl);
	tls_config_destroy(t->config);
	free(t->out);
	crypto_wipe(t, sizeof *t);
	free(t);
}

void tls_input(struct tls *t, const void *data, size_t len)
{
	t->in = data;
	t->in_len = len;
}

static int failed(struct tls *t, int error)
{
	wolfSSL_ERR_error_string_n((unsigned long)error, t->error, sizeof t->error);
	if (!t->untrusted && error != DOMAIN_NAME_MISMATCH)
		return -EPROTO;
	return t->config->pinned ? -EKEYREJECTED : -ENOKEY;
}

static int finish_handshake(struct tls *t)
{
	int ok = wolfSSL_export_keying_material(t->ssl, t->exporter, sizeof t->exporter, exporter_label,
						sizeof exporter_label - 1, NULL, 0, 0);

	wolfSSL_FreeArrays(t->ssl);
	if (ok != WOLFSSL_SUCCESS)
		return -EPROTO;
	/* Never trusted because nobody asked: without a look at the key there is no connection. */
	if (t->config->pinned && !t->pin_matches)
		return -EKEYREJECTED;
	return 0;
}

int tls_handshake(struct tls *t)
{
	int ok = t->config->server ? wolfSSL_accept(t->ssl) : wolfSSL_connect(t->ssl);

	if (ok == WOLFSSL_SUCCESS)
		return finish_handshake(t);
	int error = wolfSSL_get_error(t->ssl, ok);
	return error == WOLFSSL_ERROR_WANT_READ ? -EAGAIN : failed(t, error);
}

ssize_t tls_read(struct tls *t, void *out, size_t cap)
{
	int n = wolfSSL_read(t->ssl, out, (int)cap);

	if (n > 0)
		return n;
	int error = wolfSSL_get_error(t->ssl, n);
	if (error == WOLFSSL_ERROR_WANT_READ)
		return -EAGAIN;
	if (error == WOLFSSL_ERROR_ZERO_RETURN)
		return 0;
	failed(t, error);
	return -EPROTO;
}

int tls_write(struct tls *t, const void *data, size_t len)
{
	/* With room for what records add, so that none is ever written by half. */
	if (len > TLS_OUTPUT_MAX || t->out_len + len + len / 16 + 256 > TLS_OUTPUT_MAX)
		return -ENOBUFS;
	if (len == 0)
		return 0;
	return wolfSSL_write(t->ssl, data, (int)len) == (int)len ? 0 : -EPROTO;
}

void tls_shutdown(struct tls *t)
{
	wolfSSL_shutdown(t->ssl);
}

size_t tls_output(const struct tls *t, const uint8_t **data)
{
	*data = t->out;
	return t->out_len;
}

void tls_output_taken(struct tls *t)
{
	if (t->out_cap > spare.cap) {
		free(spare.out);
		spare.out = t->out;
		spare.cap = t->out_cap;
	} else {
		free(t->out);
	}
	t->out = NULL;
	t->out_len = t->out_cap = 0;
}

const uint8_t *tls_exporter(const struct tls *t)
{
	return t->exporter;
}

const char *tls_error_text(const struct tls *t)
{
	return t->error;
}
