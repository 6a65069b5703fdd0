/* A command's talk with the running daemon: HTTP and JSON on its unix socket. What goes wrong is told to the person in
 * one line, and the exit code says which kind of wrong it was. */
#ifndef P2PD_APPS_P2PD_CLIENT_H
#define P2PD_APPS_P2PD_CLIENT_H

#include <stdbool.h>

#define CLIENT_SOCKET "/run/p2pd.sock"
#define CLIENT_STATE  "/var/lib/p2pd"

/* Asks and waits for the answer. `body` NULL: none. EXIT_OK and the answer's JSON in *answer, to be freed (`answer` NULL:
 * not wanted); or the code to end with, after a line on stderr. */
int client_call(const char *socket, const char *method, const char *path, const char *body, char **answer);
/* A question that takes more words. */
struct client_question {
	const char *socket, *method, *path, *body;
	unsigned wait_ms;  /* for the answer */
	const char *about; /* in front of what the daemon refuses it with: a file, an id; NULL: nothing */
};
/* The same; what the daemon refused it with goes to *refusal, to be freed (NULL: it gave nothing, or `refusal` is). */
int client_ask(const struct client_question *q, char **answer, char **refusal);
/* The same for an answer that comes line by line, until it ends or `on_line` returns false. */
int client_stream(const char *socket, const char *path, const char *body,
		  bool (*on_line)(void *arg, const char *line), void *arg);
/* True if a daemon answers there. */
bool client_is_alive(const char *socket);

#endif
