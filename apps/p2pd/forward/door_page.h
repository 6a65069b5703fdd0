/* The pages of the door (door.h): one HTML text each that needs nothing else. Pure. */
#ifndef P2PD_APPS_P2PD_FORWARD_DOOR_PAGE_H
#define P2PD_APPS_P2PD_FORWARD_DOOR_PAGE_H

#include "apps/p2pd/forward/lease.h"

enum door_page {
	DOOR_PAGE_ASK,	    /* what the button will do */
	DOOR_PAGE_ADMITTED, /* it has done it */
	DOOR_PAGE_FULL,	    /* as many visitors as can be are in: when to try again */
	DOOR_PAGE_WRONG,    /* the same for a token that was used, has run out, was revoked or never was */
	DOOR_PAGE_LIMITED,
	DOOR_PAGE_BUSY,	 /* the owner cannot be asked now */
	DOOR_PAGE_OTHER, /* no page of ours */
	DOOR_PAGES,
};

enum { DOOR_NONCE = 23, DOOR_SPAN = 64 };

struct door_page_facts {
	char nonce[DOOR_NONCE]; /* of the style: base64url of 16 random bytes */
	struct addr visitor;
	struct admit_grant grant; /* of DOOR_PAGE_ASK, DOOR_PAGE_ADMITTED and DOOR_PAGE_FULL */
};

int door_page_status(enum door_page page);
/* To be freed; NULL without memory. */
char *door_page_text(enum door_page page, const struct door_page_facts *f);
/* "12 hours", "1 day and 6 hours": at most two units, the smaller ones left out. */
const char *door_page_span(uint32_t seconds, char out[static DOOR_SPAN]);

#endif
