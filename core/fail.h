/* How a program says that it could not do what was asked: one line on stderr that says what to do, and an exit code
 * that scripts can branch on. */
#ifndef P2PD_CORE_FAIL_H
#define P2PD_CORE_FAIL_H

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_DAEMON = 3,
	EXIT_NOT_JOINED = 4,
	EXIT_NOT_FOUND = 5,
	EXIT_CONFLICT = 6,
	EXIT_DENIED = 7,
	EXIT_TIMED_OUT = 8,
};

/* Prints "program: text" and returns `code`, so that a caller can write `return fail_with(...)`. */
__attribute__((format(printf, 2, 3))) int fail_with(enum exit_code code, const char *fmt, ...);
/* The codes as words, for machines that talk to each other: "not-found" and EXIT_NOT_FOUND. An unknown word is
 * EXIT_FAILED. */
const char *fail_word(enum exit_code code);
enum exit_code fail_code(const char *word);
/* Where the lines go from now on: a daemon's stderr is its log, but the person waits at another descriptor. */
void fail_to(int fd);

#endif
