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
	free(text);
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
	static const char *const bad[] = {
		"hub: http://x",	 "secret: hunter2", "ip4: 10.0.0.1:5",	"ip4: fd00::1",
		"ip4_prefix: 10.77.0.0", "port: 0",	    "port: 65536",	"cipher: aes",
		"workers: 17",		 "workers: 0",	    "portmap: perhaps", "tun: a/b",
		"tun: abcdefghijklmnop", "network: ''"
	};
	struct node_settings s;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		node_settings_init(&s);
		if (config_parse(&f, node_settings_entries, &s, "f", bad[i], strlen(bad[i])) == 0)
			fail_msg("%s", bad[i]);
		assert_null(strstr(f.error[0], "hunter2"));
	}
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
		cmocka_unit_test(certificate_and_key_belong_together),
		cmocka_unit_test(wrong_settings_of_the_hub_are_refused),
		cmocka_unit_test(wrong_settings_of_the_node_are_refused),
		cmocka_unit_test(a_certificate_file_that_is_another_is_noticed_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
