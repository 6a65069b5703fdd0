/* What README and recipes show of settings and rules is what the programs take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/p2pd/node_settings.h"
#include "apps/p2phub/hub_settings.h"

enum { PAGE_MAX = 1 << 20 };

static struct config_file f;
static char page[PAGE_MAX];

/* Beside this test's own path. */
static void read_page(const char *name)
{
	char path[4096];

	snprintf(path, sizeof path, "%.*s%s", (int)(sizeof __FILE__ - sizeof "tests/unit/test_recipes.c"),
		 __FILE__, name);
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	size_t len = fread(page, 1, PAGE_MAX - 1, in);
	fclose(in);
	assert_in_range(len, 100, PAGE_MAX - 2);
	page[len] = '\0';
}

/* The next block between lines of ```, cut off behind; NULL: there is none. */
static char *next_block(char **at)
{
	static const char fence[] = "\n```";
	char *begin = strstr(*at, fence), *text = begin ? strchr(begin + 1, '\n') : NULL;
	char *end = text ? strstr(text, fence) : NULL;

	if (!end)
		return NULL;
	*at = end + strlen(fence);
	end[1] = '\0';
	return text + 1;
}

/* "gateway:" and the like at its begin. Other programs' settings are theirs. */
static bool is_yaml(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz_");

	return len && text[len] == ':' && isspace((unsigned char)text[len + 1]) &&
	       strncmp(text, "scrape_configs", len) != 0;
}

static bool for_the_node(const char *text)
{
	struct node_settings s;
	struct policy_error e;
	struct policy p;

	node_settings_init(&s);
	memset(&f, 0, sizeof f);
	if (config_parse(&f, node_settings_entries, &s, "node", text, strlen(text)))
		return false;
	if (policy_read(&p, POLICY_SETTINGS, text, strlen(text), &e)) {
		snprintf(f.error[0], CONFIG_LINE, "line %u: %s", e.line, e.why);
		return false;
	}
	policy_free(&p);
	return true;
}

static bool for_the_hub(const char *text)
{
	static struct config_file of_hub;
	struct hub_settings s;

	hub_settings_init(&s);
	memset(&of_hub, 0, sizeof of_hub);
	return config_parse(&of_hub, hub_settings_entries, &s, "hub", text, strlen(text)) == 0;
}

static unsigned check_page(const char *name)
{
	unsigned count = 0;
	char *text;

	read_page(name);
	for (char *at = page; (text = next_block(&at));) {
		if (!is_yaml(text))
			continue;
		count++;
		if (!for_the_node(text) && !for_the_hub(text))
			fail_msg("%s: %s in\n%s", name, f.error[0], text);
	}
	return count;
}

static void all_settings_that_are_shown_are_taken(void **state)
{
	static const struct {
		const char *name;
		unsigned least; /* so many blocks has it */
	} pages[] = {
		{ "/README.md", 2 },
		{ "/apps/p2pd/recipes/till.md", 1 },
		{ "/apps/p2pd/recipes/home.md", 1 },
		{ "/apps/p2pd/recipes/nas.md", 1 },
		{ "/apps/p2pd/recipes/controller.md", 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		assert_true(check_page(pages[i].name) >= pages[i].least);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_settings_that_are_shown_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
