/* The hub's store: what is written is there after it was opened again, and lists come in pages. */
#include "tests/unit/store_bench.h"

#include <sqlite3.h>

#include "relay/store_sqlite_schema.h"

static void a_new_file_is_private_and_empty(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_network net[2];
	struct store_token t;
	struct stat st;
	char path[128];
	uint8_t hash[32] = { 0 };

	for (int i = 0; i < 3; i++) {
		static const char *const suffix[] = { "", "-wal", "-shm" };
		snprintf(path, sizeof path, "%s%s", file, suffix[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_int_equal(store_networks(s, NULL, net, 2), 0);
	assert_int_equal(audited(s), 0);
	assert_int_equal(store_token_find(s, hash, &t), -ENOENT);
	assert_int_equal(store_state(s), STORE_OK);
	flush(s);
	store_close(s);
}

static void what_was_flushed_is_there_after_opening_again(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_node n[4];
	struct store_cursor cursor = { 0 };
	uint8_t net[32];

	see(s, 1, 1, UINT64_MAX - 5, NOW_S);
	see(s, 1, 2, 0, NOW_S + 1);
	assert_int_equal(store_waiting(s), 2);
	assert_int_equal(store_nodes(s, id(net, 1), NULL, n, 4), 0);
	flush(s);
	assert_int_equal(store_waiting(s), 0);
	s = reopened(s);
	assert_int_equal(store_nodes(s, net, NULL, n, 4), 2);
	assert_true(n[0].seq == UINT64_MAX - 5 && n[0].online && n[0].first_s == NOW_S &&
		    n[0].record_len == 101);
	assert_int_equal(n[1].record_len, 0);
	assert_int_equal(store_records(s, 0, &cursor, n, 4), 1);
	struct store_node want = node(1, 1, UINT64_MAX - 5, NOW_S);
	assert_int_equal(n[0].record_len, want.record_len);
	assert_memory_equal(n[0].record, want.record, want.record_len);
	store_close(s);
}

static void closing_flushes(void **state)
{
	(void)state;
	struct store *s = opened();

	note(s, NOW_S, "hub.start");
	s = reopened(s);
	assert_int_equal(audited(s), 1);
	store_close(s);
}

static void a_record_is_replaced_by_a_newer_one_only(void **state)
{
	(void)state;
	const struct {
		uint64_t seq, want;
	} cases[] = { { 7, 7 },
		      { 6, 7 },
		      { 0, 7 },
		      { 8, 8 },
		      { 8, 8 },
		      { UINT64_C(1) << 63, UINT64_C(1) << 63 },
		      { 9, UINT64_C(1) << 63 } };
	struct store *s = opened();
	struct store_node n;
	uint8_t net[32];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct store_cursor cursor = { 0 };
		see(s, 1, 1, cases[i].seq, NOW_S);
		flush(s);
		assert_int_equal(store_records(s, 0, &cursor, &n, 1), 1);
		if (n.seq != cases[i].want || n.record[0] != (cases[i].want & 0xff))
			fail_msg("case %zu: seq %llu", i, (unsigned long long)n.seq);
		assert_int_equal(store_nodes(s, id(net, 1), NULL, &n, 1), 1);
	}
	store_close(s);
}

static void lists_come_in_pages_in_the_order_of_their_keys(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_network nets[3];
	struct store_node nodes[4];
	struct store_usage usage[3];
	uint8_t key[32];

	for (uint32_t net = 0; net < 5; net++)
		for (uint32_t ik = 0; ik < 6; ik++) {
			see(s, 4 - net, 5 - ik, 1, NOW_S - net * 10 - ik);
			struct store_usage u = { .month = 24000, .bytes = 10 };
			id(u.netid, net);
			id(u.ik, ik);
			assert_int_equal(store_usage_add(s, &u), 0);
			assert_int_equal(store_usage_add(s, &u), 0);
		}
	flush(s);
	assert_int_equal(store_networks(s, NULL, nets, 3), 3);
	assert_int_equal(load_be32(nets[2].netid), 2);
	assert_int_equal(nets[2].nodes, 6);
	assert_int_equal(store_networks(s, nets[2].netid, nets, 3), 2);
	assert_int_equal(nets[1].last_s, NOW_S);
	assert_int_equal(store_nodes(s, id(key, 3), NULL, nodes, 4), 4);
	assert_int_equal(store_nodes(s, id(key, 3), nodes[3].ik, nodes, 4), 2);
	assert_int_equal(load_be32(nodes[1].ik), 5);
	assert_int_equal(store_usage_list(s, NULL, 24000, NULL, usage, 3), 3);
	assert_int_equal(usage[0].bytes, 6 * 20);
	assert_int_equal(store_usage_list(s, NULL, 24000, usage[2].netid, usage, 3), 2);
	assert_int_equal(store_usage_list(s, id(key, 3), 24000, NULL, usage, 3), 3);
	assert_int_equal(usage[2].bytes, 20);
	assert_int_equal(store_usage_list(s, id(key, 3), 24000, usage[2].ik, usage, 3), 3);
	assert_int_equal(load_be32(usage[2].ik), 5);
	assert_int_equal(store_usage_list(s, NULL, 24001, NULL, usage, 3), 0);
	store_close(s);
}

static void records_come_with_who_is_gone_longest_first(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_cursor cursor = { 0 };
	struct store_node n[3];
	size_t seen = 0;
	int got;

	for (uint32_t i = 0; i < 10; i++)
		see(s, 1, i, i == 3 ? 0 : 1, NOW_S + (i * 7 % 10) / 2);
	flush(s);
	uint64_t before = 0;
	while ((got = store_records(s, NOW_S + 1, &cursor, n, 3)) > 0)
		for (int i = 0; i < got; i++, seen++) {
			assert_true(n[i].last_s >= before && n[i].last_s > NOW_S);
			before = n[i].last_s;
		}
	assert_int_equal(got, 0);
	assert_int_equal(seen, 8); /* of ten two are too old, and the one without a record is one of them */
	store_close(s);
}

static void who_was_online_when_the_hub_died_is_gone_since_its_last_sign_of_life(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_node n[2], left = node(1, 2, 1, NOW_S + 5);
	uint8_t net[32];

	see(s, 1, 1, 1, NOW_S);
	left.online = false;
	assert_int_equal(store_node_seen(s, &left), 0);
	assert_int_equal(store_alive(s, NOW_S + 600), 0);
	s = reopened(s);
	assert_int_equal(store_all_gone(s), 0);
	assert_int_equal(store_nodes(s, id(net, 1), NULL, n, 2), 2);
	assert_true(!n[0].online && n[0].last_s == NOW_S + 600);
	assert_true(!n[1].online && n[1].last_s == NOW_S + 5);
	store_close(s);
}

static void times_do_not_go_back_with_the_clock(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_audit e[3];
	struct store_node n;
	uint8_t net[32];

	see(s, 1, 1, 1, NOW_S);
	note(s, NOW_S, "first");
	see(s, 1, 1, 2, NOW_S - 100000);
	note(s, NOW_S - 100000, "second");
	assert_int_equal(store_last_alive(s), 0);
	assert_int_equal(store_alive(s, NOW_S - 100000), 0);
	s = reopened(s);
	assert_int_equal(store_last_alive(s), NOW_S - 100000);
	assert_int_equal(store_all_gone(s), 0);
	assert_int_equal(store_nodes(s, id(net, 1), NULL, &n, 1), 1);
	assert_true(n.last_s == NOW_S && n.seq == 2);
	assert_int_equal(store_audit_list(s, &(struct store_audit_query) { 0 }, e, 3), 2);
	assert_string_equal(e[1].action, "second");
	assert_int_equal(e[1].time_s, NOW_S - 100000);
	store_close(s);
}

static void audit_is_read_up_down_by_time_and_by_action(void **state)
{
	(void)state;
	struct store *s = opened();
	static struct store_audit e[10];

	for (int i = 0; i < 10; i++)
		note(s, NOW_S + (uint64_t)i, i % 2 ? "odd" : "even");
	flush(s);
	const struct {
		struct store_audit_query q;
		int count;
		uint64_t first;
	} cases[] = {
		{ { 0 }, 10, NOW_S },
		{ { .after_id = 4 }, 6, NOW_S + 4 },
		{ { .newest = true }, 10, NOW_S + 9 },
		{ { .newest = true, .before_id = 4 }, 3, NOW_S + 2 },
		{ { .since_s = NOW_S + 3, .until_s = NOW_S + 5 }, 3, NOW_S + 3 },
		{ { .action = "odd" }, 5, NOW_S + 1 },
		{ { .action = "odd'; DROP TABLE audit; --" }, 0, 0 },
		{ { .newest = true, .action = "even", .since_s = NOW_S + 1 }, 4, NOW_S + 8 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int n = store_audit_list(s, &cases[i].q, e, 10);
		if (n != cases[i].count || (n && e[0].time_s != cases[i].first))
			fail_msg("case %zu: %d entries", i, n);
	}
	assert_int_equal(store_audit_list(s, &cases[0].q, e, 3), 3);
	assert_string_equal(e[0].actor, "token:ops");
	assert_string_equal(e[0].outcome, "ok");
	assert_string_equal(e[0].detail, "{\"a\":1}");
	store_close(s);
}

static void pruning_forgets_the_old_and_keeps_the_rest(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_network nets[4];
	struct store_usage u = { .month = 23999, .bytes = 1 };
	struct store_node gone = node(1, 1, 1, NOW_S - 1000);

	gone.online = false;
	assert_int_equal(store_node_seen(s, &gone), 0);
	see(s, 2, 1, 1, NOW_S - 1000); /* online: stays */
	see(s, 3, 1, 1, NOW_S);
	note(s, NOW_S - 1000, "old");
	note(s, NOW_S, "new");
	assert_int_equal(store_usage_add(s, &u), 0);
	u.month++;
	assert_int_equal(store_usage_add(s, &u), 0);
	assert_int_equal(store_prune(s, NOW_S - 500, NOW_S - 500, 24000), 0);
	flush(s);
	assert_int_equal(store_networks(s, NULL, nets, 4), 2);
	assert_int_equal(load_be32(nets[0].netid), 2);
	assert_int_equal(audited(s), 1);
	assert_int_equal(store_usage_list(s, NULL, 23999, NULL, &u, 1), 0);
	assert_int_equal(store_usage_list(s, NULL, 24000, NULL, &u, 1), 1);
	store_close(s);
}

static struct store_token token(const char *name, uint8_t byte)
{
	struct store_token t = { .scope = STORE_SCOPE_ADMIN, .created_s = NOW_S, .expires_s = NOW_S + 10 };

	snprintf(t.name, sizeof t.name, "%s", name);
	memset(t.hash, byte, sizeof t.hash);
	return t;
}

static void tokens_are_durable_at_once_and_found_by_their_hash(void **state)
{
	(void)state;
	struct store *s = opened(), *other = opened(); /* another process's */
	struct store_token a = token("ops", 1), b = token("ops", 2), c = token("other", 1), found, list[3];

	assert_int_equal(store_token_add(s, &a), 0);
	assert_int_equal(store_token_find(other, a.hash, &found), 0);
	assert_string_equal(found.name, "ops");
	assert_true(found.id == a.id && found.scope == STORE_SCOPE_ADMIN && found.expires_s == NOW_S + 10);
	assert_int_equal(store_token_add(other, &b), -EEXIST); /* the name */
	assert_int_equal(store_token_add(other, &c), -EEXIST); /* the hash */
	assert_int_equal(store_token_find(s, b.hash, &found), -ENOENT);
	assert_int_equal(store_token_revoke(s, a.id + 1, NOW_S), -ENOENT);
	assert_int_equal(store_token_revoke(s, a.id, NOW_S + 1), 0);
	assert_int_equal(store_token_revoke(s, a.id, NOW_S + 2), -EALREADY);
	assert_int_equal(store_token_find(other, a.hash, &found), 0);
	assert_int_equal(found.revoked_s, NOW_S + 1);
	assert_int_equal(store_token_add(other, &b), 0); /* the name is free again */
	assert_int_equal(store_token_list(s, 0, list, 3), 2);
	assert_int_equal(store_token_list(s, a.id, list, 3), 1);
	assert_int_equal(list[0].id, b.id);
	store_close(other);
	store_close(s);
}

static void there_is_an_end_to_tokens(void **state)
{
	(void)state;
	struct store *s = opened();
	char name[16];
	int i, rc = 0;

	sqlite3 *db;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db,
			     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998)"
			     " INSERT INTO tokens (name, hash, scope, created_s, expires_s, revoked_s)"
			     " SELECT 'x' || i, randomblob(32), 1, 0, 0, 0 FROM n",
			     NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	for (i = 0; i < 5 && rc == 0; i++) {
		snprintf(name, sizeof name, "t%d", i);
		struct store_token t = token(name, (uint8_t)i);
		rc = store_token_add(s, &t);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(i, STORE_TOKENS_MAX - 998 + 1);
	store_close(s);
}

static void only_so_many_writes_wait_and_audit_has_room_longest(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_node n = node(1, 1, 0, NOW_S);
	struct store_audit e = { .time_s = NOW_S };
	size_t taken = 0, audits = 0;

	while (store_room(s)) {
		assert_int_equal(store_node_seen(s, &n), 0);
		taken++;
	}
	assert_int_equal(taken, STORE_WAITING_MAX - STORE_WAITING_SPARE);
	assert_int_equal(store_node_seen(s, &n), -ENOSPC);
	while (store_audit_add(s, &e) == 0)
		audits++;
	assert_int_equal(audits, STORE_WAITING_SPARE);
	assert_int_equal(store_audit_lost(s), 1);
	flush(s);
	assert_int_equal(store_room(s), STORE_WAITING_MAX - STORE_WAITING_SPARE);
	assert_int_equal(audited(s), audits);
	store_close(s);
}

static void schema_text(struct store_db *d, char *out, size_t size)
{
	assert_int_equal(
		store_db_text(
			d,
			"SELECT coalesce(group_concat(sql, ';'), '') FROM (SELECT sql FROM sqlite_master"
			" WHERE sql IS NOT NULL ORDER BY name)",
			out, size),
		0);
}

static void each_version_of_the_schema_goes_up_and_down(void **state)
{
	(void)state;
	static char at[STORE_SCHEMA + 1][4096], again[4096];
	struct store_db d;
	int64_t tokens;

	assert_int_equal(store_db_open(&d, file, STORE_DB_MAKE), 0);
	for (unsigned v = 0; v <= STORE_SCHEMA; v++) {
		assert_int_equal(store_schema_move(&d, v), 0);
		schema_text(&d, at[v], sizeof at[v]);
		assert_true(v == 0 || strcmp(at[v], at[v - 1]) != 0);
	}
	for (unsigned from = 0; from <= STORE_SCHEMA; from++)
		for (unsigned to = 0; to <= STORE_SCHEMA; to++) {
			assert_int_equal(store_schema_move(&d, from), 0);
			assert_int_equal(store_schema_move(&d, to), 0);
			schema_text(&d, again, sizeof again);
			if (to) /* AUTOINCREMENT's own table stays */
				assert_string_equal(again, at[to]);
			assert_int_equal(store_db_number(&d, "PRAGMA user_version", &tokens), 0);
			assert_int_equal(tokens, to);
		}
	assert_int_equal(store_schema_move(&d, STORE_SCHEMA + 1), -EINVAL);
	store_db_close(&d);
}

static void what_an_older_version_kept_survives_the_way_up_and_down(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_token t = token("ops", 1), found;
	struct store_db d;

	see(s, 1, 1, 1, NOW_S);
	note(s, NOW_S, "kept");
	assert_int_equal(store_token_add(s, &t), 0);
	store_close(s);
	assert_int_equal(store_db_open(&d, file, STORE_DB_JOIN), 0);
	assert_int_equal(store_schema_move(&d, 1), 0);
	store_db_close(&d);
	s = opened();
	struct store_cursor cursor = { 0 };
	struct store_node n;
	assert_int_equal(store_records(s, 0, &cursor, &n, 1), 1);
	assert_int_equal(audited(s), 1);
	assert_int_equal(store_token_find(s, t.hash, &found), -ENOENT); /* version 1 had none */
	assert_int_equal(store_token_add(s, &t), 0);
	store_close(s);
}

static void refuses(const char *sql, int error, const char *words)
{
	struct store *s = opened();
	sqlite3 *db;

	store_close(s);
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open(&s, file, why), error);
	assert_null(s);
	if (!strstr(why, words))
		fail_msg("'%s' does not say '%s'", why, words);
}

static void a_newer_schema_and_strange_databases_are_refused_with_advice(void **state)
{
	(void)state;
	refuses("PRAGMA user_version=3", -EPROTO, "newer p2phub");
	unlink(file);
	refuses("PRAGMA application_id=77", -EPROTO, "another program");
}

static void the_greatest_numbers_are_kept_as_the_greatest_there_are(void **state)
{
	(void)state;
	struct store *s = opened();
	struct store_audit e = { .time_s = UINT64_MAX }, got;
	struct store_usage u = { .month = UINT32_MAX, .bytes = UINT64_MAX };

	assert_int_equal(store_audit_add(s, &e), 0);
	assert_int_equal(store_usage_add(s, &u), 0);
	assert_int_equal(store_usage_add(s, &u), 0);
	flush(s);
	assert_int_equal(store_audit_list(s, &(struct store_audit_query) { .newest = true }, &got, 1), 1);
	assert_true(got.time_s == INT64_MAX);
	assert_int_equal(store_usage_list(s, u.netid, UINT32_MAX, NULL, &u, 1), 1);
	assert_true(u.bytes == INT64_MAX);
	store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_file_is_private_and_empty),
		TEST(what_was_flushed_is_there_after_opening_again),
		TEST(closing_flushes),
		TEST(a_record_is_replaced_by_a_newer_one_only),
		TEST(lists_come_in_pages_in_the_order_of_their_keys),
		TEST(records_come_with_who_is_gone_longest_first),
		TEST(who_was_online_when_the_hub_died_is_gone_since_its_last_sign_of_life),
		TEST(times_do_not_go_back_with_the_clock),
		TEST(audit_is_read_up_down_by_time_and_by_action),
		TEST(pruning_forgets_the_old_and_keeps_the_rest),
		TEST(tokens_are_durable_at_once_and_found_by_their_hash),
		TEST(there_is_an_end_to_tokens),
		TEST(only_so_many_writes_wait_and_audit_has_room_longest),
		TEST(each_version_of_the_schema_goes_up_and_down),
		TEST(what_an_older_version_kept_survives_the_way_up_and_down),
		TEST(a_newer_schema_and_strange_databases_are_refused_with_advice),
		TEST(the_greatest_numbers_are_kept_as_the_greatest_there_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
