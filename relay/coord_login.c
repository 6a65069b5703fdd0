#include "relay/coord_login.h"

#include <errno.h>

#include "core/bytes.h"
#include "core/cert.h"
#include "core/crypto.h"
#include "relay/proto/link.pb-c.h"

static bool is_well_formed(const Link__Login *l)
{
	return l->netid.len == 32 && l->root_pk.len == 32 && l->ik.len == 32 &&
	       l->pass_sig.len == CRYPTO_SIG && l->sig.len == CRYPTO_SIG && l->name_tag <= UINT16_MAX;
}

/* The signature covers the TLS session and our nonce: a login seen elsewhere is worth nothing here. */
static bool is_signed(const Link__Login *l, const uint8_t *exporter, const uint8_t *nonce)
{
	static const char label[] = "p2pd1/hub";
	uint8_t text[sizeof label - 1 + COORD_EXPORTER + 32 + COORD_NONCE];
	struct writer w = writer_over(text, sizeof text);

	write_bytes(&w, label, sizeof label - 1);
	write_bytes(&w, exporter, COORD_EXPORTER);
	write_bytes(&w, l->netid.data, 32);
	write_bytes(&w, nonce, COORD_NONCE);
	return crypto_ed25519_verify(l->sig.data, text, w.len, l->ik.data) == 0;
}

int coord_login_check(const Link__Login *l, const uint8_t exporter[static COORD_EXPORTER],
		      const uint8_t nonce[static COORD_NONCE], uint64_t unix_s)
{
	if (l->version != COORD_LINK_VERSION)
		return LINK__REFUSED_REASON__REFUSED_VERSION;
	if (!is_well_formed(l) || !is_signed(l, exporter, nonce))
		return LINK__REFUSED_REASON__REFUSED_BAD_LOGIN;
	switch (cert_pass_verify(l->pass_sig.data, l->root_pk.data, l->netid.data, l->ik.data,
				 l->pass_not_after, unix_s)) {
	case 0: return LINK__REFUSED_REASON__REFUSED_UNSPECIFIED;
	case -EKEYEXPIRED: return LINK__REFUSED_REASON__REFUSED_EXPIRED;
	default: return LINK__REFUSED_REASON__REFUSED_BAD_LOGIN;
	}
}
