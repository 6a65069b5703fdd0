/* A gateway with its file in a folder of its own, for tests. */
#ifndef P2PD_TESTS_UNIT_GATEWAY_BENCH_H
#define P2PD_TESTS_UNIT_GATEWAY_BENCH_H

#include <stdlib.h>
#include <unistd.h>

#include "apps/p2pd/forward/gateway_internal.h"
#include "core/file.h"
#include "lease_made.h"

enum { NOW = 1800000000, ENTRIES = 64 };

struct bench {
	char path[64];
	int dir;
	struct gateway_config config;
	struct gateway *g;
	uint16_t busy; /* a port that another program has */
	unsigned asked, looked;
	uint8_t listened[GATEWAY_PORT_BYTES]; /* by other programs, TCP and UDP */
	unsigned ended;
	char ended_why[RULE_WHY];
	/* Of the last ask. */
	struct lease_grant grant;
	uint8_t conflict[FORWARD_ID];
	char why[RULE_WHY];
	struct forward_entry entries[ENTRIES];
};

static inline bool in_use(void *arg, enum forward_proto proto, uint16_t port)
{
	struct bench *b = arg;

	(void)proto;
	b->asked++;
	return port == b->busy;
}

static inline void taken(void *arg, enum forward_proto proto, uint8_t set[static GATEWAY_PORT_BYTES])
{
	struct bench *b = arg;

	(void)proto;
	b->looked++;
	for (unsigned i = 0; i < GATEWAY_PORT_BYTES; i++)
		set[i] |= b->listened[i];
}

static inline void on_ended(void *arg, const struct lease_request *r, const char *why)
{
	struct bench *b = arg;

	(void)r;
	b->ended++;
	snprintf(b->ended_why, sizeof b->ended_why, "%s", why);
}

static inline void open_gateway(struct bench *b)
{
	const struct gateway_host host = { taken, in_use, on_ended, b };

	assert_int_equal(gateway_open(&b->g, b->dir, &b->config, &host), 0);
}

static inline void reopen(struct bench *b)
{
	gateway_close(b->g);
	open_gateway(b);
}

static inline int begin(void **state)
{
	struct bench *b = calloc(1, sizeof *b);

	strcpy(b->path, "/tmp/test_gateway.XXXXXX");
	assert_non_null(mkdtemp(b->path));
	b->dir = file_open_dir(b->path);
	assert_true(b->dir >= 0);
	b->config.public4 = made_ip("203.0.113.1");
	b->config.public6 = made_ip("2001:db8::1");
	open_gateway(b);
	*state = b;
	return 0;
}

static inline int end(void **state)
{
	struct bench *b = *state;

	gateway_close(b->g);
	unlinkat(b->dir, "gateway.json", 0);
	unlinkat(b->dir, "gateway.json.spoilt", 0);
	close(b->dir);
	rmdir(b->path);
	free(b);
	return 0;
}

static inline struct gateway_owner owner(uint8_t n)
{
	struct gateway_owner o = {
		.ik = { n, 1 }, .sole = true, .ip4 = made_ip("100.64.0.0"), .ip6 = made_ip("fd00::")
	};

	snprintf(o.name, sizeof o.name, "node-%u", n);
	o.ip4.ip[3] = n;
	o.ip6.ip[15] = n;
	return o;
}

static inline int ask_as(struct bench *b, const struct gateway_owner *o, const struct lease_request *r)
{
	b->why[0] = 0;
	b->grant = (struct lease_grant) { 0 };
	int rc = gateway_lease(b->g, o, r, "", NOW, &b->grant, b->conflict, b->why);
	if (rc && !*b->why)
		fail_msg("refused with %d and no reason", rc);
	return rc;
}

static inline int ask(struct bench *b, uint8_t who, const struct lease_request *r)
{
	struct gateway_owner o = owner(who);

	return ask_as(b, &o, r);
}

static inline int ask_one(struct bench *b, uint8_t who, uint8_t rule)
{
	struct lease_request r = made_request(rule);

	return ask(b, who, &r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
