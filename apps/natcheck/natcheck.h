/* The program natcheck: reads its options, runs the check, prints the report. */
#ifndef P2PD_APPS_NATCHECK_NATCHECK_H
#define P2PD_APPS_NATCHECK_NATCHECK_H

/* Besides those of core/fail.h. */
enum natcheck_exit {
	NATCHECK_EASY = 0,
	NATCHECK_HARD = 10,
	NATCHECK_BLOCKED = 11,
	NATCHECK_INCONCLUSIVE = 12,
};

/* Returns the exit code. */
int natcheck(int argc, char **argv);

#endif
