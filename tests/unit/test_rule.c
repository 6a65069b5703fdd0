#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/p2pd/forward/lease.h"
#include "apps/p2pd/forward/rule.h"
#include "core/crypto.h"

#define ID "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"

/* Over `r`, and checked. JSON with ' for ". */
static int change(struct rule *r, const char *spec, char why[static RULE_WHY])
{
	char text[4096];

	snprintf(text, sizeof text, "%s", spec);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!json)
		fail_msg("not JSON: %s", spec);
	int rc = rule_read(r, json, why);
	json_decref(json);
	return rc ? rc : rule_check(r, why);
}

static int make(struct rule *r, const char *spec, char why[static RULE_WHY])
{
	rule_init(r);
	return change(r, spec, why);
}

static struct rule made(const char *spec)
{
	struct rule r;
	char why[RULE_WHY];

	if (make(&r, spec, why))
		fail_msg("%s: %s", spec, why);
	return r;
}

static void local_alone_is_enough(void **state)
{
	(void)state;
	struct rule r = made("{'local':'192.168.50.10:3306'}");
	char text[RULE_LOCAL];

	assert_string_equal(rule_local_text(&r, text), "192.168.50.10:3306");
	assert_true(r.tcp && !r.udp && r.scope == RULE_ORG && r.source_ip == RULE_KERNEL && !r.paused);
	assert_int_equal(r.max_conn, FORWARD_CONN_DEFAULT);
	assert_int_equal(r.idle_s, FORWARD_IDLE_DEFAULT_S);
	assert_int_equal(r.local.port, 0);
	assert_false(rule_restricted(&r));
}

static void a_member_is_meant_by_its_name_or_by_its_address(void **state)
{
	(void)state;
	struct addr ip6;

	assert_int_equal(addr_parse(&ip6, "fd00::7", 0), 0);
	assert_true(rule_node_is("nas.home", "nas.home", &ip6));
	assert_false(rule_node_is("nas", "nas.home", &ip6));
	assert_true(rule_node_is("fd00:0:0::7", "nas.home", &ip6));
	assert_false(rule_node_is("fd00::8", "nas.home", &ip6));
	assert_false(rule_node_is("fd00::8", "fd00::8", &ip6)); /* what calls itself an address is not it */
	assert_false(rule_node_is("fd00::8", "nas.home", &(struct addr) { 0 }));
}

static void what_is_printed_reads_the_same(void **state)
{
	(void)state;
	static const char *const specs[] = {
		"{'local':'192.168.50.10:80,443,9000-9099','proto':'both'}",
		"{'local':'[2001:db8::1]:1-2','proto':'udp','name':'cam-attic-554','source_ip':'nat'}",
		"{'local':'127.0.0.1:65535','scope':'nodes','to':['till-1','nas.home','fd00::7'],'paused':"
		"true}",
		"{'local':'127.0.0.1:1','scope':'public','via':'fd12:3456:789a:1:2:3:4:5','allow':['token']}",
		"{'local':'10.1.2.3:22','scope':'public','via':'gate','public_port':2222,"
		"'domain':'shop.example.org','allow':['198.51.100.0/24','2001:db8::/32','token',"
		"'203.0.113.7'],'max_conn':0,'idle_s':0,'rate':1250000,'expires_at':1900000000,"
		"'source_ip':'proxy-v2'}",
		"{'forward_id':'" ID "','local':'10.1.2.3:22','created_at':1,'changed_at':2,'removed_at':3}",
	};

	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
		struct rule r = made(specs[i]), again;
		char why[RULE_WHY];
		json_t *json = rule_json(&r);
		if (!r.id[0]) /* it was given none yet */
			json_object_del(json, "forward_id");
		rule_init(&again);
		assert_int_equal(rule_read(&again, json, why), 0);
		json_t *second = rule_json(&again);
		if (!r.id[0])
			json_object_del(second, "forward_id");
		assert_true(json_equal(json, second));
		json_decref(json);
		json_decref(second);
	}
}

/* What a person may get wrong, and a word of what is answered. */
static const struct {
	const char *spec, *word;
} wrong[] = {
	/* ports */
	{ "{'local':'10.0.0.1:0'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:70000'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:65536'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:99999999999999999999'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:-80'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:+80'}", "1 to 65535" },
	{ "{'local':'10.0.0.1: 80'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:80,'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:80-'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:80-90-95'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:80-0'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:http'}", "1 to 65535" },
	{ "{'local':'10.0.0.1:90-80'}", "lower port first" },
	{ "{'local':'10.0.0.1:80,80'}", "overlap" },
	{ "{'local':'10.0.0.1:80-90,443,85-95'}", "overlap" },
	{ "{'local':'10.0.0.1:1-4097'}", "4097 ports" },
	{ "{'local':'10.0.0.1:1-65535','proto':'udp'}", "65535 ports" },
	{ "{'local':'10.0.0.1:1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33'}", "several rules" },
	{ "{'local':'10.0.0.1:80','public_port':70000}", "65535" },
	{ "{'local':'10.0.0.1:80','public_port':-1}", "65535" },
	{ "{'local':'10.0.0.1:80-90','public_port':65530}", "65530 to 65540" },
	{ "{'local':'10.0.0.1:8080,80','public_port':1000}", "-7000" },
	{ "{'local':'10.0.0.1:7781'}", "p2pd's own" },
	{ "{'local':'10.0.0.1:1-80','public_port':7770}", "p2pd's own" },
	/* addresses */
	{ "{}", "give local" },
	{ "{'local':''}", "IP:PORT" },
	{ "{'local':'10.0.0.1'}", "IP:PORT" },
	{ "{'local':':80'}", "not an IP address" },
	{ "{'local':'localhost:80'}", "not an IP address" },
	{ "{'local':'127.1:80'}", "not an IP address" },
	{ "{'local':'0x7f000001:80'}", "not an IP address" },
	{ "{'local':'2130706433:80'}", "not an IP address" },
	{ "{'local':'010.0.0.1:80'}", "not an IP address" },
	{ "{'local':'2001:db8::1:80'}", "brackets" },
	{ "{'local':'[10.0.0.1]:80'}", "brackets" },
	{ "{'local':'[2001:db8::1]'}", "brackets" },
	{ "{'local':'[2001:db8::1:80'}", "brackets" },
	{ "{'local':'[::ffff:127.0.0.1]:80'}", "write it as IPv4" },
	{ "{'local':'[::ffff:7f00:1]:80'}", "write it as IPv4" },
	{ "{'local':'[::ffff:192.168.1.1]:80'}", "write it as IPv4" },
	{ "{'local':'0.0.0.0:80'}", "not the address of a host" },
	{ "{'local':'[::]:80'}", "not the address of a host" },
	{ "{'local':'224.0.0.251:5353'}", "not the address of a host" },
	{ "{'local':'[ff02::fb]:5353'}", "not the address of a host" },
	{ "{'local':'255.255.255.255:80'}", "not the address of a host" },
	{ "{'local':'169.254.169.254:80'}", "link-local" },
	{ "{'local':'[fe80::1]:80'}", "link-local" },
	/* who */
	{ "{'local':'10.0.0.1:80','scope':'all'}", "org, nodes, public" },
	{ "{'local':'10.0.0.1:80','scope':'nodes'}", "members in to" },
	{ "{'local':'10.0.0.1:80','to':['a']}", "scope is org" },
	{ "{'local':'10.0.0.1:80','scope':'nodes','to':['Till']}", "name of a member" },
	{ "{'local':'10.0.0.1:80','scope':'nodes','to':['']}", "name of a member" },
	{ "{'local':'10.0.0.1:80','scope':'nodes','to':['[fd00::7]:1']}", "name of a member" },
	{ "{'local':'10.0.0.1:80','scope':'nodes','to':'a'}", "list" },
	{ "{'local':'10.0.0.1:80','scope':'nodes','to':['a'],'allow':['token']}", "scope is nodes" },
	{ "{'local':'10.0.0.1:80','scope':'public'}", "gateway" },
	{ "{'local':'10.0.0.1:80','scope':'public','via':'../x'}", "name of a member" },
	{ "{'local':'10.0.0.1:80','via':'gate'}", "scope is org" },
	{ "{'local':'10.0.0.1:80','allow':['token']}", "tokens are for scope public" },
	{ "{'local':'10.0.0.1:80','allow':['10.0.0.1/8']}", "write 10.0.0.0/8" },
	{ "{'local':'10.0.0.1:80','allow':['10.0.0.0/33']}", "not a prefix" },
	{ "{'local':'10.0.0.1:80','allow':['10.0.0.0/']}", "not a prefix" },
	{ "{'local':'10.0.0.1:80','allow':['10.0.0.0/255.0.0.0']}", "not a prefix" },
	{ "{'local':'10.0.0.1:80','allow':['10.0.0.1:80']}", "not an IP address" },
	{ "{'local':'10.0.0.1:80','allow':['::ffff:10.0.0.0/104']}", "write it as IPv4" },
	{ "{'local':'10.0.0.1:80','allow':['127.0.0.0/8']}", "no visitor" },
	{ "{'local':'10.0.0.1:80','allow':['::1']}", "no visitor" },
	{ "{'local':'10.0.0.1:80','allow':['224.0.0.0/4']}", "no visitor" },
	{ "{'local':'10.0.0.1:80','allow':['anybody']}", "not an IP address" },
	{ "{'local':'10.0.0.1:80','allow':[7]}", "takes a text" },
	/* the rest */
	{ "{'local':'10.0.0.1:80','name':'-x'}", "cannot be a name" },
	{ "{'local':'10.0.0.1:80','name':'a b'}", "cannot be a name" },
	{ "{'local':'10.0.0.1:80','name':'<script>'}", "cannot be a name" },
	{ "{'local':'10.0.0.1:80','name':'a\\u001b[2J'}", "cannot be a name" },
	{ "{'local':'10.0.0.1:80','name':'" ID "'}", "looks like an id" },
	{ "{'local':'10.0.0.1:80','name':'apply'}", "word of p2pd's own" },
	{ "{'local':'10.0.0.1:80','name':'audit'}", "word of p2pd's own" },
	{ "{'local':'10.0.0.1:80','name':'api-token'}", "word of p2pd's own" },
	{ "{'local':'10.0.0.1:80','domain':'a.example'}", "scope is org" },
	{ "{'local':'10.0.0.1:80','scope':'public','via':'g','domain':'a..b'}", "not a domain" },
	{ "{'local':'10.0.0.1:80','scope':'public','via':'g','domain':'-a.b'}", "not a domain" },
	{ "{'local':'10.0.0.1:80','scope':'public','via':'g','domain':'a/b'}", "not a domain" },
	{ "{'local':'10.0.0.1:80','proto':'sctp'}", "tcp, udp, both" },
	{ "{'local':'10.0.0.1:80','proto':6}", "tcp, udp, both" },
	{ "{'local':'10.0.0.1:80','source_ip':'proxy-v1'}", "kernel, proxy-v2, nat" },
	{ "{'local':'10.0.0.1:80','max_conn':'200'}", "takes a number" },
	{ "{'local':'10.0.0.1:80','max_conn':1000001}", "1000000" },
	{ "{'local':'10.0.0.1:80','max_conn':1.5}", "takes a number" },
	{ "{'local':'10.0.0.1:80','idle_s':604801}", "idle is at most 7 days" },
	{ "{'local':'10.0.0.1:80','idle_s':9223372036854775807}", "idle is at most 7 days" },
	{ "{'local':'10.0.0.1:80','rate':12500000001}", "rate is from 1000 to 12500000000 bytes" },
	{ "{'local':'10.0.0.1:80','rate':'10mbit'}", "rate takes a number" },
	{ "{'local':'10.0.0.1:80','expires_at':'2027-01-31'}", "expires_at takes a number" },
	{ "{'local':'10.0.0.1:80','expires_at':-1}", "expires_at takes a number" },
	{ "{'local':'10.0.0.1:80','expires_at':1.5}", "expires_at takes a number" },
	{ "{'local':'10.0.0.1:80','expires_at':true}", "expires_at takes a number" },
	{ "{'local':'10.0.0.1:80','expires_at':null}", "expires_at takes a number" },
	{ "{'local':'10.0.0.1:80','allow':'10.0.0.0/8'}", "allow takes a list" },
	{ "{'local':'10.0.0.1:80','allow':{}}", "allow takes a list" },
	{ "{'local':'10.0.0.1:80','allow':null}", "allow takes a list" },
	{ "{'local':'10.0.0.1:80','idle_s':-1}", "takes a number" },
	{ "{'local':'10.0.0.1:80','rate':999}", "rate is from 1000" },
	{ "{'local':'10.0.0.1:80','paused':1}", "true or false" },
	{ "{'local':'10.0.0.1:80','port':80}", "unknown key 'port'" },
	{ "{'local':'10.0.0.1:80','state':'active'}", "unknown key 'state'" },
	{ "{'local':'10.0.0.1:80','forward_id':'7'}", "not an id" },
	{ "{'local':null}", "takes a text" },
	{ "[]", "object" },
};

static void bad_input_is_refused_with_a_reason(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct rule r;
		char why[RULE_WHY];
		if (make(&r, wrong[i].spec, why) != -EINVAL)
			fail_msg("taken: %s", wrong[i].spec);
		if (!strstr(why, wrong[i].word))
			fail_msg("%s: '%s' does not say '%s'", wrong[i].spec, why, wrong[i].word);
	}
}

/* `text`, `times` over. */
static const char *repeat(const char *text, unsigned times)
{
	static char out[2048];

	*out = 0;
	while (times--)
		strcat(out, text);
	return out;
}

static void what_is_at_its_longest_is_taken_and_no_longer(void **state)
{
	(void)state;
	/* %s: `piece` so many times. */
	static const struct {
		const char *spec, *piece;
		unsigned most;
		const char *word;
	} cases[] = {
		{ "{'local':'10.0.0.1:80','name':'%s'}", "n", 63, "name takes a text of at most 63 bytes" },
		{ "{'local':'10.0.0.1:80%s'}", " ", 0, "1 to 65535" },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'%s'}", "v", CERT_NAME_MAX,
		  "via takes a text" },
		{ "{'local':'10.0.0.1:80','scope':'nodes','to':['%s']}", "t", CERT_NAME_MAX,
		  "to takes a text" },
		{ "{'local':'10.0.0.1:80','scope':'nodes','to':['a'%s]}", ",'b'", 31, "at most 32 names" },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g','domain':'%s'}", "d", 63,
		  "not a domain" },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g','domain':'%sdd.e'}", "d.", 124,
		  "domain takes a text of at most 253 bytes" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (unsigned more = 0; more < 2; more++) {
			struct rule r;
			char why[RULE_WHY], spec[4096];
			snprintf(spec, sizeof spec, cases[i].spec,
				 repeat(cases[i].piece, cases[i].most + more));
			int rc = make(&r, spec, why);
			if (rc != (more ? -EINVAL : 0) || (more && !strstr(why, cases[i].word)))
				fail_msg("%s: %d '%s', not '%s'", spec, rc, why, cases[i].word);
		}
}

static void a_local_too_long_to_be_one_is_refused(void **state)
{
	(void)state;
	struct rule r;
	char why[RULE_WHY], spec[4096];

	snprintf(spec, sizeof spec, "{'local':'10.0.0.1:%s80'}", repeat("80,", RULE_LOCAL / 3));
	assert_int_equal(make(&r, spec, why), -EINVAL);
	assert_non_null(strstr(why, "local takes a text of at most 319 bytes"));
}

static void an_allow_list_has_32_prefixes_and_counts_none_twice(void **state)
{
	(void)state;
	struct rule r;
	char why[RULE_WHY], spec[4096] = "{'local':'10.0.0.1:80','allow':['10.0.0.0/24','10.0.0.0/24'";

	for (unsigned i = 1; i < RULE_ALLOW_MAX; i++)
		sprintf(spec + strlen(spec), ",'10.0.%u.0/24','10.0.0.0/24'", i);
	size_t len = strlen(spec);
	strcpy(spec + len, "]}");
	assert_int_equal(make(&r, spec, why), 0);
	assert_int_equal(r.allow_count, RULE_ALLOW_MAX);
	strcpy(spec + len, ",'10.1.0.0/24']}");
	assert_int_equal(make(&r, spec, why), -EINVAL);
	assert_non_null(strstr(why, "more than 32 prefixes"));
	assert_int_equal(make(&r,
			      "{'local':'10.0.0.1:80','scope':'public','via':'g','allow':['token','token',"
			      "'203.0.113.7','203.0.113.7/32']}",
			      why),
			 0);
	assert_int_equal(r.allow_count, 1);
	assert_true(r.allow_token);
}

static void a_date_is_a_day_that_there_is(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t unix_s; /* 0: refused */
	} cases[] = {
		{ "2027-01-31", 1801353600 },
		{ "2028-02-29", 1835395200 },
		{ "2027-01-31T18:00:00Z", 1801418400 },
		{ "2027-02-29", 0 },
		{ "2027-02-30", 0 },
		{ "2027-04-31T00:00:00Z", 0 },
		{ "2027-13-01", 0 },
		{ "2027-01-31T24:00:00Z", 0 },
		{ "2027-01-31T23:59:60Z", 0 },
		{ "2027-01-31T18:00:00", 0 },
		{ "2027-1-1", 0 },
		{ " 2027-01-31", 0 },
		{ "2027-01-31 ", 0 },
		{ "1970-01-01", 0 },
		{ "", 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t unix_s = 0;
		int rc = rule_read_date(&unix_s, cases[i].text);
		if (rc != (cases[i].unix_s ? 0 : -EINVAL) || unix_s != cases[i].unix_s)
			fail_msg("%s: %d %llu", cases[i].text, rc, (unsigned long long)unix_s);
	}
}

static void a_gateway_is_another_node(void **state)
{
	(void)state;
	struct rule r = made("{'local':'10.0.0.1:80','scope':'public','via':'till'}");
	struct rule_place place = { .name = "till", .bits4 = 16, .bits6 = 48 };
	char why[RULE_WHY];

	addr_parse(&place.prefix4, "10.77.0.0", 0);
	addr_parse(&place.prefix6, "fd77::", 0);
	assert_int_equal(rule_check_place(&r, &place, why), -EINVAL);
	assert_non_null(strstr(why, "till is this node itself"));
	addr_parse(&place.ip6, "fd77::7", 0);
	struct rule by_address = made("{'local':'10.0.0.1:80','scope':'public','via':'fd77:0::7'}");
	assert_int_equal(rule_check_place(&by_address, &place, why), -EINVAL);
	by_address = made("{'local':'10.0.0.1:80','scope':'public','via':'fd77::8'}");
	assert_int_equal(rule_check_place(&by_address, &place, why), 0);
	place.name = "till-2";
	assert_int_equal(rule_check_place(&r, &place, why), 0);
}

static void a_reason_is_fit_for_a_terminal(void **state)
{
	(void)state;
	struct rule r;
	char why[RULE_WHY];

	assert_int_equal(make(&r, "{'local':'\\u001b[2J\\u0007caf\u00e9:80'}", why), -EINVAL);
	for (const char *c = why; *c; c++)
		assert_in_range(*c, ' ', '~');
	assert_non_null(strstr(why, "?[2J?caf??"));
}

static void a_change_keeps_the_rest_and_the_id(void **state)
{
	(void)state;
	struct rule r = made("{'forward_id':'" ID "','local':'10.0.0.1:80','allow':['10.0.0.0/8'],"
			     "'name':'web'}");
	char why[RULE_WHY];

	assert_int_equal(change(&r, "{'max_conn':7}", why), 0);
	assert_int_equal(r.max_conn, 7);
	assert_string_equal(r.name, "web");
	assert_int_equal(r.allow_count, 1);
	assert_int_equal(change(&r, "{'allow':[],'name':''}", why), 0);
	assert_int_equal(r.allow_count, 0);
	assert_string_equal(r.name, "");
	assert_int_equal(change(&r, "{'forward_id':'" ID "'}", why), 0);
	assert_int_equal(change(&r, "{'forward_id':'017f22e2-79b0-7cc3-98c4-dc0c0c073990'}", why), -EINVAL);
}

static void a_public_rule_for_everybody_must_be_forced(void **state)
{
	(void)state;
	static const struct {
		const char *spec;
		int rc;
	} cases[] = {
		{ "{'local':'10.0.0.1:80'}", 0 },
		{ "{'local':'10.0.0.1:80','scope':'nodes','to':['a']}", 0 },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g'}", -EPERM },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g','allow':['0.0.0.0/0']}", -EPERM },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g','allow':['token','::/0']}", -EPERM },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g','allow':['203.0.113.7']}", 0 },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g','allow':['token']}", 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rule r = made(cases[i].spec);
		char why[RULE_WHY];
		if (rule_check_open(&r, why) != cases[i].rc)
			fail_msg("%s", cases[i].spec);
		assert_int_equal(*why != 0, cases[i].rc != 0);
	}
}

static void a_target_is_in_a_network_of_this_host_and_not_in_the_overlay(void **state)
{
	(void)state;
	static const struct {
		const char *local;
		int rc;
	} cases[] = {
		{ "127.0.0.1:80", 0 },
		{ "[::1]:80", 0 },
		{ "192.168.50.10:80", 0 },
		{ "10.77.0.9:80", -EINVAL },
		{ "[fd77::9]:80", -EINVAL },
		{ "[fd78::9]:80", 0 },
		{ "203.0.113.200:80", 0 },
		{ "203.0.114.1:80", -EINVAL },
		{ "8.8.8.8:53", -EINVAL },
		{ "[2001:db8:1::5]:80", 0 },
		{ "[2001:db8:2::5]:80", -EINVAL },
	};
	struct rule_place place = { .bits4 = 16, .bits6 = 48, .link_count = 2 };
	char why[RULE_WHY];

	addr_parse(&place.prefix4, "10.77.0.0", 0);
	addr_parse(&place.prefix6, "fd77::", 0);
	assert_int_equal(rule_read_prefix(&place.links[0], "203.0.113.0/24", why), 0);
	assert_int_equal(rule_read_prefix(&place.links[1], "2001:db8:1::/64", why), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rule r;
		rule_init(&r);
		assert_int_equal(rule_read_local(&r, cases[i].local, why), 0);
		if (rule_check_place(&r, &place, why) != cases[i].rc)
			fail_msg("%s: %s", cases[i].local, why);
		assert_int_equal(*why != 0, cases[i].rc != 0);
	}
}

static void ports_outside_keep_their_distances(void **state)
{
	(void)state;
	struct rule same = made("{'local':'10.0.0.1:80,443,9000-9099'}");
	struct rule moved = made("{'local':'10.0.0.1:8000,8010-8019,7990','public_port':80}");

	assert_int_equal(rule_public_port(&same, 0), 80);
	assert_int_equal(rule_public_port(&same, 1), 443);
	assert_int_equal(rule_public_port(&same, 2), 9000);
	assert_int_equal(rule_public_port(&moved, 0), 80);
	assert_int_equal(rule_public_port(&moved, 1), 90);
	assert_int_equal(rule_public_port(&moved, 2), 70);
}

static void rules_overlap_by_place_protocol_and_port(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b;
		bool overlap;
	} cases[] = {
		{ "{'local':'10.0.0.1:80'}", "{'local':'10.0.0.2:80'}", true },
		{ "{'local':'10.0.0.1:80'}", "{'local':'10.0.0.1:81'}", false },
		{ "{'local':'10.0.0.1:80'}", "{'local':'10.0.0.1:80','proto':'udp'}", false },
		{ "{'local':'10.0.0.1:80','proto':'both'}", "{'local':'10.0.0.1:80','proto':'udp'}", true },
		{ "{'local':'10.0.0.1:80'}", "{'local':'10.0.0.1:80','scope':'nodes','to':['a']}", true },
		{ "{'local':'10.0.0.1:80'}", "{'local':'10.0.0.1:80','scope':'public','via':'g'}", false },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g'}",
		  "{'local':'10.0.0.2:80','scope':'public','via':'g'}", true },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g'}",
		  "{'local':'10.0.0.2:80','scope':'public','via':'h'}", false },
		{ "{'local':'10.0.0.1:80','scope':'public','via':'g'}",
		  "{'local':'10.0.0.2:8080','scope':'public','via':'g','public_port':80}", true },
		{ "{'local':'10.0.0.1:80','public_port':81}", "{'local':'10.0.0.2:80'}", false },
		{ "{'local':'10.0.0.1:1000-1999'}", "{'local':'10.0.0.2:1999'}", true },
		{ "{'local':'10.0.0.1:1000-1999'}", "{'local':'10.0.0.2:2000-2100'}", false },
		{ "{'local':'10.0.0.1:1000-1999'}", "{'local':'10.0.0.2:1500-1501'}", true },
		{ "{'local':'10.0.0.1:22,80,1000-1999'}", "{'local':'10.0.0.2:53,900-1000'}", true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rule a = made(cases[i].a), b = made(cases[i].b);
		if (rule_overlap(&a, &b) != cases[i].overlap || rule_overlap(&b, &a) != cases[i].overlap)
			fail_msg("%s and %s", cases[i].a, cases[i].b);
	}
}

static void the_port_kept_for_p2pd_is_that_of_leases(void **state)
{
	(void)state;
	struct rule r;
	char why[RULE_WHY];

	assert_int_equal(RULE_OWN_PORT, LEASE_PORT);
	assert_int_equal(make(&r, "{'local':'10.0.0.1:7781','proto':'udp'}", why), 0);
	assert_int_equal(make(&r, "{'local':'10.0.0.1:7781','public_port':80}", why), 0);
	assert_int_equal(make(&r, "{'local':'10.0.0.1:7781','scope':'public','via':'g'}", why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(local_alone_is_enough),
		cmocka_unit_test(a_member_is_meant_by_its_name_or_by_its_address),
		cmocka_unit_test(what_is_printed_reads_the_same),
		cmocka_unit_test(bad_input_is_refused_with_a_reason),
		cmocka_unit_test(what_is_at_its_longest_is_taken_and_no_longer),
		cmocka_unit_test(a_local_too_long_to_be_one_is_refused),
		cmocka_unit_test(an_allow_list_has_32_prefixes_and_counts_none_twice),
		cmocka_unit_test(a_date_is_a_day_that_there_is),
		cmocka_unit_test(a_gateway_is_another_node),
		cmocka_unit_test(a_reason_is_fit_for_a_terminal),
		cmocka_unit_test(a_change_keeps_the_rest_and_the_id),
		cmocka_unit_test(a_public_rule_for_everybody_must_be_forced),
		cmocka_unit_test(a_target_is_in_a_network_of_this_host_and_not_in_the_overlay),
		cmocka_unit_test(ports_outside_keep_their_distances),
		cmocka_unit_test(rules_overlap_by_place_protocol_and_port),
		cmocka_unit_test(the_port_kept_for_p2pd_is_that_of_leases),
	};

	return crypto_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
