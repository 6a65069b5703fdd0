/* Notices that the machine slept, or that the process stood still: connections and mappings may be gone then, though no
 * event told. Pure; embed by value; zeroed memory has seen nothing yet. */
#ifndef P2PD_CORE_WAKE_H
#define P2PD_CORE_WAKE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	WAKE_SLEPT_MS = 2000, /* asleep for longer */
	WAKE_LATE_MS = 5000,  /* longer after what was due: stopped, or a virtual machine that was paused */
};

struct wake {
	bool seen;
	uint64_t asleep_ms; /* since the machine started */
};

/* True if it slept or stood still since the last call. `boot_ms` goes on in sleep, `awake_ms` does not
 * (CLOCK_BOOTTIME, CLOCK_MONOTONIC); `due_ms`, of boot_ms, is when the process was to be running again at the latest,
 * UINT64_MAX: at no time. */
bool wake_look(struct wake *w, uint64_t boot_ms, uint64_t awake_ms, uint64_t due_ms);

#endif
