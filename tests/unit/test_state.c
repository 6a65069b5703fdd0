/* The state folder: what is written comes back, what is damaged is told, and a crash at any moment loses nothing. */
#include <dirent.h>
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "apps/p2pd/state.h"
#include "apps/p2pd/timestamps.h"
#include "apps/p2pd/wg_peers.h"
#include "core/crypto.h"

static char folder[64];

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

static void reopen(struct state *s)
{
	state_close(s);
	assert_int_equal(state_open(s, folder), 0);
}

static void put(const struct state *s, const char *name, const void *data, size_t len)
{
	int fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static struct state_network example(void)
{
	struct state_network n = {
		.hub = "https://198.51.100.7#sha256:abc",
		.name = "nas",
		.ip4_prefix = ip("10.77.0.0"),
		.ip4_bits = 16,
		.ip4_wish = ip("10.77.3.4"),
		.cert_not_before = 1790000000,
		.port = 40123,
		.no_portmap = true,
		.chacha20_only = true,
	};

	assert_int_equal(network_from_secret(&n.net, "home", "some long secret", 16), 0);
	return n;
}

static void keys_are_made_once(void **state)
{
	struct state *s = *state;
	struct state_keys first, again;

	assert_int_equal(state_load_keys(s, &first), 0);
	assert_false(crypto_is_zero(&first, sizeof first));
	reopen(s);
	assert_int_equal(state_load_keys(s, &again), 0);
	assert_memory_equal(&first, &again, sizeof first);
}

static void everything_is_for_the_owner_only(void **state)
{
	struct state *s = *state;
	struct state_network n = example();
	struct state_keys keys;
	struct stat st;

	assert_int_equal(state_load_keys(s, &keys), 0);
	assert_int_equal(state_save_network(s, &n), 0);
	assert_int_equal(fstat(s->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	static const char *const files[] = { "keys", "network.json", "network.key", "lock" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		assert_int_equal(fstatat(s->dir, files[i], &st, 0), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void keys_that_others_can_read_are_refused(void **state)
{
	struct state *s = *state;
	struct state_keys keys;

	assert_int_equal(state_load_keys(s, &keys), 0);
	assert_int_equal(fchmodat(s->dir, "keys", 0644, 0), 0);
	assert_int_equal(state_load_keys(s, &keys), -EPERM);
}

static void damaged_keys_are_not_replaced(void **state)
{
	struct state *s = *state;
	struct state_keys keys;

	put(s, "keys", "short", 5);
	assert_int_equal(state_load_keys(s, &keys), -EBADMSG);
	assert_int_equal(state_load_keys(s, &keys), -EBADMSG);
}

static void a_network_comes_back_as_it_was(void **state)
{
	struct state *s = *state;
	struct state_network n = example(), back;

	assert_int_equal(state_load_network(s, &back), -ENOENT);
	assert_int_equal(state_save_network(s, &n), 0);
	reopen(s);
	assert_int_equal(state_load_network(s, &back), 0);
	assert_memory_equal(&back.net, &n.net, sizeof n.net);
	assert_string_equal(back.hub, n.hub);
	assert_string_equal(back.name, n.name);
	assert_true(addr_equal(&back.ip4_prefix, &n.ip4_prefix));
	assert_int_equal(back.ip4_bits, 16);
	assert_true(addr_equal(&back.ip4_wish, &n.ip4_wish));
	assert_int_equal(back.cert_not_before, n.cert_not_before);
	assert_int_equal(back.port, n.port);
	assert_true(back.no_portmap);
	assert_true(back.chacha20_only);
}

static void a_forgotten_network_is_gone_and_the_keys_stay(void **state)
{
	struct state *s = *state;
	struct state_network n = example(), back;
	struct state_keys keys, again;

	assert_int_equal(state_load_keys(s, &keys), 0);
	assert_int_equal(state_save_network(s, &n), 0);
	assert_int_equal(state_forget_network(s), 0);
	assert_int_equal(state_load_network(s, &back), -ENOENT);
	assert_int_not_equal(faccessat(s->dir, "network.key", F_OK, 0), 0);
	assert_int_equal(state_load_keys(s, &again), 0);
	assert_memory_equal(&keys, &again, sizeof keys);
	assert_int_equal(state_forget_network(s), 0);
}

static void a_damaged_network_is_told(void **state)
{
	struct state *s = *state;
	struct state_network n = example(), other = example(), back;
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		"{\"network\":\"home\",\"netid\":\"\",\"hub\":\"\",\"name\":\"\",\"ip4_prefix\":\"10.77.0."
		"0\",\"ip4_bits\":77,"
		"\"ip4\":\"\",\"cert_not_before\":1,\"port\":1}",
		"{\"network\":\"home\",\"netid\":\"\",\"hub\":\"\",\"name\":\"\",\"ip4_prefix\":\"10.77\","
		"\"ip4_bits\":16,"
		"\"ip4\":\"\",\"cert_not_before\":1,\"port\":70000}",
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(state_save_network(s, &n), 0);
		put(s, "network.json", texts[i], strlen(texts[i]));
		assert_int_equal(state_load_network(s, &back), -EBADMSG);
	}
	assert_int_equal(state_save_network(s, &n), 0);
	put(s, "network.key", "x", 1);
	assert_int_equal(state_load_network(s, &back), -EBADMSG);
	/* The key of another network */
	uint8_t stored[NETWORK_STORED_LEN];
	assert_int_equal(network_from_secret(&other.net, "home", "another long secret", 19), 0);
	network_store(&other.net, stored);
	put(s, "network.key", stored, sizeof stored);
	assert_int_equal(state_load_network(s, &back), -EBADMSG);
	assert_true(crypto_is_zero(&back.net, sizeof back.net));
}

static void the_clock_never_goes_beyond_what_is_on_disk(void **state)
{
	struct state *s = *state;
	uint64_t last, bound;

	assert_int_equal(state_load_clock(s, &last), 0);
	assert_int_equal(last, 0);
	assert_int_equal(state_reserve_clock(s, 1000), 0);
	bound = s->reserved_ns;
	assert_int_equal(bound, 1000 + STATE_RESERVE_NS);
	assert_int_equal(state_reserve_clock(s, bound), 0);
	assert_int_equal(s->reserved_ns, bound);
	reopen(s);
	assert_int_equal(state_load_clock(s, &last), 0);
	assert_int_equal(last, bound);
	assert_int_equal(state_reserve_clock(s, bound + 1), 0);
	assert_int_equal(s->reserved_ns, bound + 1 + STATE_RESERVE_NS);
}

static void two_daemons_do_not_share_a_folder(void **state)
{
	struct state *s = *state;
	(void)s;
	pid_t child = fork();

	if (child == 0) {
		struct state other;
		_exit(state_open(&other, folder) == -EBUSY ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void the_lock_goes_with_its_process(void **state)
{
	struct state *s = *state;

	state_close(s);
	pid_t child = fork();
	if (child == 0) {
		struct state other;
		_exit(state_open(&other, folder) ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(state_open(s, folder), 0);
}

/* A writer is killed again and again: what it wrote is always there whole, the older or the newer. */
static void a_killed_writer_leaves_a_whole_network(void **state)
{
	struct state *s = *state;
	struct state_network n = example(), back;

	assert_int_equal(state_save_network(s, &n), 0);
	for (int round = 0; round < 20; round++) {
		int ready[2];
		assert_int_equal(pipe(ready), 0);
		pid_t child = fork();
		if (child == 0) {
			for (n.port = 1;; n.port++) {
				state_save_network(s, &n);
				if (n.port == 1 + round && write(ready[1], "", 1) != 1)
					_exit(1);
			}
		}
		char byte;
		assert_int_equal(read(ready[0], &byte, 1), 1);
		kill(child, 9);
		waitpid(child, NULL, 0);
		close(ready[0]);
		close(ready[1]);
		assert_int_equal(state_load_network(s, &back), 0);
		assert_true(back.port >= 1 + round);
	}
}

/* --- Timestamps */

static void note(struct timestamps *t, uint8_t wk, uint8_t ts, int want)
{
	uint8_t key[32] = { wk }, stamp[NOISE_TIMESTAMP_LEN] = { ts };

	assert_int_equal(timestamps_note(t, key, stamp), want);
}

static void only_the_greatest_timestamp_of_each_peer_is_kept(void **state)
{
	struct state *s = *state;
	struct timestamps t, back;

	assert_int_equal(timestamps_load(&t, s->dir), 0);
	assert_int_equal(t.count, 0);
	note(&t, 9, 5, 0);
	note(&t, 3, 7, 0);
	note(&t, 9, 4, 0);
	note(&t, 3, 8, 0);
	note(&t, 4, 0, 0); /* never heard of: nothing to keep */
	assert_true(t.changed);
	assert_int_equal(timestamps_save(&t, s->dir), 0);
	assert_false(t.changed);
	note(&t, 3, 8, 0);
	assert_false(t.changed);
	assert_int_equal(timestamps_load(&back, s->dir), 0);
	assert_int_equal(back.count, 2);
	assert_int_equal(back.items[0].wk[0], 3);
	assert_int_equal(back.items[0].ts[0], 8);
	assert_int_equal(back.items[1].ts[0], 5);
	assert_false(back.changed);
	timestamps_free(&t);
	timestamps_free(&back);
}

static void damaged_timestamps_are_told(void **state)
{
	struct state *s = *state;
	struct timestamps t;

	put(s, "timestamps", "0123456789", 10);
	assert_int_equal(timestamps_load(&t, s->dir), -EBADMSG);
	timestamps_free(&t);
}

static void timestamps_are_bounded(void **state)
{
	(void)state;
	struct timestamps t = { 0 };
	uint8_t key[32] = { 0 }, ts[NOISE_TIMESTAMP_LEN] = { 1 };

	for (unsigned i = 0; i < TIMESTAMPS_MAX; i++) {
		key[0] = (uint8_t)i;
		key[1] = (uint8_t)(i >> 8);
		assert_int_equal(timestamps_note(&t, key, ts), 0);
	}
	key[2] = 1;
	assert_int_equal(timestamps_note(&t, key, ts), -ENOSPC);
	timestamps_free(&t);
}

/* --- Stock peers */

static const char phone[] =
	"{\"name\":\"phone\",\"key\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\","
	"\"psk\":\"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"endpoint\":\"192.0.2.1:51820\","
	"\"allowed_ips\":[\"10.77.200.2/32\",\"fd00::/64\"],\"keepalive\":25}";

static void stock_peers_come_back_as_they_were(void **state)
{
	struct state *s = *state;
	struct wg_peers l, back;
	struct engine_wg_peer p;
	char why[WG_PEERS_WHY];

	assert_int_equal(wg_peers_load(&l, s->dir), 0);
	assert_int_equal(wg_peers_parse(&p, phone, strlen(phone), why), 0);
	assert_int_equal(wg_peers_add(&l, &p), 0);
	assert_int_equal(wg_peers_save(&l, s->dir), 0);
	assert_int_equal(wg_peers_load(&back, s->dir), 0);
	assert_int_equal(back.count, 1);
	assert_memory_equal(&back.items[0], &p, sizeof p);
	assert_int_equal(p.pk[31], 32);
	assert_true(p.has_psk);
	assert_int_equal(p.allowed[1].bits, 64);
	char *shown = wg_peers_format(&back, false);
	assert_null(strstr(shown, "AgAAAA"));
	assert_non_null(strstr(shown, "\"psk\":true"));
	free(shown);
	assert_int_equal(wg_peers_remove(&back, "phon"), -ENOENT);
	assert_int_equal(wg_peers_remove(&back, "phone"), 0);
	wg_peers_free(&l);
	wg_peers_free(&back);
}

static void a_damaged_list_of_stock_peers_is_told(void **state)
{
	struct state *s = *state;
	struct wg_peers l;
	static const char *const texts[] = { "", "{}", "{\"peers\":[{}]}", "{\"peers\":3}", "[" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		put(s, "wg.json", texts[i], strlen(texts[i]));
		assert_int_equal(wg_peers_load(&l, s->dir), -EBADMSG);
		assert_int_equal(l.count, 0);
	}
}

/* --- */

static int open_folder(void **state)
{
	static struct state s;

	strcpy(folder, "/tmp/p2pd-test-state-XXXXXX");
	if (!mkdtemp(folder) || state_open(&s, folder))
		return -1;
	*state = &s;
	return 0;
}

static int remove_folder(void **state)
{
	struct state *s = *state;
	DIR *d = opendir(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		unlinkat(dirfd(d), entry->d_name, 0);
	closedir(d);
	state_close(s);
	return rmdir(folder);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, open_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_a_folder(keys_are_made_once),
		in_a_folder(everything_is_for_the_owner_only),
		in_a_folder(keys_that_others_can_read_are_refused),
		in_a_folder(damaged_keys_are_not_replaced),
		in_a_folder(a_network_comes_back_as_it_was),
		in_a_folder(a_forgotten_network_is_gone_and_the_keys_stay),
		in_a_folder(a_damaged_network_is_told),
		in_a_folder(the_clock_never_goes_beyond_what_is_on_disk),
		in_a_folder(two_daemons_do_not_share_a_folder),
		in_a_folder(the_lock_goes_with_its_process),
		in_a_folder(a_killed_writer_leaves_a_whole_network),
		in_a_folder(only_the_greatest_timestamp_of_each_peer_is_kept),
		in_a_folder(damaged_timestamps_are_told),
		in_a_folder(timestamps_are_bounded),
		in_a_folder(stock_peers_come_back_as_they_were),
		in_a_folder(a_damaged_list_of_stock_peers_is_told),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
