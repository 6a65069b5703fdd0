/* The UDP relay's wire format. First byte 0x81 or 0x82, told apart from WireGuard, STUN and probes by it.
 *
 *   data    0x81, flags(1) = 0, 0(2), session id LE32, then the datagram as it is (at least 1 byte)
 *   bind    0x82, 1, 0(2), slot LE32, padding to RELAY_BIND_LEN       node -> hub: who am I for you?
 *   chal    0x82, 2, 0(2), slot LE32, mac(16)                         hub -> node: bound to its address and time
 *   prove   0x82, 3, 0(2), slot LE32, mac(16), proof(16)              node -> hub: proof = BLAKE2s-16(token, slot || mac)
 *   bound   0x82, 4, 0(2), slot LE32, proof'(16)                      hub -> node: BLAKE2s-16(token, "bound" || mac)
 *   unbound 0x82, 5, 0(2), session id LE32                            hub -> node: data from a source that is not bound,
 *                                                                     or of no session; never longer than the data, limited
 * At a relay that knows nobody (relay_ticket.h), whoever has a ticket opens a slot and joins sessions by itself. It asks
 * with slot 0, and proves with
 *   admit   0x82, 6, 0(2), 0 LE32, mac(16), proof(16), ticket(56)     node -> relay; `bound` then names the slot
 *   join    0x82, 7, 0(2), slot LE32, tag(16)                         node -> relay, bound: a session with that member
 *   joined  0x82, 8, 0(2), session LE32, tag(16)                      relay -> node: 0 if that member is not here
 *
 * The hub keeps nothing for a bind or a wrong proof: the challenge is a MAC over address, slot and a 10 s epoch.
 * A node has one binding (its slot) for all of its sessions; a session joins two slots of one network.
 *
 * Where UDP does not get through, the same data goes over the node's link (TLS), whose login is the binding: a binary
 * WebSocket message that begins with 0x81 (no protobuf message of link.proto does):
 *
 *   run     0x81, 0, 0(2), session id LE32, stride LE16, then datagrams of `stride` bytes each, the last may be shorter;
 *           at most RELAY_RUN_DATAGRAMS, as each may become a packet
 *   move    0x81, 1, 0(2), 0 LE32                              node -> hub: from now on send me data over the link
 *
 * The hub sends a node's data by the way that the node used last: bound by UDP (a proof) or moved to the link (a move, or
 * a run). Of a run that comes by one way and leaves by the other the hub puts headers in front of each, or takes them off.
 */
#ifndef P2PD_RELAY_RELAY_WIRE_H
#define P2PD_RELAY_RELAY_WIRE_H

enum {
	RELAY_DATA = 0x81,
	RELAY_CONTROL = 0x82,
	RELAY_HEADER = 8,
	RELAY_BIND = 1,
	RELAY_CHALLENGE = 2,
	RELAY_PROVE = 3,
	RELAY_BOUND = 4,
	RELAY_UNBOUND = 5,
	RELAY_ADMIT = 6,
	RELAY_JOIN = 7,
	RELAY_JOINED = 8,
	RELAY_MAC = 16,
	RELAY_TAG = 16, /* of a node or a network: relay_ticket.h */
	RELAY_TICKET = 56,
	RELAY_TOKEN = 32,
	RELAY_BIND_LEN = 24,
	RELAY_CHALLENGE_LEN = 24,
	RELAY_PROVE_LEN = 40,
	RELAY_BOUND_LEN = 24,
	RELAY_UNBOUND_LEN = 8,
	RELAY_ADMIT_LEN = RELAY_PROVE_LEN + RELAY_TICKET,
	RELAY_JOIN_LEN = 24,
	RELAY_JOINED_LEN = 24,
	RELAY_RUN_HEADER = 10,
	RELAY_RUN_MAX =
		16376, /* with a WebSocket header of 4 or 8 bytes it is one TLS record (RFC 8446 section 5.1) */
	RELAY_RUN_DATAGRAMS = 64,
	RELAY_MOVE_LEN = 8,
};

#endif
