#include "nat/offer.h"

#include "core/bytes.h"
#include "nat/budget.h"

enum { FLAG_READY = 1, FLAG_ROTATED = 2, FLAG_ALLOWS_HARD = 4 };

void offer_write(const struct offer *o, uint8_t out[static OFFER_WIRE])
{
	struct writer w = writer_over(out, OFFER_WIRE);
	unsigned flags = (o->ready ? FLAG_READY : 0) | (o->rotated ? FLAG_ROTATED : 0) |
			 (o->side.allows_hard ? FLAG_ALLOWS_HARD : 0);

	write_le16(&w, o->attempt);
	write_le16(&w, o->heard);
	write_u8(&w, (uint8_t)flags);
	write_u8(&w, o->round);
	write_le16(&w, o->side.max_sockets);
	write_le16(&w, o->base);
	addr_write(&w, &o->endpoint);
	verdict_write(&w, &o->side.nat);
}

static bool is_port(uint16_t port)
{
	return port == 0 || port >= BUDGET_MIN_PORT;
}

static bool makes_sense(const struct offer *o)
{
	const struct addr *to = &o->endpoint, *ip = &o->side.nat.public_ip;

	if (!o->attempt || !is_port(o->base))
		return false;
	if (to->family && (addr_is_unusable(to) || !is_port(to->port)))
		return false;
	/* Its port is 0, which alone would make it unusable. */
	struct addr with_port = *ip;
	with_port.port = 1;
	return !ip->family || !addr_is_unusable(&with_port);
}

bool offer_read(struct offer *o, const uint8_t *msg, size_t len)
{
	struct reader r = reader_over(msg, len);

	*o = (struct offer) { .attempt = read_le16(&r) };
	o->heard = read_le16(&r);
	uint8_t flags = read_u8(&r);
	o->ready = flags & FLAG_READY;
	o->rotated = flags & FLAG_ROTATED;
	o->side.allows_hard = flags & FLAG_ALLOWS_HARD;
	o->round = read_u8(&r);
	o->side.max_sockets = read_le16(&r);
	o->base = read_le16(&r);
	o->endpoint = addr_read(&r);
	o->side.nat = verdict_read(&r);
	return !r.bad && makes_sense(o);
}
