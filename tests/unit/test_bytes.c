#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"

static void little_and_big_endian_words_lie_as_named(void **state)
{
	(void)state;
	static const uint8_t want[] = { 0x02, 0x01, 0x06, 0x05, 0x04, 0x03, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a,
					0x09, 0x08, 0x07, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0xff };
	uint8_t buf[sizeof want];
	struct writer w = writer_over(buf, sizeof buf);

	write_le16(&w, 0x0102);
	write_le32(&w, 0x03040506);
	write_le64(&w, 0x0708090a0b0c0d0e);
	write_be16(&w, 0x0102);
	write_be32(&w, 0x03040506);
	write_u8(&w, 0xff);
	assert_false(w.bad);
	assert_int_equal(w.len, sizeof want);
	assert_memory_equal(buf, want, sizeof want);

	struct reader r = reader_over(buf, sizeof buf);
	assert_int_equal(read_le16(&r), 0x0102);
	assert_int_equal(read_le32(&r), 0x03040506);
	assert_true(read_le64(&r) == 0x0708090a0b0c0d0e);
	assert_int_equal(read_be16(&r), 0x0102);
	assert_int_equal(read_be32(&r), 0x03040506);
	assert_false(reader_done(&r));
	assert_int_equal(read_u8(&r), 0xff);
	assert_true(reader_done(&r));
}

static void eight_byte_words_load_as_they_were_stored(void **state)
{
	(void)state;
	uint8_t b[8];

	store_be64(b, 0xf1f2f3f4f5f6f7f8);
	assert_int_equal(b[0], 0xf1);
	assert_true(load_be64(b) == 0xf1f2f3f4f5f6f7f8);
	store_le64(b, 0xf1f2f3f4f5f6f7f8);
	assert_int_equal(b[0], 0xf8);
	assert_true(load_le64(b) == 0xf1f2f3f4f5f6f7f8);
}

static void a_reader_stays_bad_after_the_first_read_that_does_not_fit(void **state)
{
	(void)state;
	static const uint8_t data[3] = { 1, 2, 3 };
	uint8_t out[4] = { 9, 9, 9, 9 };
	struct reader r = reader_over(data, sizeof data);

	read_into(&r, out, 4);
	assert_true(r.bad);
	assert_memory_equal(out, "\0\0\0\0", 4);
	assert_int_equal(read_u8(&r), 0);
	assert_null(read_bytes(&r, 0));
	assert_false(reader_done(&r));
}

static void a_huge_length_does_not_wrap_around(void **state)
{
	(void)state;
	uint8_t data[3] = { 0 };
	struct reader r = reader_over(data, sizeof data);
	struct writer w = writer_over(data, sizeof data);

	write_u8(&w, 1);
	assert_null(read_bytes(&r, SIZE_MAX));
	assert_null(write_room(&w, SIZE_MAX));
	assert_true(r.bad && w.bad);
}

static void a_writer_drops_all_from_the_first_write_that_does_not_fit(void **state)
{
	(void)state;
	uint8_t buf[4] = { 0 };
	struct writer w = writer_over(buf, 3);

	write_le16(&w, 0x0101);
	write_le16(&w, 0x0202);
	write_u8(&w, 3);
	write_zeros(&w, 0);
	assert_true(w.bad);
	assert_int_equal(w.len, 2);
	assert_memory_equal(buf, "\1\1\0\0", 4);
}

static void zeros_are_written(void **state)
{
	(void)state;
	uint8_t buf[3] = { 7, 7, 7 };
	struct writer w = writer_over(buf, sizeof buf);

	write_zeros(&w, 2);
	assert_memory_equal(buf, "\0\0\7", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_and_big_endian_words_lie_as_named),
		cmocka_unit_test(eight_byte_words_load_as_they_were_stored),
		cmocka_unit_test(a_reader_stays_bad_after_the_first_read_that_does_not_fit),
		cmocka_unit_test(a_huge_length_does_not_wrap_around),
		cmocka_unit_test(a_writer_drops_all_from_the_first_write_that_does_not_fit),
		cmocka_unit_test(zeros_are_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
