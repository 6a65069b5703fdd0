/* The gateway's HTTPS door, where visitors turn a token into access: `https://ADDR:PORT/t/TOKEN`. GET shows a page that
 * says what a press of its button will do, POST does it: so nothing is burnt by the programs that look into links on
 * their way. Wrong, used and expired tokens get the same answer. Who guesses is slowed down. On the loop, in its thread. */
#ifndef P2PD_APPS_P2PD_FORWARD_DOOR_H
#define P2PD_APPS_P2PD_FORWARD_DOOR_H

#include "apps/p2pd/forward/lease.h"
#include "core/loop.h"

enum {
	DOOR_TOKEN_MAX = 63, /* characters of base64url; anything else is a wrong token without asking */
	DOOR_PATH_MAX = 256,
	DOOR_ASKS_MAX = 64, /* visitors that wait for an answer; more are told to try again */
};

struct door;	   /* opaque */
struct door_visit; /* opaque: a visitor that waits for an answer */

enum door_event {
	DOOR_LOOKED,   /* the page was shown for a token that is good */
	DOOR_ADMITTED, /* the address may come now */
	DOOR_FULL,     /* the token is good, but the rule has as many visitors as it can */
	DOOR_WRONG,    /* a token that is not good (any more) */
	DOOR_LIMITED, /* too many of them from there: nobody was asked. Told of once a minute for each source */
	DOOR_FAILED, /* the owner could not be asked */
};

struct door_handler {
	/* Is to find the rule's owner by the token's id and ask it (lease_link_admit() with r.look = look); when it has
	 * admitted the visitor: gateway_admit(). Answer exactly once, now or later, by door_answer(); also when the visitor
	 * has gone or the door was closed meanwhile. `token` is valid only within the call. */
	void (*on_visit)(void *arg, struct door_visit *v, const char *token, const struct addr *visitor,
			 bool look);
	/* For the audit. The token itself is never told; `name` is the rule's, "" where it is not known. */
	void (*on_event)(void *arg, enum door_event event, const struct addr *visitor, const char *name);
};

struct door_config {
	struct loop *loop;
	struct addr at4, at6; /* where it listens, with the port; ADDR_NONE: not by that family */
	int dir; /* the state folder, where a key is made if none is named here; stays the caller's */
	char cert[DOOR_PATH_MAX], key[DOOR_PATH_MAX]; /* PEM files; "": a certificate of our own */
	struct door_handler handler;
	void *arg;
};

/* 0, or a negative errno with `why` for the administrator. */
int door_open(struct door **out, const struct door_config *config, char why[static RULE_WHY]);
void door_close(struct door *d); /* NULL is allowed */
/* 0 and the grant, which may say that the rule is full; -ENOENT and -EACCES: the token is not good; any other negative errno: try again later. */
void door_answer(struct door_visit *v, int error, const struct admit_grant *grant);

#endif
