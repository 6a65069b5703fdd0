/* The service that is installed allows what the program does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UNIT "/apps/p2pd/p2pd.service"

static char unit[16384];

static int read_unit(void **state)
{
	char path[4096];

	(void)state;
	snprintf(path, sizeof path, "%.*s" UNIT, (int)(sizeof __FILE__ - sizeof "tests/unit/test_service.c"),
		 __FILE__);
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	assert_in_range(fread(unit, 1, sizeof unit - 1, in), 100, sizeof unit - 2);
	return fclose(in);
}

static const char *setting(const char *key, char out[static 512])
{
	char line[64];

	snprintf(line, sizeof line, "\n%s=", key);
	const char *at = strstr(unit, line);
	if (!at)
		fail_msg("no %s=", key);
	snprintf(out, 512, "%.*s", (int)strcspn(at + strlen(line), "\n"), at + strlen(line));
	return out;
}

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at++)
		if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

static void one_members_share_is_enough_for_what_is_promised(void **state)
{
	enum {
		CONNECTIONS = 5000, /* at a time, two sockets each, */
		PORTS = 1000,	    /* TCP and UDP, IPv4 and IPv6 */
		OTHERS = 1024,	    /* the rest of the program */
	};
	char text[512];

	(void)state;
	long most = strtol(setting("LimitNOFILE", text), NULL, 10);
	assert_true((most - OTHERS) / 2 >= 2 * CONNECTIONS + 4 * PORTS);
}

/* The program runs others (nft, iptables), which get no more than it has. */
static void it_may_what_it_does_and_no_more(void **state)
{
	static const struct {
		const char *what, *capability;
	} needs[] = {
		{ "the TUN device, addresses, routes, nf_tables, SO_RCVBUFFORCE", "CAP_NET_ADMIN" },
		{ "public ports such as 80 and 443", "CAP_NET_BIND_SERVICE" },
		{ "iptables-legacy; SO_BINDTODEVICE before Linux 5.7", "CAP_NET_RAW" },
	};
	char bounding[512], ambient[512];
	size_t length = 0;

	(void)state;
	setting("CapabilityBoundingSet", bounding);
	setting("AmbientCapabilities", ambient);
	for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
		if (!has_word(bounding, needs[i].capability) || !has_word(ambient, needs[i].capability))
			fail_msg("%s: without %s", needs[i].what, needs[i].capability);
		length += strlen(needs[i].capability) + 1;
	}
	assert_int_equal(strlen(bounding) + 1, length);
	assert_int_equal(strlen(ambient) + 1, length);
}

/* rp_filter and route_localnet (tun/nat_switch), the control socket, xtables.lock; sockets of all kinds that it makes. */
static void its_surroundings_are_open_where_it_needs_them(void **state)
{
	static const char *const families[] = { "AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX" };
	char text[512];

	(void)state;
	setting("ReadWritePaths", text);
	assert_true(has_word(text, "/run") && has_word(text, "-/proc/sys/net"));
	setting("RestrictAddressFamilies", text);
	for (size_t i = 0; i < 4; i++)
		assert_true(has_word(text, families[i]));
	assert_true(has_word(setting("DeviceAllow", text), "/dev/net/tun"));
	assert_string_equal(setting("StateDirectory", text), "p2pd");
}

static void systemd_finds_no_fault_with_it(void **state)
{
	static const char installed[] = "ExecStart=/usr/local/bin/p2pd";
	char path[] = "/tmp/test_service.XXXXXX", file[64], command[256];

	(void)state;
	if (system("command -v systemd-analyze >/dev/null") != 0)
		skip();
	char *exec = strstr(unit, installed);
	assert_non_null(exec);
	assert_non_null(mkdtemp(path));
	snprintf(file, sizeof file, "%s/p2pd.service", path);
	FILE *out = fopen(file, "w");
	fprintf(out, "%.*sExecStart=/bin/true%s", (int)(exec - unit), unit, exec + strlen(installed));
	assert_int_equal(fclose(out), 0);
	snprintf(command, sizeof command, "! systemd-analyze verify %s 2>&1 | grep p2pd.service", file);
	int ret = system(command);
	unlink(file);
	rmdir(path);
	assert_int_equal(ret, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_members_share_is_enough_for_what_is_promised),
		cmocka_unit_test(it_may_what_it_does_and_no_more),
		cmocka_unit_test(its_surroundings_are_open_where_it_needs_them),
		cmocka_unit_test(systemd_finds_no_fault_with_it),
	};

	return cmocka_run_group_tests(tests, read_unit, NULL);
}
