/* A store in a folder of its own, and what is put into it: for tests of relay/store. */
#ifndef P2PD_TESTS_STORE_BENCH_H
#define P2PD_TESTS_STORE_BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "relay/store.h"

enum { NOW_S = 1790000000 };

static char folder[64], file[96], why[STORE_WHY];

static inline int make_folder_in(const char *parent)
{
	snprintf(folder, sizeof folder, "%s/p2pd-store-XXXXXX", parent);
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof file, "%s/hub.db", folder);
	return 0;
}

static inline int make_folder(void **state)
{
	(void)state;
	return make_folder_in("/tmp");
}

static inline int remove_folder(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command);
}

static inline struct store *opened(void)
{
	struct store *s;

	if (store_open(&s, file, why) != 0)
		fail_msg("%s", why);
	return s;
}

static inline struct store *reopened(struct store *s)
{
	store_close(s);
	return opened();
}

static inline void flush(struct store *s)
{
	assert_int_equal(store_flush(s), 0);
}

/* 32 bytes that sort like `n`. */
static inline const uint8_t *id(uint8_t out[static 32], uint32_t n)
{
	memset(out, 0x5a, 32);
	store_be32(out, n);
	return out;
}

static inline struct store_node node(uint32_t net, uint32_t ik, uint64_t seq, uint64_t last_s)
{
	struct store_node n = { .online = true, .seq = seq, .last_s = last_s };

	id(n.netid, net);
	id(n.ik, ik);
	if (seq) {
		n.record_len = 100 + ik % 100;
		memset(n.record, (int)(seq & 0xff), n.record_len);
	}
	return n;
}

static inline void see(struct store *s, uint32_t net, uint32_t ik, uint64_t seq, uint64_t last_s)
{
	struct store_node n = node(net, ik, seq, last_s);

	assert_int_equal(store_node_seen(s, &n), 0);
}

static inline void note(struct store *s, uint64_t time_s, const char *action)
{
	struct store_audit e = {
		.time_s = time_s, .actor = "token:ops", .outcome = "ok", .detail = "{\"a\":1}"
	};

	snprintf(e.action, sizeof e.action, "%s", action);
	assert_int_equal(store_audit_add(s, &e), 0);
}

static inline size_t audited(struct store *s)
{
	static struct store_audit page[100];
	struct store_audit_query q = { 0 };
	size_t total = 0;
	int n;

	while ((n = store_audit_list(s, &q, page, 100)) > 0) {
		total += (size_t)n;
		q.after_id = page[n - 1].id;
	}
	assert_int_equal(n, 0);
	return total;
}

#endif
