#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/wake.h"

struct step {
	const char *why;
	uint64_t boot_ms, awake_ms, due_ms;
	bool woke;
};

static const struct step steps[] = {
	{ "the first look knows no before", 500000, 100000, 1000, false },
	{ "a second later", 501000, 101000, UINT64_MAX, false },
	{ "two clocks are not read at once", 502001, 102000, 502000, false },
	{ "a long time awake", 802000, 402000, 802000, false },
	{ "a short sleep", 805000, 403000, UINT64_MAX, false },
	{ "a longer one", 808100, 404099, UINT64_MAX, true },
	{ "told once", 808200, 404199, UINT64_MAX, false },
	{ "a night", 29608200, 404300, UINT64_MAX, true },
	{ "a busy machine", 29613200, 409300, 29608200, false },
	{ "stopped", 29618300, 414400, 29613299, true },
	{ "as long, but nothing was due", 29628300, 424400, UINT64_MAX, false },
	{ "due later", 29638300, 434400, 29638301, false },
};

static void sleep_and_standstill_are_told_from_a_busy_machine(void **state)
{
	(void)state;
	struct wake w = { 0 };

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		if (wake_look(&w, steps[i].boot_ms, steps[i].awake_ms, steps[i].due_ms) != steps[i].woke)
			fail_msg("%s", steps[i].why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sleep_and_standstill_are_told_from_a_busy_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
