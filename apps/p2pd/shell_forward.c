/* Port forwarding: starts it, and tells it what changes around the node. */
#include "apps/p2pd/shell_internal.h"

#include <errno.h>
#include <string.h>

#include "core/fail.h"
#include "core/log.h"

static void on_settle(void *arg)
{
	shell_settle(arg);
}

/* NULL: this node is none. */
static const struct gateway_config *gateway_of(const struct shell *s)
{
	const struct gateway_config *g = s->config.gateway;

	return g && (g->public4.family || g->public6.family) ? g : NULL;
}

static int open_door(struct shell *s)
{
	const struct addr *at = &s->config.api;
	char text[ADDR_TEXT_MAX];

	if (!at->family)
		return 0;
	int ret = forward_door_open(&s->forward_door, s->loop, at, s->forwarder, s->forward_api);
	return ret ? fail_with(ret == -EADDRINUSE ? EXIT_CONFLICT : EXIT_FAILED,
			       "cannot listen on %s for --api: %s", addr_format(at, text), strerror(-ret))
		   : 0;
}

/* Without it the VPN goes on: people have to reach the machine that they are to mend. */
static void be_off(struct shell *s)
{
	log_error("forward", "port forwarding is off until the next reload or start: %s", s->forward_off);
	s->target.forward_off = s->forward_off;
}

int shell_start_forward(struct shell *s)
{
	const struct forwarder_config config = {
		.loop = s->loop,
		.engine = s->engine,
		.tun = &s->tun,
		.state_dir = s->config.state->dir,
		.gateway = gateway_of(s),
		.audit_keep_s = *s->config.audit_retention_s,
		.settle = on_settle,
		.arg = s,
	};

	if (forwarder_start(&s->forwarder, &config, s->forward_off)) {
		be_off(s);
		return 0;
	}
	s->forward_api = forward_api_create(s->forwarder);
	if (!s->forward_api)
		return fail_with(EXIT_FAILED, "out of memory");
	forwarder_declare(s->forwarder, s->config.forwards);
	s->target.forwarder = s->forwarder;
	s->target.forward_api = s->forward_api;
	s->target.forward_off = NULL;
	return open_door(s);
}

void shell_forward_on_settle(struct shell *s)
{
	if (!s->forwarder || s->ending || s->roster == s->engine->roster)
		return;
	s->roster = s->engine->roster;
	forwarder_on_change(s->forwarder);
}

void shell_forward_on_pong(struct shell *s, const struct engine_event *pong)
{
	if (s->forwarder)
		forwarder_on_pong(s->forwarder, pong);
}

void shell_forward_on_settings(struct shell *s)
{
	if (!s->forwarder) {
		shell_start_forward(s); /* it may have been mended */
		return;
	}
	forwarder_set_gateway(s->forwarder, gateway_of(s));
	forwarder_set_audit_keep(s->forwarder, *s->config.audit_retention_s);
	forwarder_declare(s->forwarder, s->config.forwards);
}

void shell_cancel_forward(struct shell *s)
{
	forwarder_cancel(s->forwarder);
}

void shell_close_forward(struct shell *s)
{
	forward_door_close(s->forward_door);
	forward_api_destroy(s->forward_api);
	forwarder_stop(s->forwarder);
}
