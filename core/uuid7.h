/* UUIDs of version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then 74 random ones, so that ids sort by the
 * time they were made at. Pure. */
#ifndef P2PD_CORE_UUID7_H
#define P2PD_CORE_UUID7_H

#include <stdint.h>

enum { UUID7_LEN = 16, UUID7_TEXT = 37 };

struct rng;

/* `after` is the last one made, NULL: none. The new one is greater, whatever the clock did meanwhile (section 6.2, method
 * 2). */
void uuid7_make(uint8_t out[static UUID7_LEN], const uint8_t *after, uint64_t unix_ms, struct rng *rng);
/* "0198c0de-....-7...-....-............", lower case. Returns `out`. */
const char *uuid7_format(const uint8_t id[static UUID7_LEN], char out[static UUID7_TEXT]);
/* Of version 7 only, in either case. 0 or -EINVAL, and `id` is as it was. */
int uuid7_parse(uint8_t id[static UUID7_LEN], const char *text);

#endif
