/* Secrets that a person hands to a command: `file:PATH`, `env:NAME`, or typed at a prompt. Never bare on the command
 * line, where every user of the machine can read them. */
#ifndef P2PD_APPS_P2PD_SECRET_H
#define P2PD_APPS_P2PD_SECRET_H

#include <stddef.h>

enum { SECRET_MAX = 1024, SECRET_WHY = 256 };

struct secret {
	char text[SECRET_MAX + 1];
	size_t len;
};

/* `spec` NULL asks on the terminal, without echo, for `what`. Line ends at the end are left out. 0; or a negative errno
 * and in `why` a line for the person: -EINVAL (bare, too long or empty), -ENOENT, -ENOTTY (nobody to ask), -EINTR, ... */
int secret_read(struct secret *s, const char *spec, const char *what, char why[static SECRET_WHY]);
/* One line from a terminal, echo off meanwhile. 0 or a negative errno; -EINTR after Ctrl-C. */
int secret_prompt(struct secret *s, int terminal, const char *what);
void secret_wipe(struct secret *s);

#endif
