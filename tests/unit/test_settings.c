#include <ctype.h>
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

#include "apps/p2pd/node_settings.h"
#include "apps/p2phub/certificate.h"
#include "apps/p2phub/hub_settings.h"
#include "core/fail.h"

static struct config_file f;

/* The example that stands beside the program's source: this test's own path leads there. */
static char *read_example(const char *name)
{
	char path[4096], *text = calloc(1, CONFIG_FILE_MAX);

	snprintf(path, sizeof path, "%.*s%s", (int)(sizeof __FILE__ - sizeof "tests/unit/test_settings.c"),
		 __FILE__, name);
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	assert_true(fread(text, 1, CONFIG_FILE_MAX - 1, in) > 100);
	fclose(in);
	return text;
}

/* Takes the # away where a setting stands behind it, as the file's reader does: prose has one space there. */
static void uncomment(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		bool begins = from == text || from[-1] == '\n';
		if (!begins || *from != '#' ||
		    !(islower((unsigned char)from[1]) || !strncmp(from + 1, "  ", 2)))
			*to++ = *from;
	}
	*to = 0;
}

static void expect_all_named(const struct config_entry *entries)
{
	for (const struct config_entry *e = entries; e->key; e++)
		if (!f.at[e - entries].line)
			fail_msg("the example does not name %s", e->key);
}

static void the_hubs_example_names_every_key_with_its_default(void **state)
{
	(void)state;
	struct hub_settings s, defaults;
	char *text = read_example("/apps/p2phub/p2phub.yaml");

	hub_settings_init(&defaults);
	hub_settings_init(&s);
	assert_int_equal(config_parse(&f, hub_settings_entries, &s, "f", text, strlen(text)), 0);
	assert_int_equal(config_log_changes("example", hub_settings_entries, &defaults, &s), 0);
	uncomment(text);
	if (config_parse(&f, hub_settings_entries, &s, "f", text, strlen(text)) != 0)
		fail_msg("%s", f.error[0]);
	expect_all_named(hub_settings_entries);
	/* Those that have no default. */
	memset(s.cert, 0, sizeof s.cert);
	memset(s.key, 0, sizeof s.key);
	memset(s.url_host, 0, sizeof s.url_host);
	memset(s.behind_proxy, 0, sizeof s.behind_proxy);
	s.relays = defaults.relays;
	s.metrics = defaults.metrics;
	memset(s.relay_key, 0, sizeof s.relay_key);
	assert_int_equal(config_log_changes("example", hub_settings_entries, &defaults, &s), 0);
	free(text);
}

static void the_nodes_example_names_every_key(void **state)
{
	(void)state;
	struct node_settings s, defaults;
	char *text = read_example("/apps/p2pd/p2pd.yaml");

	node_settings_init(&defaults);
	node_settings_init(&s);
	assert_int_equal(config_parse(&f, node_settings_entries, &s, "f", text, strlen(text)), 0);
	assert_int_equal(config_log_changes("example", node_settings_entries, &defaults, &s), 0);
	uncomment(text);
	if (config_parse(&f, node_settings_entries, &s, "f", text, strlen(text)) != 0)
		fail_msg("%s", f.error[0]);
	expect_all_named(node_settings_entries);
	struct policy p;
	struct policy_error e;
	if (policy_read(&p, POLICY_SETTINGS, text, strlen(text), &e))
		fail_msg("%u:%u: %s", e.line, e.column, e.why);
	assert_int_equal(p.count, 2);
	policy_free(&p);
	free(text);
}

static int read_forwards(const char *text, struct policy *p)
{
	char path[] = "/tmp/test_settings.XXXXXX";
	struct node_settings_source source = { .path = path };
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	int code = node_settings_forwards(p, &source, &f);
	unlink(path);
	return code;
}

static void rules_are_declared_among_the_settings(void **state)
{
	(void)state;
	struct node_settings_source nowhere = { .path = "/nowhere/p2pd.yaml" }, none = { 0 };
	struct policy p;

	if (access(NODE_SETTINGS_FILE, F_OK) != 0)
		assert_int_equal(node_settings_forwards(&p, &none, &f), EXIT_OK);
	assert_int_equal(read_forwards("tun: p2pd0\n", &p), EXIT_OK);
	assert_int_equal(p.count, 0);
	assert_int_equal(read_forwards("tun: p2pd0\nforwards:\n- {name: web, local: '127.0.0.1:80'}\n", &p),
			 EXIT_OK);
	assert_int_equal(p.count, 1);
	policy_free(&p);
	assert_int_equal(read_forwards("forwards:\n- {name: web, local: '127.0.0.1:0'}\n", &p), EXIT_USAGE);
	assert_non_null(strstr(f.error[0], ":2:22: '0' is not a port"));
	assert_int_equal(node_settings_forwards(&p, &nowhere, &f), EXIT_USAGE);
	assert_non_null(strstr(f.error[0], "/nowhere/p2pd.yaml: cannot be read"));
}

/* Writes `text` to a new file and reads it as the hub's. */
static int read_hub(const char *text, const struct config_typed *typed, struct hub_settings *s)
{
	char path[] = "/tmp/test_settings.XXXXXX";
	struct hub_settings_source source = { .path = path };
	int fd = mkstemp(path);

	if (typed)
		source.typed = *typed;
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	int code = hub_settings_load(s, &source, &f);
	unlink(path);
	return code;
}

static void certificate_and_key_belong_together(void **state)
{
	(void)state;
	struct config_typed typed = { 0 };
	struct hub_settings s;

	assert_int_equal(read_hub("data: /x\ncertificate:\n  cert: /a\n", NULL, &s), EXIT_USAGE);
	assert_non_null(strstr(f.error[0], ":3:9: certificate and key belong together"));
	assert_int_equal(read_hub("certificate:\n  key: /a\n", NULL, &s), EXIT_USAGE);
	for (const struct config_entry *e = hub_settings_entries; e->key; e++)
		if (!strcmp(e->key, "certificate.key"))
			typed.values[e - hub_settings_entries] = (struct options_list) { .items = { "/k" },
											 .count = 1 };
	assert_int_equal(read_hub("certificate:\n  cert: /a\n", &typed, &s), EXIT_OK);
	assert_string_equal(s.key, "/k");
	assert_int_equal(read_hub("", &typed, &s), EXIT_USAGE);
}

static void wrong_settings_of_the_hub_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "listen: {udp: []}",
					   "url_host: 'a b'",
					   "log: {level: loud}",
					   "log: {level: 'info,path'}",
					   "log: {format: xml}",
					   "limits: {nodes: 0}",
					   "relay: {quota: {node_rate: 10}}",
					   "audit: {retention: 90}" };
	struct hub_settings s;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (read_hub(bad[i], NULL, &s) != EXIT_USAGE || !f.errors)
			fail_msg("%s", bad[i]);
	assert_int_equal(read_hub("log: {level: 'info,path=debug', format: json}", NULL, &s), EXIT_OK);
}

static void wrong_settings_of_the_node_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "hub: http://x",
					   "secret: hunter2",
					   "ip4: 10.0.0.1:5",
					   "ip4: fd00::1",
					   "ip4_prefix: 10.77.0.0",
					   "port: 0",
					   "port: 65536",
					   "cipher: aes",
					   "workers: 17",
					   "workers: 0",
					   "portmap: perhaps",
					   "tun: a/b",
					   "tun: abcdefghijklmnop",
					   "network: ''",
					   "api: {listen: 127.0.0.1}",
					   "gateway: {address: 203.0.113.5:80}",
					   "gateway: {address: 127.0.0.1}",
					   "gateway: {address: 0.0.0.0}",
					   "gateway: {address: '::1'}",
					   "gateway: {address: 224.0.0.1}",
					   "gateway: {address: 'fe80::1'}",
					   "gateway: {address: gw.example.org}",
					   "gateway: {address: '::ffff:127.0.0.1'}",
					   "gateway: {address: '[2001:db8::1]'}",
					   "gateway: {ports: 0}",
					   "gateway: {ports: 65536}",
					   "gateway: {ports: 70000-70001}",
					   "gateway: {ports: 20-10}",
					   "gateway: {ports: 10-}",
					   "gateway: {ports: -10}",
					   "gateway: {ports: 10-20-30}",
					   "gateway: {ports: ' '}",
					   "gateway: {ports: [10, x]}",
					   "gateway: {ports: 99999999999999999999}",
					   "gateway: {owners: [a_b]}",
					   "gateway: {owners: ['[fd00::7]:80']}",
					   "gateway: {max_rate: 5}",
					   "gateway: {max_conn: 0}",
					   "gateway: {max_ports: 65536}",
					   "gateway: {door: {port: 0}}",
					   "gateway: {door: {name: 'a b'}}",
					   "gateway: {door: {name: a..b}}" };
	struct node_settings s;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		node_settings_init(&s);
		if (config_parse(&f, node_settings_entries, &s, "f", bad[i], strlen(bad[i])) == 0)
			fail_msg("%s", bad[i]);
		assert_null(strstr(f.error[0], "hunter2"));
	}
}

/* Writes `text` to a new file and reads it as the node's. */
static int read_node(const char *text, struct node_settings *s)
{
	char path[] = "/tmp/test_settings.XXXXXX";
	struct node_settings_source source = { .path = path };
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	int code = node_settings_load(s, &source, &f);
	unlink(path);
	return code;
}

static void what_does_not_go_together_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "gateway: {address: [203.0.113.5, 203.0.113.6]}",
		  ":1:20: gateway.address (--gateway) takes one IPv4" },
		{ "gateway: {address: '2001:db8::1, 2001:db8::2'}",
		  ":1:20: gateway.address (--gateway) takes one IPv4" },
		{ "gateway: {address: 203.0.113.5, ports: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
		  ":1:40: gateway.ports takes at most 16" },
		{ "gateway:\n  address: 203.0.113.5\n  door:\n    cert: /a",
		  ":4:11: certificate and key belong together" },
		{ "gateway:\n  address: 203.0.113.5\n  door:\n    key: /a",
		  ":4:10: certificate and key belong together" },
		{ "name: n\ngateway:\n  ports: 443", ":3:10: a gateway wants its public address" },
		{ "gateway:\n  door:\n    port: 443", ":3:11: a gateway wants its public address" },
		{ "api:\n  listen: 0.0.0.0:9479",
		  ":2:11: api.listen (--api) takes an address that only this" },
		{ "api:\n  listen: '10.0.0.1:9479'", ":2:11: api.listen" },
	};
	struct node_settings s;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_node(cases[i].text, &s), EXIT_USAGE);
		if (!strstr(f.error[0], cases[i].error))
			fail_msg("%s", f.error[0]);
	}
}

static void a_gateway_is_what_its_settings_say(void **state)
{
	(void)state;
	static const char text[] =
		"gateway:\n  address: [2001:db8::5, 203.0.113.5]\n  ports: [80, 10000-19999, 1-65535]\n"
		"  owners: [shop-1, nas.home, fd00::7]\n  max_rate: 8mbit\n  max_conn: 7\n  max_ports: 9\n"
		"  door: {port: 444, cert: /c, key: /k, name: gw.example.org}\n"
		"api: {listen: '[::1]:5'}\n";
	char shown[ADDR_TEXT_MAX];
	struct gateway_config g;
	struct node_settings s;

	assert_int_equal(read_node(text, &s), EXIT_OK);
	node_settings_gateway(&s, &g);
	assert_string_equal(addr_format(&g.public4, shown), "203.0.113.5");
	assert_string_equal(addr_format(&g.public6, shown), "2001:db8::5");
	assert_int_equal(g.port_count, 3);
	assert_true(g.ports[0].first == 80 && g.ports[0].count == 1);
	assert_true(g.ports[1].first == 10000 && g.ports[1].count == 10000);
	assert_true(g.ports[2].first == 1 && g.ports[2].count == 65535);
	assert_int_equal(g.owner_count, 3);
	assert_string_equal(g.owners[2], "fd00::7");
	assert_string_equal(g.owners[1], "nas.home");
	assert_true(g.max_rate == 1000000 && g.max_conn == 7 && g.max_ports == 9 && g.door_port == 444);
	assert_string_equal(g.door_cert, "/c");
	assert_string_equal(g.door_key, "/k");
	assert_string_equal(g.door_name, "gw.example.org");
	assert_true(s.api.port == 5 && addr_is_loopback(&s.api));
	assert_int_equal(read_node("", &s), EXIT_OK);
	node_settings_gateway(&s, &g);
	assert_int_equal(g.public4.family + g.public6.family, ADDR_NONE);
	assert_int_equal(g.port_count + g.owner_count, 0);
}

static void put(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* As certbot has it: a link that leads to another file after a renewal. */
static void a_certificate_file_that_is_another_is_noticed_once(void **state)
{
	(void)state;
	char dir[] = "/tmp/test_settings.XXXXXX";
	struct certificate c = { 0 };

	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	put("cert1", "a");
	put("key", "k");
	assert_int_equal(symlink("cert1", "cert"), 0);
	assert_true(certificate_changed(&c, "cert", "key"));
	assert_false(certificate_changed(&c, "cert", "key"));
	put("cert2", "b");
	assert_int_equal(symlink("cert2", "link"), 0);
	assert_int_equal(rename("link", "cert"), 0);
	assert_true(certificate_changed(&c, "cert", "key"));
	assert_false(certificate_changed(&c, "cert", "key"));
	put("new", "k");
	assert_int_equal(rename("new", "key"), 0);
	assert_true(certificate_changed(&c, "cert", "key"));
	assert_int_equal(unlink("key"), 0);
	assert_true(certificate_changed(&c, "cert", "key"));
	assert_false(certificate_changed(&c, "cert", "key"));
	unlink("cert");
	unlink("cert1");
	unlink("cert2");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hubs_example_names_every_key_with_its_default),
		cmocka_unit_test(the_nodes_example_names_every_key),
		cmocka_unit_test(rules_are_declared_among_the_settings),
		cmocka_unit_test(certificate_and_key_belong_together),
		cmocka_unit_test(wrong_settings_of_the_hub_are_refused),
		cmocka_unit_test(wrong_settings_of_the_node_are_refused),
		cmocka_unit_test(what_does_not_go_together_is_refused),
		cmocka_unit_test(a_gateway_is_what_its_settings_say),
		cmocka_unit_test(a_certificate_file_that_is_another_is_noticed_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
