#include "apps/p2phub/reload.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/hub_key.h"
#include "core/crypto.h"
#include "core/fail.h"
#include "core/log.h"

struct serve_limits reload_limits(const struct hub_settings *s)
{
	return (struct serve_limits) { .quota = s->quota,
				       .nodes = (size_t)s->nodes,
				       .audit_retention_s = s->audit_retention_s };
}

/* Nodes trust the key that the URL names, so another one is no small matter. */
static void take_url(struct reload *r, const struct hub_url *url)
{
	if (memcmp(url->pin, r->url.pin, sizeof url->pin) != 0)
		log_warn("config", "the hub has another key now: nodes that were given the old URL's pin are "
				   "refused; `p2phub url` prints the new one");
	r->url = *url;
	int rc = hub_data_keep_url(r->dir, url);
	if (rc)
		log_error("config", "cannot keep the hub's URL in the data folder: %s", strerror(-rc));
}

static int use_key(struct reload *r, const struct hub_settings *s, struct tls_key *key,
		   char why[static HUB_KEY_WHY])
{
	struct hub_url url;
	int code = hub_key_read(s, r->dir, key, why);

	if (code == EXIT_OK)
		code = hub_key_url(s, key, &url, why);
	if (code)
		return code;
	int rc = serve_use_key(r->serve, key);
	if (rc) {
		snprintf(why, HUB_KEY_WHY, "%s",
			 rc == -EBADMSG ? "the certificate and the key do not belong together"
					: strerror(-rc));
		return EXIT_FAILED;
	}
	take_url(r, &url);
	return EXIT_OK;
}

/* False, and nothing has changed. */
static bool take_key(struct reload *r, const struct hub_settings *s, const char *otherwise)
{
	struct tls_key *key = calloc(1, sizeof *key);
	char why[HUB_KEY_WHY] = "out of memory";

	certificate_changed(&r->certificate, s->cert, s->key);
	int code = key ? use_key(r, s, key, why) : EXIT_FAILED;
	if (key)
		tls_key_wipe(key);
	free(key);
	if (code)
		log_error("config", "%s; %s", why, otherwise);
	return code == EXIT_OK;
}

static bool changes_key(const struct hub_settings *now, const struct hub_settings *next)
{
	return config_differs(hub_settings_entries, "certificate.cert", now, next) ||
	       config_differs(hub_settings_entries, "certificate.key", now, next) ||
	       config_differs(hub_settings_entries, "url_host", now, next);
}

static void take_settings(struct reload *r, struct hub_settings *next)
{
	struct certificate certificate = r->certificate;
	struct hub_settings shown = *r->now;

	/* The key goes first: it alone can fail. What takes a restart stays what it is until then. */
	config_take_live(hub_settings_entries, &shown, next);
	if (changes_key(r->now, next) && !take_key(r, &shown, "nothing was changed")) {
		r->certificate = certificate;
		return;
	}
	if (config_log_changes("config", hub_settings_entries, r->now, next) == 0)
		log_info("config", "read again: no setting has changed");
	*r->now = shown;
	log_set_levels(r->now->log_level);
	log_set_format_by_name(r->now->log_format);
	struct serve_limits limits = reload_limits(r->now);
	serve_set_limits(r->serve, &limits);
}

void reload_settings(struct reload *r)
{
	struct config_file *f = malloc(sizeof *f);
	struct hub_settings next;

	if (!f) {
		log_error("config", "out of memory: nothing was changed");
		return;
	}
	if (hub_settings_load(&next, r->source, f) == EXIT_OK)
		take_settings(r, &next);
	else
		config_log_errors("config", f);
	free(f);
	reload_certificate(r);
}

void reload_certificate(struct reload *r)
{
	if (!*r->now->cert || !certificate_changed(&r->certificate, r->now->cert, r->now->key))
		return;
	if (take_key(r, r->now, "the hub goes on with the certificate it has"))
		log_info("config", "took the new certificate from %s", r->now->cert);
}

static void on_hangup(void *arg, int signum)
{
	(void)signum;
	reload_settings(arg);
}

static void on_due(void *arg)
{
	struct reload *r = arg;

	reload_certificate(r);
	loop_timer_set(r->timer, loop_now_ms() + CERTIFICATE_CHECK_MS);
}

int reload_start(struct reload *r, struct loop *l, struct serve *s)
{
	r->serve = s;
	r->timer = loop_timer_create(l, on_due, r);
	if (!r->timer)
		return -ENOMEM;
	loop_timer_set(r->timer, loop_now_ms() + CERTIFICATE_CHECK_MS);
	return loop_on_signal(l, SIGHUP, on_hangup, r);
}

void reload_stop(struct reload *r)
{
	loop_timer_destroy(r->timer);
}
