#include "apps/p2pd/hub_proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2pd/secret.h"
#include "core/crypto.h"

/* The text itself is not repeated: it may hold a password. */
static int check_url(struct proxy *out, const char *text, const char *what, char *why)
{
	int rc = proxy_parse(out, text);

	if (rc == -EPROTONOSUPPORT)
		snprintf(why, HUB_PROXY_WHY,
			 "%s: only HTTP proxies are known, http://[USER:PASSWORD@]HOST:PORT; give --proxy "
			 "none to "
			 "do without",
			 what);
	else if (rc)
		snprintf(why, HUB_PROXY_WHY, "%s is no proxy's URL: http://[USER:PASSWORD@]HOST:PORT", what);
	return rc;
}

static int keep(char *kept, const char *text, const char *what, char *why)
{
	struct proxy p;

	if (strlen(text) > PROXY_URL_MAX) {
		snprintf(why, HUB_PROXY_WHY, "%s is longer than %d bytes", what, PROXY_URL_MAX);
		return -EINVAL;
	}
	int rc = check_url(&p, text, what, why);
	crypto_wipe(&p, sizeof p);
	if (rc == 0)
		strcpy(kept, text);
	return rc;
}

int hub_proxy_read(char kept[static PROXY_URL_MAX + 1], const char *spec, char why[static HUB_PROXY_WHY])
{
	struct secret secret;

	if (!strcmp(spec, HUB_PROXY_AUTO) || !strcmp(spec, HUB_PROXY_NONE)) {
		strcpy(kept, strcmp(spec, HUB_PROXY_AUTO) ? spec : "");
		return 0;
	}
	if (strncmp(spec, "file:", 5) != 0 && strncmp(spec, "env:", 4) != 0)
		return keep(kept, spec, "what --proxy was given", why);
	int rc = secret_read(&secret, spec, "proxy", why);
	if (rc == 0)
		rc = keep(kept, secret.text, spec, why);
	secret_wipe(&secret);
	return rc;
}

/* The first of these variables that is set and not empty. */
static const char *look_up(const char *const names[], size_t count, const char **which)
{
	for (size_t i = 0; i < count; i++) {
		const char *value = getenv(names[i]);
		*which = names[i];
		if (value && *value)
			return value;
	}
	return NULL;
}

int hub_proxy_choose(struct proxy *out, const char *kept, const struct hub_url *url,
		     char why[static HUB_PROXY_WHY])
{
	static const char *const by[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" },
				 *const without[] = { "no_proxy", "NO_PROXY" };
	const char *which;
	char what[48];

	if (!strcmp(kept, HUB_PROXY_NONE))
		return 0;
	if (*kept) {
		int rc = check_url(out, kept, "the proxy in the state folder", why);
		return rc ? rc : 1;
	}
	const char *value = look_up(by, 4, &which), *none = look_up(without, 2, &(const char *) { NULL });
	if (!value || proxy_is_bypassed(none, url->host, url->port))
		return 0;
	snprintf(what, sizeof what, "%s (in the environment)", which);
	int rc = check_url(out, value, what, why);
	return rc ? rc : 1;
}
