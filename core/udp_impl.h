/* What the files of `udp` share, and nobody else includes. */
#ifndef P2PD_CORE_UDP_IMPL_H
#define P2PD_CORE_UDP_IMPL_H

#include "core/udp.h"

/* Takes what there is, within the budget. The socket may be gone afterwards. */
void udp_receive(struct udp_socket *s);
/* The socket is closed: the rest of what it is receiving at this moment is left out. */
void udp_receive_stop(struct udp_socket *s);
/* What is asked of the kernel where `bytes` came in within `ms`. */
int udp_buffer_for(size_t bytes, uint64_t ms, int least);
/* So many bytes came in. */
void udp_fit_buffer(struct udp_socket *s, size_t bytes);
/* Kept by the socket, for the kernel takes no such wish with a datagram. */
void udp_set_dont_fragment(struct udp_socket *s, bool dont);

#endif
