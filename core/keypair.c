#include "core/keypair.h"

#include <errno.h>
#include <string.h>

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

static void derive_aegis(uint8_t out[static 32], const uint8_t key[static 32])
{
	static const char label[] = "p2pd1/aegis-256";

	crypto_blake2s(out, 32, key, 32, &(struct part) { label, sizeof label - 1 }, 1);
}

void keypair_open_aegis(struct keypair *kp)
{
	derive_aegis(kp->aegis.send, kp->keys.send);
	derive_aegis(kp->aegis.receive, kp->keys.receive);
	kp->opens_aegis = true;
}

bool keypair_can_send(const struct keypair *kp, uint64_t now_ms)
{
	return kp->valid && now_ms - kp->created_ms < KEYPAIR_REJECT_AFTER_MS - KEYPAIR_SEND_MARGIN_MS &&
	       kp->send_counter < KEYPAIR_REJECT_AFTER_MESSAGES;
}

bool keypair_can_open(const struct keypair *kp, uint64_t now_ms)
{
	return now_ms - kp->created_ms < KEYPAIR_REJECT_AFTER_MS;
}

enum cipher keypair_cipher(const struct keypair *kp)
{
	if (!kp->valid)
		return CIPHER_NONE;
	return kp->seals_aegis ? CIPHER_AEGIS256 : CIPHER_CHACHA20;
}

int keypair_sealer(struct keypair *kp, enum cipher cipher, unsigned count, size_t mtu, struct sealer *out)
{
	const struct noise_keys *keys = cipher == CIPHER_AEGIS256 ? &kp->aegis : &kp->keys;

	if (count > KEYPAIR_REJECT_AFTER_MESSAGES - kp->send_counter)
		return -EAGAIN;
	*out = (struct sealer) {
		.next = kp->send_counter,
		.end = kp->send_counter + count,
		.receiver = kp->remote_index,
		.cipher = cipher,
		.mtu = mtu,
	};
	memcpy(out->key, keys->send, sizeof out->key);
	kp->send_counter += count;
	return 0;
}

void keypair_opener(const struct keypair *kp, struct opener *out)
{
	out->has_aegis = kp->opens_aegis;
	memcpy(out->chacha, kp->keys.receive, sizeof out->chacha);
	memcpy(out->aegis, kp->aegis.receive, sizeof out->aegis);
}

bool keypair_accept(struct keypair *kp, uint64_t counter)
{
	bool is_new = replay_accept(&kp->replay, counter, KEYPAIR_REJECT_AFTER_MESSAGES);

	kp->accepted += is_new;
	return is_new;
}
