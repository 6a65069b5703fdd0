#include "apps/p2phub/hub_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2phub/hub_data.h"
#include "core/fail.h"

int hub_key_read(const struct hub_settings *s, int dir, struct tls_key *key, char why[static HUB_KEY_WHY])
{
	int rc = *s->cert ? tls_key_from_files(key, s->cert, s->key) : hub_data_key(dir, key);

	if (rc == 0)
		return EXIT_OK;
	if (*s->cert)
		snprintf(why, HUB_KEY_WHY, "cannot read %s: %s", access(s->cert, R_OK) ? s->cert : s->key,
			 strerror(-rc));
	else
		snprintf(why, HUB_KEY_WHY, "cannot use the key in %s: %s", s->data, strerror(-rc));
	return rc == -EACCES || rc == -EPERM ? EXIT_DENIED : EXIT_FAILED;
}

int hub_key_url(const struct hub_settings *s, const struct tls_key *key, struct hub_url *url,
		char why[static HUB_KEY_WHY])
{
	static const uint8_t any[16];
	char text[ADDR_TEXT_MAX];

	if (*s->behind_proxy)
		return hub_url_parse(url, s->behind_proxy) == 0 ? EXIT_OK : EXIT_USAGE;
	*url = (struct hub_url) { .port = s->tls.port, .pinned = true };
	if (tls_pin_of_cert(url->pin, key->cert, key->cert_len) != 0) {
		snprintf(why, HUB_KEY_WHY, "%s holds no certificate", *s->cert ? s->cert : s->data);
		return EXIT_FAILED;
	}
	if (*s->url_host)
		snprintf(url->host, sizeof url->host, "%s", s->url_host);
	else if (memcmp(s->tls.ip, any, sizeof any) != 0)
		snprintf(url->host, sizeof url->host, "%s", addr_format_ip(&s->tls, text));
	return EXIT_OK;
}
