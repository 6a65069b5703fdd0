/* A WireGuard session with one peer: handshakes of both roles, three keypair slots, rekeying, keepalives, replay
 * protection. Pure: fed with messages and `now_ms` (a clock that counts sleep), it hands back messages to send and a
 * deadline. It knows no addresses and no peer; where a message goes is the caller's business.
 *
 * The timers, all derived from `now_ms` at session_next():
 *   retry       an initiation unanswered for REKEY_TIMEOUT (5 s + jitter) is sent again with a new ephemeral;
 *               to a peer of our own kind without any session: after 1 s, 2 s, then 5 s
 *   give up     after REKEY_ATTEMPT_TIME (90 s) of that: SESSION_GAVE_UP once
 *   new         data sent, nothing received for KEEPALIVE_TIMEOUT + REKEY_TIMEOUT (15 s): a handshake
 *   keepalive   data received, nothing sent for KEEPALIVE_TIMEOUT (10 s): an empty data message
 *   persistent  every `keepalive_s`, when asked for
 *   rekey       keys older than 120 s on send (initiator), 165 s on receive (once), or 2^60 messages
 *   expiry      keys of 180 s seal and open nothing; all keys are zeroed after 540 s without a handshake
 *
 * Two handshakes may run at once, ours and the peer's (both start when they punch): each has its own slot and each
 * completes. When both are of our own kind, the one with the higher public key does not start a handshake within
 * 500 ms of having answered one.
 */
#ifndef P2PD_CORE_SESSION_H
#define P2PD_CORE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cookie.h"
#include "core/noise.h"
#include "core/replay.h"

/* Receiver indexes of all sessions of a node: 32-bit random, unique, mapped to an opaque owner. */
struct session_index;
struct session_index *session_index_create(size_t max_entries); /* NULL without memory */
void session_index_destroy(struct session_index *index);
/* The owner given to session_init, or NULL. */
void *session_index_find(const struct session_index *index, uint32_t local_index);

/* TAI64N that only goes forward, also when the wall clock is set back: max(wall, last + 2^24 ns). */
struct session_clock {
	int64_t wall_offset_ns; /* wall clock minus now_ms * 10^6; the caller keeps it fresh */
	uint64_t last_ns;       /* restored from disk: the upper bound that was reserved there */
};
void session_timestamp(struct session_clock *clock, uint64_t now_ms, uint8_t out[static NOISE_TIMESTAMP_LEN]);

struct session_config {
	const struct noise_local *local; /* these three outlive the session */
	struct session_index *index;
	struct session_clock *clock;
	struct rng *rng;
	void *owner;           /* what session_index_find returns */
	const uint8_t *peer_pk;
	const uint8_t *psk;    /* 32 bytes or NULL */
	bool own_kind;         /* the peer runs p2pd, too */
	uint16_t keepalive_s;  /* persistent keepalive; 0 for none */
};

struct session_keypair {
	struct noise_keys keys;
	uint64_t created_ms;
	uint64_t send_counter;
	uint32_t local_index, remote_index;
	bool valid, initiator;
	struct replay replay;
};

struct session {
	/* The author of session.c defines the rest; callers use functions only. */
	struct session_config config;
};

/* 0, or -EINVAL for a key that must not be used, -ENOSPC when no index is free. */
int session_init(struct session *s, const struct session_config *config);
/* Gives its indexes back and wipes all keys. */
void session_close(struct session *s);
/* Drops all keys and handshakes, keeps the peer (its boot changed, its address is new to us). */
void session_reset(struct session *s);

/* --- Sending. */
/* There is something to send and there may be no keys: session_next() will start a handshake as soon as allowed. */
void session_want(struct session *s, uint64_t now_ms);
/* True if session_seal() would seal now. */
bool session_ready(const struct session *s, uint64_t now_ms);
/* Seals the `len` bytes at `data` in place: the header is written into the WG_DATA_HEADER bytes before, zero padding to
 * a multiple of 16 (not beyond `mtu`) and the tag behind: 31 bytes of room. Returns the length of the message that now
 * starts at data - WG_DATA_HEADER, or -EAGAIN when there are no usable keys (then call session_want and keep the packet). */
int session_seal(struct session *s, uint8_t *data, size_t len, size_t mtu, uint64_t now_ms);

enum session_due { SESSION_NOTHING, SESSION_MESSAGE, SESSION_GAVE_UP };
enum { SESSION_MESSAGE_MAX = WG_INITIATION_LEN };
/* The next due message (an initiation or a keepalive) into `out`, its length into `*len`. Call until SESSION_NOTHING.
 * SESSION_GAVE_UP: nobody answered for 90 s; drop what is queued. */
enum session_due session_next(struct session *s, uint64_t now_ms, uint8_t out[static SESSION_MESSAGE_MAX],
			      size_t *len);
/* When session_next() is to be called at the latest; UINT64_MAX for never. */
uint64_t session_deadline(const struct session *s);

/* --- Receiving. All return 0 or a negative errno and change nothing unless the message authenticates. */
/* An initiation that noise_open_initiation() opened and that names this peer. Writes the response.
 * -EALREADY for a timestamp not newer than the last, -EBUSY within 20 ms of the last one accepted. */
int session_on_initiation(struct session *s, const struct noise_initiation *in, uint64_t now_ms,
			  uint8_t response[static WG_RESPONSE_LEN]);
/* A response, found by its receiver index. On 0 session_ready() is true; session_next() gives a keepalive unless data
 * is sent at once: send queued packets first. */
int session_on_response(struct session *s, const uint8_t msg[static WG_RESPONSE_LEN], uint64_t now_ms);
int session_on_cookie(struct session *s, const uint8_t msg[static WG_COOKIE_LEN], uint64_t now_ms);

struct session_opened {
	uint8_t *data; /* in place, within the message */
	size_t len;    /* with padding; 0 is a keepalive */
	bool confirmed; /* this was the first message on keys that we answered for: the session is now up */
};
/* A data message of any length >= WG_DATA_OVERHEAD, found by its receiver index. -EBADMSG, -EALREADY (replay),
 * -EKEYEXPIRED, -ENOENT (no such keys). */
int session_open(struct session *s, uint8_t *msg, size_t len, uint64_t now_ms, struct session_opened *out);

/* --- Knowing. */
/* When the keys now used for sending were agreed; 0 for never. */
uint64_t session_last_handshake(const struct session *s);
/* The greatest timestamp accepted of this peer, to be kept on disk, and back. */
void session_peer_timestamp(const struct session *s, uint8_t out[static NOISE_TIMESTAMP_LEN]);
void session_restore_peer_timestamp(struct session *s, const uint8_t ts[static NOISE_TIMESTAMP_LEN]);

#endif
