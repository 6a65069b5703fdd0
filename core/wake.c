#include "core/wake.h"

bool wake_look(struct wake *w, uint64_t boot_ms, uint64_t awake_ms, uint64_t due_ms)
{
	uint64_t asleep = boot_ms - awake_ms;
	bool slept = w->seen && asleep > w->asleep_ms + WAKE_SLEPT_MS;
	bool stood = w->seen && boot_ms > due_ms && boot_ms - due_ms > WAKE_LATE_MS;

	w->seen = true;
	w->asleep_ms = asleep;
	return slept || stood;
}
