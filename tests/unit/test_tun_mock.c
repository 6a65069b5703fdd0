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
	uint8_t vnet[TUN_VNET];
	char buf[64];
	(void)state;

	assert_int_equal(tun_open(&a, NULL, 1, TUN_PLAIN), 0);
	assert_int_equal(tun_open(&b, "b", 1, TUN_PLAIN), 0);
	assert_int_equal(tun_read(&a, 0, vnet, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_mock_inject(&a, 0, NULL, "one", 3), 0);
	assert_int_equal(tun_mock_inject(&a, 0, NULL, "three", 5), 0);
	assert_int_equal(tun_read(&b, 0, vnet, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_read(&a, 0, vnet, buf, sizeof buf), 3);
	assert_memory_equal(buf, "one", 3);
	assert_int_equal(tun_read(&a, 0, vnet, buf, sizeof buf), 5);

	assert_int_equal(tun_mock_take(&b, 0, NULL, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_write_packet(&b, 0, "out", 3), 0);
	assert_int_equal(tun_mock_take(&b, 0, NULL, buf, sizeof buf), 3);
	assert_memory_equal(buf, "out", 3);
	tun_close(&a);
	tun_close(&b);
}

static void frames_keep_their_header_and_their_queue(void **state)
{
	static const uint8_t out[TUN_VNET] = "headerout", in[TUN_VNET] = "header in", zeros[TUN_VNET];
	const struct iovec frame[] = { { (void *)out, TUN_VNET }, { "supe", 4 }, { "rframe", 6 } };
	struct tun_device d;
	uint8_t vnet[TUN_VNET];
	char buf[64];
	(void)state;

	assert_int_equal(tun_open(&d, NULL, 2, TUN_USO), 0);
	assert_int_equal(d.offload, TUN_USO);
	assert_int_equal(tun_write(&d, 1, frame, 3), 0);
	assert_int_equal(tun_mock_take(&d, 0, vnet, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_mock_take(&d, 1, vnet, buf, sizeof buf), 10);
	assert_memory_equal(buf, "superframe", 10);
	assert_memory_equal(vnet, out, TUN_VNET);

	assert_int_equal(tun_mock_inject(&d, 1, in, "reply", 5), 0);
	assert_int_equal(tun_read(&d, 0, vnet, buf, sizeof buf), -EAGAIN);
	assert_int_equal(tun_read(&d, 1, vnet, buf, sizeof buf), 5);
	assert_memory_equal(vnet, in, TUN_VNET);

	assert_int_equal(tun_write_packet(&d, 0, "one", 3), 0);
	assert_int_equal(tun_mock_take(&d, 0, vnet, buf, sizeof buf), 3);
	assert_memory_equal(vnet, zeros, TUN_VNET);
	tun_close(&d);
}

static void a_name_is_taken_until_its_device_is_closed(void **state)
{
	struct tun_device a, b;
	(void)state;

	assert_int_equal(tun_open(&a, "same", 1, TUN_PLAIN), 0);
	assert_int_equal(tun_open(&b, "same", 1, TUN_PLAIN), -EBUSY);
	tun_close(&a);
	assert_int_equal(tun_open(&b, "same", 1, TUN_PLAIN), 0);
	tun_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(injected_packets_are_read_and_written_ones_taken),
		cmocka_unit_test(frames_keep_their_header_and_their_queue),
		cmocka_unit_test(a_name_is_taken_until_its_device_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
