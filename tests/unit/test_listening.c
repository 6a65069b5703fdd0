/* Which ports of this host cannot be given, for programs listen there. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tun/listening.h"

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* At a port that is free there. */
static int listener(const char *at, int type, bool v6only, uint16_t *port)
{
	struct addr a = ip(at);
	struct sockaddr_storage ss;
	int on = v6only;
	socklen_t len = addr_to_sockaddr(&a, &ss);
	int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (a.family == ADDR_V6)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	len = sizeof ss;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	*port = addr_from_sockaddr((struct sockaddr *)&ss).port;
	return fd;
}

static bool is_taken(enum forward_proto proto, const char *at, uint16_t port)
{
	uint8_t set[LISTENING_BYTES] = { 0 };
	struct addr a = ip(at);

	listening_ports(proto, &a, set);
	return set[port / 8] & 1 << port % 8;
}

static void a_port_is_taken_where_another_could_not_listen(void **state)
{
	static const struct {
		const char *at;
		bool v6only, at_one, at_other, at_v6; /* 127.0.0.1, 127.0.0.2, ::1 */
	} cases[] = {
		{ "127.0.0.1", false, true, false, false }, { "0.0.0.0", false, true, true, false },
		{ "::1", false, false, false, true },	    { "::", false, true, true, true },
		{ "::", true, false, false, true },
	};
	static const struct {
		int type;
		enum forward_proto proto;
	} kinds[] = { { SOCK_STREAM, FORWARD_TCP }, { SOCK_DGRAM, FORWARD_UDP } };
	(void)state;

	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			uint16_t port;
			int fd = listener(cases[i].at, kinds[k].type, cases[i].v6only, &port);
			assert_int_equal(is_taken(kinds[k].proto, "127.0.0.1", port), cases[i].at_one);
			assert_int_equal(is_taken(kinds[k].proto, "127.0.0.2", port), cases[i].at_other);
			assert_int_equal(is_taken(kinds[k].proto, "::1", port), cases[i].at_v6);
			close(fd);
		}
}

static void of_no_address_nothing_is_said(void **state)
{
	uint8_t set[LISTENING_BYTES] = { 0 }, zero[LISTENING_BYTES] = { 0 };
	const struct addr none = { 0 };
	uint16_t port;
	(void)state;

	int fd = listener("127.0.0.1", SOCK_STREAM, false, &port);
	listening_ports(FORWARD_TCP, &none, set);
	assert_memory_equal(set, zero, sizeof set);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_is_taken_where_another_could_not_listen),
		cmocka_unit_test(of_no_address_nothing_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
