/* What the subcommands of `p2pd portmap` share: asking the daemon about rules, one or many, and printing what it says, as
 * JSON or for people. Texts that other machines chose are made plain before they reach a terminal. */
#ifndef P2PD_APPS_P2PD_PORTMAP_TALK_H
#define P2PD_APPS_P2PD_PORTMAP_TALK_H

#include <jansson.h>
#include <stdint.h>

#include "apps/p2pd/client.h"
#include "core/options.h"

enum { PORTMAP_ID_MAX = 64, PORTMAP_WHEN = 32, PORTMAP_AMOUNT = 32 };

struct portmap_talk {
	const char *socket;
	bool json; /* --json: for programs, one object a line */
};
#define PORTMAP_TALK                    \
	{                               \
		.socket = CLIENT_SOCKET \
	}
#define PORTMAP_SOCKET_HELP "the daemon's socket (" CLIENT_SOCKET ")"

/* Asks METHOD /api/v1/portmap[/ID]TAIL, as in "/pause"; `id` may be NULL, `body` too, and its reference is taken over.
 * EXIT_OK and the answer's JSON (`answer` NULL: not wanted); or the code to end with, after a line on stderr. The object
 * of a conflict, which names the rule in the way, is printed. */
int portmap_ask(const struct portmap_talk *t, const char *method, const char *id, const char *tail,
		json_t *body, json_t **answer);
/* The same, with words of its own to put in front of a refusal. */
int portmap_ask_about(const struct portmap_talk *t, const char *method, const char *id, const char *tail,
		      json_t *body, const char *about, json_t **answer);

/* Runs it for each of the ids, and for those on stdin where one is "-". The code of the first that failed; the others are
 * done nevertheless, unless there is nobody to ask. */
int portmap_each(const struct options_list *ids, int (*run)(void *arg, const char *id), void *arg);

/* Prints and releases: on several lines for a person at a terminal, else on one. EXIT_OK. */
int portmap_print(const struct portmap_talk *t, json_t *json);

/* The same of a rule that was made or changed; what keeps it from working is told on stderr. EXIT_CONFLICT where that is
 * another rule, at the gateway. */
int portmap_print_rule(const struct portmap_talk *t, json_t *rule);

/* --- For people. */
/* The text under `key`, "" when there is none. */
const char *portmap_string(json_t *object, const char *key);
/* Prints a text, control characters as '?', and fills up with spaces to `width`. */
void portmap_put(const char *text, int width);
/* How many columns it takes. */
int portmap_width(const char *text);
/* "2026-01-31 09:05 UTC" */
const char *portmap_when(json_int_t unix_s, char out[static PORTMAP_WHEN]);
/* "42 s", "3 min", "5 h", "12 d" */
const char *portmap_span(json_int_t s, char out[static PORTMAP_WHEN]);
/* "1.5 MiB" */
const char *portmap_bytes(json_int_t n, char out[static PORTMAP_AMOUNT]);
/* Bytes a second as "10mbit" */
const char *portmap_rate(json_int_t n, char out[static PORTMAP_AMOUNT]);

#endif
