/* Links that admit a visitor, kept in a folder of their own: for tests. */
#ifndef P2PD_TESTS_UNIT_TOKEN_BENCH_H
#define P2PD_TESTS_UNIT_TOKEN_BENCH_H

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/forward/tokens.h"
#include "core/file.h"

enum { NOW = 1800000000, HOUR = 3600, ROOM = FORWARD_PREFIXES_MAX };

static const uint8_t rule_a[FORWARD_ID] = { 1, [6] = 0x70, [8] = 0x80 },
		     rule_b[FORWARD_ID] = { 2, [6] = 0x70, [8] = 0x80 };
static char folder[64];
static int dir;
static struct rng rng;
static struct tokens *tokens;

static inline int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/tokens-XXXXXX");
	assert_non_null(mkdtemp(folder));
	dir = file_open_dir(folder);
	rng_init_seed(&rng, 1);
	return tokens_open(&tokens, dir);
}

static inline int tear_down(void **state)
{
	DIR *d = opendir(folder);

	(void)state;
	tokens_close(tokens);
	for (struct dirent *e; (e = readdir(d));)
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	close(dir);
	return rmdir(folder);
}

static inline void reopen(void)
{
	tokens_close(tokens);
	assert_int_equal(tokens_open(&tokens, dir), 0);
}

static inline struct addr from(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 4242), 0);
	return a;
}

static inline struct token make(const uint8_t *id, uint32_t uses, uint64_t expires_at, char *text)
{
	struct token t = { .uses = uses, .expires_at = expires_at, .for_s = 12 * HOUR };

	memcpy(t.id, id, FORWARD_ID);
	assert_int_equal(tokens_new(tokens, &t, text, NOW, &rng), 0);
	return t;
}

static inline int admit_at(const uint8_t *id, const char *text, const char *visitor, uint64_t now)
{
	struct addr a = from(visitor);
	struct token_visit visit;
	struct token token;
	int ret = tokens_admit(tokens, id, text, &a, ROOM, now, &visit, &token);

	if (!ret) {
		assert_true(addr_same_ip(&visit.visitor, &a));
		assert_int_equal(visit.visitor.port, 0);
		assert_memory_equal(visit.id, id, FORWARD_ID);
		assert_string_equal(visit.token_id, token.token_id);
	}
	return ret;
}

static inline int admit(const uint8_t *id, const char *text, const char *visitor)
{
	return admit_at(id, text, visitor, NOW);
}

static inline unsigned allowed(const uint8_t *id, uint64_t now)
{
	struct forward_prefix list[8];
	unsigned count = 0;

	tokens_allow(tokens, id, now, list, &count, 8);
	return count;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
