/* NAT-PMP (RFC 6886) by libnatpmp: blocks, within the limit. IPv4 only. */
#ifndef P2PD_NAT_NATPMP_H
#define P2PD_NAT_NATPMP_H

#include "nat/gateway.h"

enum { NATPMP_ANSWER_MAX = 16 };

/* Is this an answer that makes sense: to our request (its opcode), and long enough for what it says? libnatpmp reads
 * the fields of an answer whether they are there or not. */
bool natpmp_is_answer(const uint8_t *msg, size_t len, unsigned opcode);
/* An announcement (the answer to a request for the public address, unasked): the gateway's epoch and address. */
bool natpmp_is_announcement(const uint8_t *msg, size_t len, uint32_t *epoch_s, struct addr *external);
void natpmp_run(const struct gateway_job *job, const struct gateway_limit *limit, struct gateway_result *out);

#endif
