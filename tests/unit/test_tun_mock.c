#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tun/device_mock.h"

static void injected_packets_are_read_and_written_ones_taken(void **state)
{
	struct tun_device a, b;
	char buf[64];
	(void)state;

	assert_int_equal(tun_open(&a, NULL), 0);
	assert_int_equal(tun_open(&b, "b"), 0);
	assert_int_equal(tun_read(&a, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_mock_inject(&a, "one", 3), 0);
	assert_int_equal(tun_mock_inject(&a, "three", 5), 0);
	assert_int_equal(tun_read(&b, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_read(&a, buf, sizeof buf), 3);
	assert_memory_equal(buf, "one", 3);
	assert_int_equal(tun_read(&a, buf, sizeof buf), 5);

	assert_int_equal(tun_mock_take(&b, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_write(&b, "out", 3), 0);
	assert_int_equal(tun_mock_take(&b, buf, sizeof buf), 3);
	assert_memory_equal(buf, "out", 3);
	tun_close(&a);
	tun_close(&b);
}

static void a_name_is_taken_until_its_device_is_closed(void **state)
{
	struct tun_device a, b;
	(void)state;

	assert_int_equal(tun_open(&a, "same"), 0);
	assert_int_equal(tun_open(&b, "same"), -EBUSY);
	tun_close(&a);
	assert_int_equal(tun_open(&b, "same"), 0);
	tun_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(injected_packets_are_read_and_written_ones_taken),
		cmocka_unit_test(a_name_is_taken_until_its_device_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
