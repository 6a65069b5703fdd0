#include "relay/login.h"

#include <ctype.h>
#include <string.h>

#include "core/bytes.h"
#include "core/crypto.h"

const char *login_front(const struct hub_url *url, char out[static HUB_URL_TEXT])
{
	struct hub_url u = *url;

	for (char *p = u.host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	hub_url_format(&u, out);
	return out;
}

size_t login_text(uint8_t out[static LOGIN_TEXT], const uint8_t exporter[static LOGIN_EXPORTER],
		  const char *front, const uint8_t netid[static 32], const uint8_t nonce[static LOGIN_NONCE])
{
	static const char by_session[] = "p2pd1/hub", by_front[] = "p2pd1/hub-front";
	const struct part part = { front, strlen(front) };
	struct writer w = writer_over(out, LOGIN_TEXT);
	uint8_t hash[32];

	if (*front) {
		crypto_blake2b(hash, sizeof hash, NULL, 0, &part, 1);
		write_bytes(&w, by_front, sizeof by_front - 1);
		write_bytes(&w, hash, sizeof hash);
	} else {
		write_bytes(&w, by_session, sizeof by_session - 1);
		write_bytes(&w, exporter, LOGIN_EXPORTER);
	}
	write_bytes(&w, netid, 32);
	write_bytes(&w, nonce, LOGIN_NONCE);
	return w.len;
}
