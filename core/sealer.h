/* Sealing and opening of data messages away from their session: copies of keys, and counters that nobody else uses, so
 * that a thread can work on them while the session goes on. session_seal_begin() and session_open_begin() fill them.
 * Pure. The owner wipes them with crypto_wipe().
 *
 * A data message is one of
 *   WireGuard's   type LE32 = 4, receiver LE32, counter LE64, ciphertext, tag(16)   ChaCha20-Poly1305
 *   ours          0x83, 0(3),    receiver LE32, counter LE64, ciphertext, tag(32)   AEGIS-256
 * Ours goes between peers of our own kind only, who have told each other that they open it: see core/session.h. Its
 * nonce is 24 zero bytes, then the counter little-endian; its key is derived from the transport key of the same
 * direction (core/keypair.h), so one counter serves both ciphers and no (key, nonce) can repeat. There is no associated
 * data, as in WireGuard's messages: the receiver chooses the key, the counter is the nonce, the rest has one value.
 * In ours the first byte of a packet may have SEALER_UNSUMMED set, which no IP version has: its TCP or UDP checksum is
 * still to be made, and the sum of the pseudo-header stands in its place, as the sender's kernel gave it. Between the two
 * kernels the tag vouches for every bit, and two passes over the data are spared. */
#ifndef P2PD_CORE_SEALER_H
#define P2PD_CORE_SEALER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cipher { CIPHER_NONE, CIPHER_CHACHA20, CIPHER_AEGIS256 };

enum {
	SEALER_HEADER = 16,
	SEALER_OVERHEAD_MAX = 48, /* header 16 + AEGIS-256's tag 32 */
	SEALER_PADDING = 16,	  /* packets are padded with zeros to a multiple of it: paper section 5.4.6 */
	SEALER_ROOM = 47,	  /* that padding and tag take behind a packet at most */
	SEALER_FIRST_BYTE_AEGIS = 0x83,
	SEALER_UNSUMMED = 0x80, /* of a packet's first byte: IP versions 4 and 6 are 12 and 14 then */
};

struct sealer {
	uint8_t key[32];
	uint64_t next, end; /* counters: this one is next; `end` is not ours any more */
	uint32_t receiver;
	enum cipher cipher;
	size_t mtu; /* padding does not go beyond it */
};

/* "aegis-256", "chacha20-poly1305"; NULL for CIPHER_NONE. */
const char *cipher_name(enum cipher cipher);
/* Bytes of the message for a packet of `len` bytes. */
size_t sealer_length(const struct sealer *s, size_t len);
/* Seals the packet at `in` into `out`, sealer_length() bytes. The two do not overlap and `in` is only read, or else in is
 * exactly out + SEALER_HEADER, with SEALER_ROOM bytes behind the packet. Uses one counter; without one left it ends the
 * process. Returns the length. */
size_t sealer_seal(struct sealer *s, uint8_t *out, const uint8_t *in, size_t len);

struct opener {
	uint8_t chacha[32], aegis[32];
	bool has_aegis; /* whether messages of AEGIS-256 are opened */
};

struct opened {
	uint8_t *
		data; /* within the message; the packet with its padding. NULL: it is not to be used, because it did
			* not authenticate or is a replay (session_open_end) */
	uint32_t len; /* 0: a keepalive */
	bool unsummed; /* its checksum is to be made (offload_make_sum); SEALER_UNSUMMED is gone from the packet */
	uint64_t counter;
};

/* True for a data message of either cipher: `receiver` is then its index. */
bool opener_is_data(const uint8_t *msg, size_t len, uint32_t *receiver);
/* Opens in place a message for which opener_is_data() is true. 0, or -EBADMSG with data NULL; its bytes are then lost. */
int opener_open(const struct opener *o, uint8_t *msg, size_t len, struct opened *out);

#endif
