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
 *   rekey       keys older than 120 s on send (initiator), 165 s on receive (once), or 2^60 messages; both 5 s later
 *               for the higher public key of two peers of our own kind
 *   ask         to a peer of our own kind, on fresh keys of a handshake that we started: says which ciphers we open and
 *               asks the same, at once (instead of the first keepalive), and up to 3 times more after 1 s each
 *   answer      the peer asked so: says what we open, at once
 *   expiry      keys of 180 s open nothing, keys of 178 s seal nothing (see KEYPAIR_SEND_MARGIN_MS); all keys are
 *               zeroed after 540 s without a handshake
 *
 * Two handshakes may run at once, ours and the peer's (both start when they punch): each has its own slot and each
 * completes. When both are of our own kind, the one with the higher public key does not start a handshake within
 * 500 ms of having answered one.
 *
 * The cipher, a deviation from WireGuard that stock peers see nothing of: between peers of our own kind a side may say,
 * by a control message (core/control.h) sealed with ChaCha20-Poly1305 under the keys that it speaks of, that it opens
 * AEGIS-256, too. Who has heard that, and opens it itself, seals with AEGIS-256 by these keys from then on, and by no
 * others; lost or withheld messages leave ChaCha20-Poly1305, which is always opened. The message is exchanged once for
 * each handshake, by two sides of which at least one wants to know; it is consumed here and counts as a keepalive.
 */
#ifndef P2PD_CORE_SESSION_H
#define P2PD_CORE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cookie.h"
#include "core/keypair.h"
#include "core/noise.h"
#include "core/sealer.h"
#include "core/session_index.h"

enum {
	SESSION_REKEY_AFTER_MS = 120000, /* this and the next five: paper section 6.1 */
	SESSION_REKEY_ATTEMPT_MS = 90000,
	SESSION_REKEY_TIMEOUT_MS = 5000,
	SESSION_JITTER_MS = 334, /* exclusive; section 6.1: "up to 333 ms" */
	SESSION_KEEPALIVE_MS = 10000,
	SESSION_WIPE_AFTER_MS = 3 * KEYPAIR_REJECT_AFTER_MS, /* section 6.2 */
	SESSION_REKEY_ON_RECEIVE_MS = KEYPAIR_REJECT_AFTER_MS - SESSION_KEEPALIVE_MS -
				      SESSION_REKEY_TIMEOUT_MS,
	SESSION_UNANSWERED_MS = SESSION_KEEPALIVE_MS + SESSION_REKEY_TIMEOUT_MS,
	SESSION_ANSWER_GAP_MS = 20, /* Linux: INITIATIONS_PER_SECOND 50 */
	/* Between peers of our own kind only, where the other implementations need not agree. */
	SESSION_YIELD_MS = 500, /* the higher key waits after an answer */
	SESSION_REKEY_STAGGER_MS =
		5000, /* and rekeys later, lest both sides rekey at once and drop keys in use */
	SESSION_ASK_MS = 1000,
	SESSION_ASKS = 4,
	/* The most a session holds: three keypairs and a handshake. */
	SESSION_INDEXES = 4,
};
#define SESSION_NEVER UINT64_MAX

/* TAI64N that only goes forward, also when the wall clock is set back: max(wall, last + 2^24 ns). */
struct session_clock {
	int64_t wall_offset_ns; /* wall clock minus now_ms * 10^6; the caller keeps it fresh */
	uint64_t last_ns;	/* restored from disk: the upper bound that was reserved there */
	uint64_t kept_ns;	/* the owner's: no timestamp beyond leaves the node before it is reserved */
};
void session_timestamp(struct session_clock *clock, uint64_t now_ms, uint8_t out[static NOISE_TIMESTAMP_LEN]);

struct session_config {
	const struct noise_local *local; /* these three outlive the session */
	struct session_index *index;
	struct session_clock *clock;
	struct rng *rng;
	void *owner; /* what session_index_find returns; not NULL */
	const uint8_t *peer_pk;
	const uint8_t *psk; /* 32 bytes or NULL */
	bool own_kind;	    /* the peer runs p2pd, too */
	bool aegis; /* of own kind: AEGIS-256 is offered and opened, and used if the peer offers it, too */
	uint16_t keepalive_s; /* persistent keepalive; 0 for none */
};

/* Points in time are in ms, SESSION_NEVER for a timer that is not running. Callers use functions only. */
struct session {
	struct session_config config; /* the pointers to keys are NULL: they were copied */
	struct noise_remote remote;
	struct cookie_jar jar;
	struct keypairs keypairs;
	struct noise_initiator handshake; /* ours, awaiting its response, if `handshake_open` */
	bool handshake_open;
	uint8_t index_low;   /* of all its receiver indexes */
	bool yields;	     /* both of our own kind, and ours is the higher public key */
	bool asked_to_rekey; /* the rekey on receive has been asked for with the current keys */
	uint8_t peer_timestamp[NOISE_TIMESTAMP_LEN];
	unsigned tries; /* initiations since the current attempt began */
	uint64_t
		initiable_ms; /* no initiation before: the retry delay of the last one, 500 ms after an answer */
	uint64_t answerable_ms; /* no answer before: 20 ms after the last one */

	uint64_t initiate_at;	/* the next initiation of the attempt that is running */
	uint64_t give_up_at;	/* the end of that attempt */
	uint64_t confirm_at;	/* tell the peer that its response arrived */
	uint64_t keepalive_at;	/* data received, nothing sent */
	uint64_t persistent_at; /* `keepalive_s` without any message */
	uint64_t unanswered_at; /* data sent, nothing received */
	uint64_t ask_at;	/* which ciphers the peer opens */
	uint64_t answer_at;	/* some keypair owes the peer an answer to that */
	uint64_t wipe_at;	/* keys are of no use any more */
};

/* 0, or -EINVAL for a key that must not be used, -ENOSPC when fewer than SESSION_INDEXES indexes are free. With a
 * persistent keepalive a handshake is due at once. */
int session_init(struct session *s, const struct session_config *config);
/* Gives its indexes back and wipes all keys. */
void session_close(struct session *s);
/* Drops all keys and handshakes, keeps the peer (its boot changed, its address is new to us) and its timestamp. A
 * handshake wanted after this starts at once. */
void session_reset(struct session *s);
/* True if there are keys of any age, confirmed or not. */
bool session_has_keys(const struct session *s);

/* --- Sending. */
/* There is something to send and there may be no keys: session_next() will start a handshake as soon as allowed. While
 * one is running its 90 s begin anew; with usable keys nothing happens. */
void session_want(struct session *s, uint64_t now_ms);
/* There is a way to the peer that was not there before: an initiation that awaits its answer went astray most likely,
 * and is repeated at once. Only for peers of our own kind; the others expect 5 s between two. */
void session_on_new_way(struct session *s, uint64_t now_ms);
/* True if session_seal() would seal now. */
bool session_ready(const struct session *s, uint64_t now_ms);
/* Seals the `len` bytes at `data` in place: the header is written into the WG_DATA_HEADER bytes before, zero padding to
 * a multiple of 16 (not beyond `mtu`) and the tag behind: SEALER_ROOM bytes. Returns the length of the message that now
 * starts at data - WG_DATA_HEADER, or -EAGAIN when there are no usable keys (then call session_want and keep the packet). */
int session_seal(struct session *s, uint8_t *data, size_t len, size_t mtu, uint64_t now_ms);
/* The same for `count` >= 1 packets, none of them empty, that are sealed elsewhere: a copy of the key and that many
 * counters, for sealer_seal(). They count as sent. -EAGAIN without usable keys. */
int session_seal_begin(struct session *s, unsigned count, size_t mtu, uint64_t now_ms, struct sealer *out);

enum session_due { SESSION_NOTHING, SESSION_MESSAGE, SESSION_GAVE_UP };
enum { SESSION_MESSAGE_MAX = WG_INITIATION_LEN };
/* The next due message (an initiation, a keepalive, a word on ciphers) into `out`, its length into `*len`. Call until SESSION_NOTHING.
 * SESSION_GAVE_UP: nobody answered for 90 s; drop what is queued. */
enum session_due session_next(struct session *s, uint64_t now_ms, uint8_t out[static SESSION_MESSAGE_MAX],
			      size_t *len);
/* What session_next() does to keys that are of no use any more, and when: for a caller that has no way to the peer and
 * so calls that one no more. */
void session_expire(struct session *s, uint64_t now_ms);
uint64_t session_expiry(const struct session *s);
/* When session_next() is to be called at the latest; SESSION_NEVER for never. It changes with every other call. */
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
	bool unsummed; /* see struct opened */
	bool confirmed; /* the first message on keys that we answered for: the session is up, send what is queued */
};
/* A data message of any kind and length, found by its receiver index. -EBADMSG, -EALREADY (replay, or a counter beyond
 * the last that keys may have), -EKEYEXPIRED, -ENOENT (no such keys). */
int session_open(struct session *s, uint8_t *msg, size_t len, uint64_t now_ms, struct session_opened *out);
/* The same in bulk and elsewhere: first copies of the keys, for opener_open(). -ENOENT (no such keys), -EKEYEXPIRED. */
int session_open_begin(struct session *s, uint32_t receiver, uint64_t now_ms, struct opener *out);
/* Then, of what was opened with them, in the order in which it came: nothing is used before this. Those with data NULL
 * are passed over, those that must not be used get data NULL; the number of these, or -ENOENT for all, when the keys went
 * meanwhile. `*confirmed` as in struct session_opened. */
int session_open_end(struct session *s, uint32_t receiver, struct opened *list, unsigned count,
		     uint64_t now_ms, bool *confirmed);
/* After that: true if the peer is to be told how many messages of these keys are missing (core/gaps.h). */
bool session_gaps(struct session *s, uint32_t receiver, uint64_t now_ms, struct gaps_report *out);

/* --- Knowing. */
/* When the keys now used for sending were agreed; 0 for never. */
uint64_t session_last_handshake(const struct session *s);
/* What they seal with; CIPHER_NONE without keys. */
enum cipher session_cipher(const struct session *s);
/* The greatest timestamp accepted of this peer, to be kept on disk, and back. */
void session_peer_timestamp(const struct session *s, uint8_t out[static NOISE_TIMESTAMP_LEN]);
void session_restore_peer_timestamp(struct session *s, const uint8_t ts[static NOISE_TIMESTAMP_LEN]);

#endif
