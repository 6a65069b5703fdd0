/* How much the kernel may hold for a socket. */
#include <sys/socket.h>
#include <unistd.h>

#include "core/udp_impl.h"
#include "udp_end.h"

static int kernel_buffer(const struct udp_socket *s)
{
	int bytes = 0;
	socklen_t len = sizeof bytes;

	assert_int_equal(getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len), 0);
	return bytes / 2; /* socket(7): twice of what was asked for */
}

/* 64 MiB within a time, as they come, and what the kernel is then asked for. */
static void the_buffer_follows_what_comes_in(void **state)
{
	(void)state;
	static const struct {
		uint64_t ms;
		int least, want;
	} CASES[] = {
		{ 0, UDP_BUFFER, UDP_BUFFER_MAX },    /* two looks at once */
		{ 1, UDP_BUFFER, UDP_BUFFER_MAX },    /* faster than any wire */
		{ 72, UDP_BUFFER, 1211687 },	      /* 7.5 Gb/s */
		{ 1000, UDP_BUFFER, UDP_BUFFER },     /* half a gigabit a second */
		{ 86400000, UDP_BUFFER, UDP_BUFFER }, /* a day */
		{ 72, 2 << 20, 2 << 20 },	      /* never less than was asked for */
	};
	struct pair p = pair_begin(4, UDP_OFFLOAD_GRO, UDP_OFFLOAD_GRO);
	struct udp_socket *s = &a.sock;

	for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
		assert_int_equal(udp_buffer_for(UDP_BUFFER_LOOK, CASES[i].ms, CASES[i].least), CASES[i].want);
	int first = kernel_buffer(s);
	udp_fit_buffer(s, UDP_BUFFER_LOOK); /* the first look knows no rate yet */
	assert_int_equal(s->buffer, UDP_BUFFER);
	s->came_since_ms = loop_now_ms();
	udp_fit_buffer(s, UDP_BUFFER_LOOK / 2);
	assert_int_equal(s->buffer, UDP_BUFFER);
	udp_fit_buffer(s, UDP_BUFFER_LOOK / 2);
	assert_true(s->buffer > UDP_BUFFER);
	assert_true(kernel_buffer(s) > first || geteuid() != 0); /* others get net.core.rmem_max at most */
	s->came_since_ms -= 60000;
	udp_fit_buffer(s, UDP_BUFFER_LOOK);
	assert_int_equal(s->buffer, UDP_BUFFER);
	assert_int_equal(kernel_buffer(s), first);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_buffer_follows_what_comes_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
