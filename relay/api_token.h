/* A token of the hub's API as a person holds it: "p2p_" and 32 random bytes in base64url. The hub keeps only its BLAKE2b-256,
 * of the text: `printf %s TOKEN | b2sum -l 256` gives the same. Pure. */
#ifndef P2PD_RELAY_API_TOKEN_H
#define P2PD_RELAY_API_TOKEN_H

#include "core/crypto.h"

enum { API_TOKEN_RANDOM = 32, API_TOKEN_LEN = 47, API_TOKEN_HASH = 32 };

/* Wipe the text when it was shown. */
void api_token_make(char text[static API_TOKEN_LEN + 1], struct rng *rng);
/* 0, or -EINVAL for what is no token. */
int api_token_hash(uint8_t hash[static API_TOKEN_HASH], const char *text);
/* "Bearer TOKEN" as an Authorization header has it (RFC 6750 section 2.1): where the token begins; NULL: it is none. */
const char *api_token_of_header(const char *value);

#endif
