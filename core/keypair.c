#include "core/keypair.h"

#include <errno.h>

#include "core/bytes.h"

enum { OFF_RECEIVER = 4, OFF_COUNTER = 8 };

static void drop(struct keypairs *k, struct keypair *kp)
{
	if (kp->valid)
		session_index_remove(k->index, kp->local_index);
	crypto_wipe(kp, sizeof *kp);
}

/* `to` is dropped, `from` left empty. */
static void move(struct keypairs *k, struct keypair *to, struct keypair *from)
{
	drop(k, to);
	*to = *from;
	crypto_wipe(from, sizeof *from);
}

void keypairs_add_initiated(struct keypairs *k, const struct keypair *fresh)
{
	if (k->next.valid) {
		move(k, &k->previous, &k->next);
		drop(k, &k->current);
	} else {
		move(k, &k->previous, &k->current);
	}
	k->current = *fresh;
}

void keypairs_add_answered(struct keypairs *k, const struct keypair *fresh)
{
	drop(k, &k->previous);
	drop(k, &k->next);
	k->next = *fresh;
}

void keypairs_confirm(struct keypairs *k)
{
	move(k, &k->previous, &k->current);
	move(k, &k->current, &k->next);
}

void keypairs_clear(struct keypairs *k)
{
	drop(k, &k->previous);
	drop(k, &k->current);
	drop(k, &k->next);
}

struct keypair *keypairs_find(struct keypairs *k, uint32_t local_index)
{
	struct keypair *slots[] = { &k->current, &k->next, &k->previous };

	for (size_t i = 0; i < 3; i++)
		if (slots[i]->valid && slots[i]->local_index == local_index)
			return slots[i];
	return NULL;
}

bool keypair_can_send(const struct keypair *kp, uint64_t now_ms)
{
	return kp->valid && now_ms - kp->created_ms < KEYPAIR_REJECT_AFTER_MS - KEYPAIR_SEND_MARGIN_MS &&
	       kp->send_counter < KEYPAIR_REJECT_AFTER_MESSAGES;
}

size_t keypair_seal(struct keypair *kp, uint8_t *data, size_t len)
{
	uint8_t *msg = data - WG_DATA_HEADER;
	uint64_t counter = kp->send_counter++;

	store_le32(msg, WG_DATA);
	store_le32(msg + OFF_RECEIVER, kp->remote_index);
	store_le64(msg + OFF_COUNTER, counter);
	crypto_chacha_seal(data, data, len, NULL, 0, counter, kp->keys.send);
	return len + WG_DATA_OVERHEAD;
}

int keypair_open(struct keypair *kp, uint8_t *msg, size_t len, uint64_t now_ms)
{
	uint64_t counter = load_le64(msg + OFF_COUNTER);
	uint8_t *data = msg + WG_DATA_HEADER;

	if (now_ms - kp->created_ms >= KEYPAIR_REJECT_AFTER_MS || counter >= KEYPAIR_REJECT_AFTER_MESSAGES)
		return -EKEYEXPIRED;
	if (crypto_chacha_open(data, data, len - WG_DATA_HEADER, NULL, 0, counter, kp->keys.receive) < 0)
		return -EBADMSG;
	return replay_accept(&kp->replay, counter, KEYPAIR_REJECT_AFTER_MESSAGES) ? 0 : -EALREADY;
}
