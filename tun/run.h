/* Runs a program of the system and waits for it. From any thread. */
#ifndef P2PD_TUN_RUN_H
#define P2PD_TUN_RUN_H

#include <stdbool.h>
#include <stddef.h>

enum { RUN_PATH_MAX = 96 };

/* Where systems keep programs for administrators: not $PATH, which is whose started us. */
bool run_find(const char *program, char path[static RUN_PATH_MAX]);
/* argv[0] is found by run_find. The program reads `input`; the beginning of what it writes to stderr goes to `said`, one
 * line, cut off to `cap`. `hold`: a descriptor that stays open until the program has ended, or -1. Its exit status; -ENOENT,
 * or another negative errno. */
int run_program(const char *const argv[], const char *input, size_t len, int hold, char *said, size_t cap);

#endif
