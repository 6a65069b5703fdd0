/* Which ports of this host programs listen on, by sock_diag. Linux only. */
#ifndef P2PD_TUN_LISTENING_H
#define P2PD_TUN_LISTENING_H

#include "core/forward.h"

/* Whether each of the ports `at`.port to + count - 1 is listened on at all addresses of `at`'s family: at one alone it may
 * be our own sockets, which carry forwarded ports. False, and the first that is not, in *missing; false, too, if the kernel
 * does not tell. */
bool listening_on(enum forward_proto proto, const struct addr *at, unsigned count, uint16_t *missing);

/* Whether on any of these ports a program listens at that very address. */
bool listening_at(enum forward_proto proto, const struct addr *at, unsigned count);

/* Adds the ports where a program listens so that another could not listen at that address: bit port % 8 of byte port / 8.
 * Nothing if the kernel does not tell, or for ADDR_NONE. */
enum { LISTENING_BYTES = 65536 / 8 };
void listening_ports(enum forward_proto proto, const struct addr *at, uint8_t set[static LISTENING_BYTES]);

#endif
