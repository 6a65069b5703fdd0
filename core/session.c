#include "core/session.h"

#include <errno.h>
#include <string.h>

#include "core/bytes.h"
#include "core/control.h"

enum { RESPONSE_RECEIVER_OFF = 8, MS_PER_S = 1000 };

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t jitter(struct session *s)
{
	return rng_below(s->config.rng, SESSION_JITTER_MS);
}

void session_timestamp(struct session_clock *clock, uint64_t now_ms, uint8_t out[static NOISE_TIMESTAMP_LEN])
{
	/* Coarse, so that the peer does not learn our clock to the nanosecond; Linux uses the same step. */
	const uint64_t step = UINT64_C(1) << 24, ns_per_s = 1000000000,
		       tai_offset = UINT64_C(0x400000000000000a);
	int64_t wall = (int64_t)(now_ms * 1000000) + clock->wall_offset_ns;
	uint64_t ns = wall > 0 ? (uint64_t)wall & ~(step - 1) : 0;

	ns = later(ns, clock->last_ns + step);
	clock->last_ns = ns;
	store_be64(out, tai_offset + ns / ns_per_s);
	store_be32(out + 8, (uint32_t)(ns % ns_per_s));
}

/* --- Beginning and end. */

static void stop_timers(struct session *s)
{
	s->initiate_at = s->give_up_at = s->confirm_at = SESSION_NEVER;
	s->keepalive_at = s->unanswered_at = s->wipe_at = SESSION_NEVER;
	s->ask_at = s->answer_at = SESSION_NEVER;
	s->persistent_at = s->config.keepalive_s ? 0 : SESSION_NEVER;
}

int session_init(struct session *s, const struct session_config *config)
{
	memset(s, 0, sizeof *s);
	if (!config->owner ||
	    noise_remote_init(&s->remote, config->local, config->peer_pk, config->psk) < 0) {
		crypto_wipe(s, sizeof *s);
		return -EINVAL;
	}
	if (session_index_reserve(config->index, SESSION_INDEXES) < 0) {
		crypto_wipe(s, sizeof *s);
		return -ENOSPC;
	}
	s->config = *config;
	s->config.peer_pk = s->config.psk = NULL;
	s->keypairs.index = config->index;
	s->index_low = (uint8_t)rng_u32(config->rng);
	s->yields = config->own_kind && memcmp(config->local->pk, s->remote.pk, 32) > 0;
	cookie_jar_init(&s->jar, s->remote.pk);
	stop_timers(s);
	return 0;
}

static void drop_handshake(struct session *s)
{
	if (s->handshake_open)
		session_index_remove(s->config.index, s->handshake.local_index);
	s->handshake_open = false;
	crypto_wipe(&s->handshake, sizeof s->handshake);
}

void session_reset(struct session *s)
{
	keypairs_clear(&s->keypairs);
	drop_handshake(s);
	stop_timers(s);
	s->initiable_ms = 0;
	s->asked_to_rekey = false;
}

bool session_has_keys(const struct session *s)
{
	return s->keypairs.current.valid || s->keypairs.next.valid;
}

void session_close(struct session *s)
{
	session_reset(s);
	session_index_release(s->config.index, SESSION_INDEXES);
	crypto_wipe(s, sizeof *s);
}

/* --- What happened, and the timers that follow from it. */

static void want_handshake(struct session *s, uint64_t now_ms)
{
	if (s->initiate_at == SESSION_NEVER) {
		s->tries = 0;
		s->initiate_at = later(now_ms, s->initiable_ms);
	}
	s->give_up_at = now_ms + SESSION_REKEY_ATTEMPT_MS;
}

static void stop_attempt(struct session *s)
{
	s->initiate_at = s->give_up_at = SESSION_NEVER;
}

static void restart_persistent(struct session *s, uint64_t now_ms)
{
	if (s->config.keepalive_s)
		s->persistent_at = now_ms + (uint64_t)s->config.keepalive_s * MS_PER_S;
}

static void on_sent(struct session *s, uint64_t now_ms)
{
	s->keepalive_at = SESSION_NEVER;
	restart_persistent(s, now_ms);
}

static void on_received(struct session *s, uint64_t now_ms)
{
	s->unanswered_at = SESSION_NEVER;
	restart_persistent(s, now_ms);
}

/* Both sides are known to have the current keys. */
static void on_established(struct session *s)
{
	stop_attempt(s);
	s->asked_to_rekey = false;
}

/* --- Sending. */

void session_want(struct session *s, uint64_t now_ms)
{
	if (!session_ready(s, now_ms))
		want_handshake(s, now_ms);
}

void session_on_new_way(struct session *s, uint64_t now_ms)
{
	uint64_t yields_until = s->yields && s->answerable_ms
					? s->answerable_ms - SESSION_ANSWER_GAP_MS + SESSION_YIELD_MS
					: 0;

	if (!s->config.own_kind || s->initiate_at == SESSION_NEVER)
		return;
	s->tries = 0;
	s->initiable_ms = earlier(s->initiable_ms, later(now_ms, yields_until));
	s->initiate_at = earlier(s->initiate_at, s->initiable_ms);
}

bool session_ready(const struct session *s, uint64_t now_ms)
{
	return keypair_can_send(&s->keypairs.current, now_ms);
}

/* The side that started the handshake renews it, so that not both do. */
static bool is_due_to_rekey(const struct session *s, uint64_t after_ms, uint64_t now_ms)
{
	const struct keypair *kp = &s->keypairs.current;
	uint64_t age = now_ms - kp->created_ms, stagger = s->yields ? SESSION_REKEY_STAGGER_MS : 0;

	return kp->initiator && age >= after_ms + stagger;
}

/* `is_data`: not a keepalive, so an answer is expected. */
static int seal_begin(struct session *s, unsigned count, size_t mtu, bool is_data, uint64_t now_ms,
		      struct sealer *out)
{
	struct keypair *kp = &s->keypairs.current;

	if (!session_ready(s, now_ms) || keypair_sealer(kp, keypair_cipher(kp), count, mtu, out) < 0)
		return -EAGAIN;
	s->confirm_at = SESSION_NEVER;
	on_sent(s, now_ms);
	if (is_data && s->unanswered_at == SESSION_NEVER)
		s->unanswered_at = now_ms + SESSION_UNANSWERED_MS + jitter(s);
	if (kp->send_counter > KEYPAIR_REKEY_AFTER_MESSAGES ||
	    is_due_to_rekey(s, SESSION_REKEY_AFTER_MS, now_ms))
		want_handshake(s, now_ms);
	return 0;
}

int session_seal_begin(struct session *s, unsigned count, size_t mtu, uint64_t now_ms, struct sealer *out)
{
	return seal_begin(s, count, mtu, true, now_ms, out);
}

int session_seal(struct session *s, uint8_t *data, size_t len, size_t mtu, uint64_t now_ms)
{
	struct sealer sealer;
	int rc = seal_begin(s, 1, mtu, len != 0, now_ms, &sealer);

	if (rc < 0)
		return rc;
	size_t n = sealer_seal(&sealer, data - SEALER_HEADER, data, len);
	crypto_wipe(&sealer, sizeof sealer);
	return (int)n;
}

/* --- Agreeing on a cipher. */

static void begin_cipher(struct session *s, struct keypair *fresh)
{
	if (s->config.own_kind && s->config.aegis)
		keypair_open_aegis(fresh);
}

/* Whichever cipher the keys seal with now: who asks may not know yet that the other one is agreed. */
static size_t write_cipher(struct session *s, struct keypair *kp, bool answers, uint64_t now_ms, uint8_t *out)
{
	struct control_cipher word = { .opens_aegis = kp->opens_aegis, .answers = answers };
	struct sealer sealer;

	if (keypair_sealer(kp, CIPHER_CHACHA20, 1, SEALER_PADDING, &sealer) < 0)
		return 0;
	control_write_cipher(out + SEALER_HEADER, &word);
	size_t len = sealer_seal(&sealer, out, out + SEALER_HEADER, CONTROL_CIPHER_LEN);
	crypto_wipe(&sealer, sizeof sealer);
	s->confirm_at = SESSION_NEVER;
	on_sent(s, now_ms);
	return len;
}

/* By the keys that the question came by, which need not be those that we send with: see crossed handshakes. */
static size_t answer(struct session *s, uint64_t now_ms, uint8_t *out)
{
	struct keypair *slots[] = { &s->keypairs.current, &s->keypairs.previous };

	for (size_t i = 0; i < 2; i++) {
		bool owes = slots[i]->owes_answer;
		slots[i]->owes_answer = false;
		if (owes && keypair_can_send(slots[i], now_ms))
			return write_cipher(s, slots[i], true, now_ms, out);
	}
	s->answer_at = SESSION_NEVER;
	return 0;
}

static size_t ask(struct session *s, uint64_t now_ms, uint8_t *out)
{
	struct keypair *kp = &s->keypairs.current;

	s->ask_at = SESSION_NEVER;
	if (kp->heard || !kp->opens_aegis || !kp->initiator || !keypair_can_send(kp, now_ms))
		return 0;
	if (++kp->asks < SESSION_ASKS)
		s->ask_at = now_ms + SESSION_ASK_MS;
	return write_cipher(s, kp, false, now_ms, out);
}

static size_t write_due_cipher(struct session *s, uint64_t now_ms, uint8_t *out)
{
	size_t len = now_ms >= s->answer_at ? answer(s, now_ms, out) : 0;

	return len || now_ms < s->ask_at ? len : ask(s, now_ms, out);
}

static void on_cipher(struct session *s, struct keypair *kp, const struct control_cipher *word,
		      uint64_t now_ms)
{
	kp->heard = true;
	if (kp == &s->keypairs.current)
		s->ask_at = SESSION_NEVER;
	kp->seals_aegis |= word->opens_aegis && kp->opens_aegis;
	if (word->answers)
		return;
	kp->owes_answer = true;
	s->answer_at = now_ms;
}

/* --- Sending on its own. */

/* Peers of our own kind are often behind a NAT that is being opened at this moment: the first tries come faster. */
static uint64_t retry_delay(struct session *s, uint64_t now_ms)
{
	static const uint16_t early[] = { 1000, 2000 };
	bool hurry = s->config.own_kind && !session_ready(s, now_ms) &&
		     s->tries <= sizeof early / sizeof *early;

	return (hurry ? early[s->tries - 1] : SESSION_REKEY_TIMEOUT_MS) + jitter(s);
}

static size_t write_initiation(struct session *s, uint64_t now_ms, uint8_t *out)
{
	uint8_t timestamp[NOISE_TIMESTAMP_LEN];

	drop_handshake(s);
	session_timestamp(s->config.clock, now_ms, timestamp);
	uint32_t index = session_index_add(s->config.index, s->config.owner, s->index_low, s->config.rng);
	/* Cannot fail: session_init() refused the keys for which it could. */
	(void)noise_initiate(&s->handshake, s->config.local, &s->remote, index, timestamp, s->config.rng,
			     out);
	s->handshake_open = true;
	cookie_stamp(&s->jar, out, WG_INITIATION_LEN, now_ms);
	/* The attempt counts from here if the caller had nowhere to send until now. */
	if (s->tries++ == 0)
		s->give_up_at = now_ms + SESSION_REKEY_ATTEMPT_MS;
	s->initiate_at = s->initiable_ms = now_ms + retry_delay(s, now_ms);
	on_sent(s, now_ms);
	return WG_INITIATION_LEN;
}

/* A keepalive that finds no keys asks for a handshake instead: so a persistent one keeps the tunnel up. */
static bool keepalive_is_due(struct session *s, uint64_t now_ms)
{
	if (now_ms < earlier(s->confirm_at, earlier(s->keepalive_at, s->persistent_at)))
		return false;
	s->confirm_at = s->keepalive_at = SESSION_NEVER;
	restart_persistent(s, now_ms);
	session_want(s, now_ms);
	return session_ready(s, now_ms);
}

/* An attempt that still runs keeps its handshake: the response may be on its way. */
static void wipe_old_keys(struct session *s)
{
	keypairs_clear(&s->keypairs);
	if (s->initiate_at == SESSION_NEVER)
		drop_handshake(s);
	s->wipe_at = SESSION_NEVER;
}

void session_expire(struct session *s, uint64_t now_ms)
{
	if (now_ms >= s->wipe_at)
		wipe_old_keys(s);
}

uint64_t session_expiry(const struct session *s)
{
	return s->wipe_at;
}

enum session_due session_next(struct session *s, uint64_t now_ms, uint8_t out[static SESSION_MESSAGE_MAX],
			      size_t *len)
{
	session_expire(s, now_ms);
	*len = write_due_cipher(s, now_ms, out);
	if (*len)
		return SESSION_MESSAGE;
	if (keepalive_is_due(s, now_ms)) {
		*len = (size_t)session_seal(s, out + WG_DATA_HEADER, 0, 0, now_ms);
		return SESSION_MESSAGE;
	}
	if (now_ms >= s->unanswered_at) {
		s->unanswered_at = SESSION_NEVER;
		want_handshake(s, now_ms);
	}
	if (now_ms >= s->give_up_at && s->tries) {
		stop_attempt(s);
		s->wipe_at = earlier(s->wipe_at, now_ms + SESSION_WIPE_AFTER_MS);
		return SESSION_GAVE_UP;
	}
	if (now_ms >= s->initiate_at) {
		*len = write_initiation(s, now_ms, out);
		return SESSION_MESSAGE;
	}
	return SESSION_NOTHING;
}

uint64_t session_deadline(const struct session *s)
{
	const uint64_t timers[] = { s->initiate_at,   s->confirm_at, s->keepalive_at, s->persistent_at,
				    s->unanswered_at, s->wipe_at,    s->ask_at,	      s->answer_at };
	/* An attempt that has not begun cannot be given up. */
	uint64_t first = s->tries ? s->give_up_at : SESSION_NEVER;

	for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
		first = earlier(first, timers[i]);
	return first;
}

/* --- Receiving. */

int session_on_initiation(struct session *s, const struct noise_initiation *in, uint64_t now_ms,
			  uint8_t response[static WG_RESPONSE_LEN])
{
	struct keypair fresh = { .created_ms = now_ms, .remote_index = in->remote_index, .valid = true };

	if (memcmp(in->timestamp, s->peer_timestamp, NOISE_TIMESTAMP_LEN) <= 0)
		return -EALREADY;
	if (now_ms < s->answerable_ms)
		return -EBUSY;
	fresh.local_index = session_index_add(s->config.index, s->config.owner, s->index_low, s->config.rng);
	int rc = noise_respond(in, &s->remote, fresh.local_index, s->config.rng, response, &fresh.keys);
	if (rc < 0) {
		session_index_remove(s->config.index, fresh.local_index);
		return rc;
	}
	cookie_stamp(&s->jar, response, WG_RESPONSE_LEN, now_ms);
	begin_cipher(s, &fresh);
	keypairs_add_answered(&s->keypairs, &fresh);
	crypto_wipe(&fresh, sizeof fresh);
	memcpy(s->peer_timestamp, in->timestamp, NOISE_TIMESTAMP_LEN);
	s->answerable_ms = now_ms + SESSION_ANSWER_GAP_MS;
	s->wipe_at = now_ms + SESSION_WIPE_AFTER_MS;
	if (s->yields)
		s->initiable_ms = later(s->initiable_ms, now_ms + SESSION_YIELD_MS);
	if (s->initiate_at != SESSION_NEVER)
		s->initiate_at = later(s->initiate_at, s->initiable_ms);
	on_received(s, now_ms);
	on_sent(s, now_ms);
	return 0;
}

int session_on_response(struct session *s, const uint8_t msg[static WG_RESPONSE_LEN], uint64_t now_ms)
{
	struct keypair fresh = { .created_ms = now_ms, .valid = true, .initiator = true };

	if (!s->handshake_open || load_le32(msg + RESPONSE_RECEIVER_OFF) != s->handshake.local_index)
		return -ENOENT;
	int rc = noise_open_response(&s->handshake, s->config.local, &s->remote, msg, &fresh.keys,
				     &fresh.remote_index);
	if (rc < 0)
		return rc;
	/* The index goes over from the handshake to its keys. */
	fresh.local_index = s->handshake.local_index;
	s->handshake_open = false;
	drop_handshake(s);
	begin_cipher(s, &fresh);
	keypairs_add_initiated(&s->keypairs, &fresh);
	on_established(s);
	*(fresh.opens_aegis ? &s->ask_at : &s->confirm_at) = now_ms;
	crypto_wipe(&fresh, sizeof fresh);
	s->wipe_at = now_ms + SESSION_WIPE_AFTER_MS;
	on_received(s, now_ms);
	return 0;
}

int session_on_cookie(struct session *s, const uint8_t msg[static WG_COOKIE_LEN], uint64_t now_ms)
{
	return cookie_open(&s->jar, msg, now_ms);
}

/* Our own handshake, if one is under way, ends here: its response might come after the peer has dropped the keys that
 * belong to it. */
static void confirm(struct session *s)
{
	keypairs_confirm(&s->keypairs);
	drop_handshake(s);
	on_established(s);
}

/* `is_data`: not only keepalives. */
static void on_data(struct session *s, bool is_data, uint64_t now_ms)
{
	on_received(s, now_ms);
	if (is_data && s->keepalive_at == SESSION_NEVER)
		s->keepalive_at = now_ms + SESSION_KEEPALIVE_MS;
	if (!s->asked_to_rekey && is_due_to_rekey(s, SESSION_REKEY_ON_RECEIVE_MS, now_ms)) {
		s->asked_to_rekey = true;
		want_handshake(s, now_ms);
	}
}

int session_open_begin(struct session *s, uint32_t receiver, uint64_t now_ms, struct opener *out)
{
	const struct keypair *kp = keypairs_find(&s->keypairs, receiver);

	if (!kp)
		return -ENOENT;
	if (!keypair_can_open(kp, now_ms))
		return -EKEYEXPIRED;
	keypair_opener(kp, out);
	return 0;
}

/* A word on ciphers is for us, and a keepalive to everyone else. */
static void take_cipher(struct session *s, struct keypair *kp, struct opened *o, uint64_t now_ms)
{
	struct control_cipher word;

	if (!s->config.own_kind || !control_read_cipher(&word, o->data, o->len))
		return;
	on_cipher(s, kp, &word, now_ms);
	o->len = 0;
}

int session_open_end(struct session *s, uint32_t receiver, struct opened *list, unsigned count,
		     uint64_t now_ms, bool *confirmed)
{
	struct keypair *kp = keypairs_find(&s->keypairs, receiver);
	unsigned taken = 0, refused = 0;
	bool is_data = false;

	*confirmed = false;
	for (unsigned i = 0; i < count; i++) {
		if (!list[i].data)
			continue;
		if (!kp || !keypair_accept(kp, list[i].counter)) {
			list[i].data = NULL;
			refused++;
			continue;
		}
		taken++;
		take_cipher(s, kp, &list[i], now_ms);
		is_data |= list[i].len != 0;
	}
	if (!kp)
		return -ENOENT;
	if (!taken)
		return (int)refused;
	if (kp == &s->keypairs.next) {
		confirm(s);
		*confirmed = true;
	}
	on_data(s, is_data, now_ms);
	return (int)refused;
}

bool session_gaps(struct session *s, uint32_t receiver, uint64_t now_ms, struct gaps_report *out)
{
	struct keypair *kp = keypairs_find(&s->keypairs, receiver);

	return kp && gaps_measure(&kp->gaps, kp->replay.next, kp->accepted, now_ms, out);
}

int session_open(struct session *s, uint8_t *msg, size_t len, uint64_t now_ms, struct session_opened *out)
{
	struct opener opener;
	struct opened opened;
	uint32_t receiver;

	if (!opener_is_data(msg, len, &receiver))
		return -EBADMSG;
	int rc = session_open_begin(s, receiver, now_ms, &opener);
	if (rc < 0)
		return rc;
	rc = opener_open(&opener, msg, len, &opened);
	crypto_wipe(&opener, sizeof opener);
	if (rc < 0)
		return rc;
	bool confirmed;
	if (session_open_end(s, receiver, &opened, 1, now_ms, &confirmed) != 0)
		return -EALREADY;
	*out = (struct session_opened) {
		.data = opened.data, .len = opened.len, .unsummed = opened.unsummed, .confirmed = confirmed
	};
	return 0;
}

/* --- Knowing. */

uint64_t session_last_handshake(const struct session *s)
{
	return s->keypairs.current.valid ? s->keypairs.current.created_ms : 0;
}

enum cipher session_cipher(const struct session *s)
{
	return keypair_cipher(&s->keypairs.current);
}

void session_peer_timestamp(const struct session *s, uint8_t out[static NOISE_TIMESTAMP_LEN])
{
	memcpy(out, s->peer_timestamp, NOISE_TIMESTAMP_LEN);
}

void session_restore_peer_timestamp(struct session *s, const uint8_t ts[static NOISE_TIMESTAMP_LEN])
{
	memcpy(s->peer_timestamp, ts, NOISE_TIMESTAMP_LEN);
}
