/* The secret that a hub and its other relays share, from a file that only its owner may read. */
#ifndef P2PD_APPS_P2PHUB_RELAY_KEY_H
#define P2PD_APPS_P2PHUB_RELAY_KEY_H

#include "relay/relay_ticket.h"

enum { RELAY_KEY_WHY = 640, RELAY_KEY_TEXT_MIN = 20, RELAY_KEY_TEXT_MAX = 256 };

/* EXIT_OK, or the code to end with and `why`. */
int relay_key_read(uint8_t key[static RELAY_KEY], const char *path, char why[static RELAY_KEY_WHY]);

#endif
