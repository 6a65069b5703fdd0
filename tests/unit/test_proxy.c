#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/proxy.h"

static void urls_are_read_and_shown_without_the_password(void **state)
{
	(void)state;
	static const struct {
		const char *text, *host;
		unsigned port;
		const char *credentials, *shown;
	} cases[] = {
		{ "http://proxy.example:3128", "proxy.example", 3128, "", "http://proxy.example:3128" },
		{ "http://proxy.example:3128/", "proxy.example", 3128, "", "http://proxy.example:3128" },
		{ "HTTP://proxy", "proxy", 80, "", "http://proxy:80" },
		{ "10.0.0.1:8080", "10.0.0.1", 8080, "", "http://10.0.0.1:8080" },
		{ "http://[2001:db8::1]:1", "2001:db8::1", 1, "", "http://[2001:db8::1]:1" },
		{ "http://[::1]", "::1", 80, "", "http://[::1]:80" },
		{ "http://u:p@h:1", "h", 1, "u:p", "http://h:1" },
		{ "u:p@h:1", "h", 1, "u:p", "http://h:1" },
		{ "http://u@h", "h", 80, "u:", "http://h:80" },
		{ "http://u:p@ss:w@h:1", "h", 1, "u:p@ss:w", "http://h:1" },
		{ "http://DOM%5cu:%25%40%3A@h:1", "h", 1, "DOM\\u:%@:", "http://h:1" },
	};
	static const struct {
		const char *text;
		int error;
	} bad[] = {
		{ "", -EINVAL },
		{ "http://", -EINVAL },
		{ "https://h:1", -EPROTONOSUPPORT },
		{ "socks5://h:1", -EPROTONOSUPPORT },
		{ "http://h:", -EINVAL },
		{ "http://h:0", -EINVAL },
		{ "http://h:65536", -EINVAL },
		{ "http://h:1x", -EINVAL },
		{ "http://h/path", -EINVAL },
		{ "http://h h", -EINVAL },
		{ "http://:1", -EINVAL },
		{ "http://[::1", -EINVAL },
		{ "http://[::1]x", -EINVAL },
		{ "http://[1.2.3.4]", -EINVAL },
		{ "http://2001:db8::1", -EINVAL },
		{ "http://u:%0d%0aX@h", -EINVAL },
		{ "http://u:%00@h", -EINVAL },
		{ "http://u:%4@h", -EINVAL },
		{ "http://u:%zz@h", -EINVAL },
		{ "http://a%3ab:c@h", -EINVAL },
		{ "http://h\r\nX: y", -EINVAL },
	};
	struct proxy p;
	char shown[PROXY_TEXT];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(proxy_parse(&p, cases[i].text), 0);
		assert_string_equal(p.host, cases[i].host);
		assert_int_equal(p.port, cases[i].port);
		assert_string_equal(p.credentials, cases[i].credentials);
		assert_string_equal(proxy_format(&p, shown), cases[i].shown);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (proxy_parse(&p, bad[i].text) != bad[i].error)
			fail_msg("taken: %s", bad[i].text);
}

static void long_urls_are_refused_and_the_longest_request_fits(void **state)
{
	(void)state;
	char text[600], host[PROXY_HOST_MAX + 2], request[PROXY_REQUEST_MAX];
	struct proxy p;

	memset(host, 'h', sizeof host);
	host[PROXY_HOST_MAX + 1] = 0;
	assert_int_equal(proxy_parse(&p, host), -EINVAL);
	assert_int_equal(proxy_request(&p, host, 443, request), 0);
	host[PROXY_HOST_MAX] = 0;
	assert_int_equal(proxy_parse(&p, host), 0);
	snprintf(text, sizeof text, "http://%0*d:x@h", PROXY_CREDENTIALS_MAX, 1);
	assert_int_equal(proxy_parse(&p, text), -EINVAL);
	snprintf(text, sizeof text, "http://%0*d:x@h", PROXY_CREDENTIALS_MAX - 3, 1);
	assert_int_equal(proxy_parse(&p, text), 0);
	assert_in_range(proxy_request(&p, host, 65535, request), 800, PROXY_REQUEST_MAX - 1);
}

static void the_request_names_the_target_and_the_user(void **state)
{
	(void)state;
	struct proxy p;
	char request[PROXY_REQUEST_MAX];

	assert_int_equal(proxy_parse(&p, "http://h:1"), 0);
	size_t len = proxy_request(&p, "hub.example", 443, request);
	assert_string_equal(request, "CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example:443\r\n\r\n");
	assert_int_equal(len, strlen(request));
	/* RFC 7617 section 2. */
	assert_int_equal(proxy_parse(&p, "http://Aladdin:open%20sesame@h:1"), 0);
	proxy_request(&p, "2001:db8::7", 8443, request);
	assert_string_equal(request, "CONNECT [2001:db8::7]:8443 HTTP/1.1\r\nHost: [2001:db8::7]:8443\r\n"
				     "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
}

static void answers_are_the_same_however_they_are_split(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int rc, status;
		size_t rest;
	} cases[] = {
		{ "HTTP/1.1 200 Connection established\r\n\r\n", 1, 200, 0 },
		{ "HTTP/1.0 200\r\nVia: x\r\n\r\n\x16\x03\x03", 1, 200, 3 },
		{ "HTTP/1.1 200\n\n", 1, 200, 0 },
		{ "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic "
		  "realm=\"x\"\r\nContent-Length: 2\r\n\r\nno",
		  1, 407, 2 },
		{ "HTTP/1.1 200 OK\r\nVia: x\r\n", 0, 200, 0 },
		{ "HTTP/1.1 20", 0, 20, 0 },
		{ "HTTP/2 200\r\n\r\n", -EBADMSG, 0, 0 },
		{ "HTTP/1.1 2000 OK\r\n\r\n", -EBADMSG, 0, 0 },
		{ "SSH-2.0-OpenSSH\r\n", -EBADMSG, 0, 0 },
		{ "\r\n", -EBADMSG, 0, 0 },
		{ "\x15\x03\x01", -EBADMSG, 0, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = strlen(cases[i].text), used = 0;
		for (size_t step = 1; step <= len; step++) {
			struct proxy_answer a = { 0 };
			size_t at = 0;
			int rc = 0;
			while (at < len && rc == 0) {
				size_t n = len - at < step ? len - at : step;
				rc = proxy_answer_feed(&a, cases[i].text + at, n, &used);
				at += used;
			}
			assert_int_equal(rc, cases[i].rc);
			if (rc < 0)
				continue;
			assert_int_equal(a.status, cases[i].status);
			assert_int_equal(len - at, cases[i].rest);
		}
	}
}

static void an_answer_without_end_is_refused(void **state)
{
	(void)state;
	struct proxy_answer a = { 0 };
	char line[1000];
	size_t used;
	int rc = proxy_answer_feed(&a, "HTTP/1.1 200 OK\r\n", 17, &used);

	memset(line, 'x', sizeof line);
	for (int i = 0; i < 17 && rc == 0; i++)
		rc = proxy_answer_feed(&a, line, sizeof line, &used);
	assert_int_equal(rc, -EBADMSG);
	a = (struct proxy_answer) { 0 };
	rc = 0;
	for (int i = 0; i < 1000 && rc == 0; i++)
		rc = proxy_answer_feed(&a, "HTTP/1.1 100 C\r\n\r\n", 18, &used);
	assert_int_equal(rc, -EBADMSG);
}

static void no_proxy_is_for_names_addresses_and_prefixes(void **state)
{
	(void)state;
	static const struct {
		const char *list, *host;
		unsigned port;
		bool bypassed;
	} cases[] = {
		{ NULL, "hub.example", 443, false },
		{ "", "hub.example", 443, false },
		{ "*", "hub.example", 443, true },
		{ "example", "hub.example", 443, true },
		{ ".example", "hub.example", 443, true },
		{ "hub.example", "HUB.Example", 443, true },
		{ "ub.example", "hub.example", 443, false },
		{ "other, \thub.example ,x", "hub.example", 443, true },
		{ "hub.example:443", "hub.example", 443, true },
		{ "hub.example:8443", "hub.example", 443, false },
		{ "198.51.100.7", "198.51.100.7", 443, true },
		{ "198.51.100.7", "198.51.100.70", 443, false },
		{ "198.51.100.7:80", "198.51.100.7", 443, false },
		{ "198.51.100.0/24", "198.51.100.7", 443, true },
		{ "198.51.100.0/33", "198.51.100.7", 443, false },
		{ "198.51.101.0/24", "198.51.100.7", 443, false },
		{ "198.51.100.0/", "198.51.100.7", 443, false },
		{ "0.0.0.0/0", "2001:db8::7", 443, false },
		{ "2001:db8::/32", "2001:db8::7", 443, true },
		{ "2001:db8::7", "2001:db8::7", 443, true },
		{ "[2001:db8::7]:1", "2001:db8::7", 443, false },
		{ ".", "hub.example", 443, false },
		{ NULL, "localhost", 443, true },
		{ NULL, "127.0.0.1", 443, true },
		{ NULL, "::1", 443, true },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (proxy_is_bypassed(cases[i].list, cases[i].host, (uint16_t)cases[i].port) !=
		    cases[i].bypassed)
			fail_msg("'%s', %s", cases[i].list, cases[i].host);
}

static int setup(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_read_and_shown_without_the_password),
		cmocka_unit_test(long_urls_are_refused_and_the_longest_request_fits),
		cmocka_unit_test(the_request_names_the_target_and_the_user),
		cmocka_unit_test(answers_are_the_same_however_they_are_split),
		cmocka_unit_test(an_answer_without_end_is_refused),
		cmocka_unit_test(no_proxy_is_for_names_addresses_and_prefixes),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
