/* WireGuard's way to write a key: 32 bytes as 44 characters of base64 (RFC 4648 section 4). */
#ifndef P2PD_APPS_P2PD_WG_KEY_H
#define P2PD_APPS_P2PD_WG_KEY_H

#include <stdint.h>

enum { WG_KEY_TEXT = 45 }; /* with its NUL */

void wg_key_format(const uint8_t key[static 32], char out[static WG_KEY_TEXT]);
/* -EINVAL for anything but exactly one key. */
int wg_key_parse(uint8_t out[static 32], const char *text);

#endif
