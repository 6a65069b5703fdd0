/* Trains in: opened, checked by the engine in runs, merged across all that one system call brought. */
#include "apps/p2pd/lane_impl.h"

#include <string.h>

#include "core/bytes.h"
#include "relay/relay_frame.h"

/* ---- to the TUN device */

static void write_frames(struct lane *l)
{
	struct tun_device *tun = l->config.tun;

	for (unsigned i = 0; i < offload_merge_count(&l->merge); i++) {
		int count;
		const struct iovec *iov = offload_merge_frame(&l->merge, i, &count);
		tun_write(tun, l->config.queue, iov, count);
	}
	offload_merge_reset(&l->merge, tun->offload >= TUN_TSO, tun->offload >= TUN_USO);
}

static void merge(struct lane *l, const struct opened *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct opened *o = &list[i];
		if (!o->data || offload_merge_add(&l->merge, o->data, o->len, o->unsummed))
			continue;
		write_frames(l);
		offload_merge_add(&l->merge, o->data, o->len, o->unsummed);
	}
}

/* ---- runs */

static void accept_run(struct lane *l, uint64_t now_ms)
{
	struct lane_run *run = &l->run;

	if (!run->count && !run->in.failed)
		return;
	now_ms = lane_lock(l, now_ms);
	engine_in_end(l->config.engine, &run->in, run->list, run->count, now_ms);
	lane_drain(l);
	lane_unlock(l);
	merge(l, run->list, run->count);
	run->count = run->in.failed = 0;
}

static void end_run(struct lane *l, uint64_t now_ms)
{
	if (!l->run.open)
		return;
	accept_run(l, now_ms);
	crypto_wipe(&l->run.opener, sizeof l->run.opener);
	l->run.open = false;
}

static bool continues(const struct lane_run *run, uint32_t receiver, const struct engine_origin *origin)
{
	return run->open && run->in.receiver == receiver && run->in.origin.socket == origin->socket &&
	       run->in.origin.relay_session == origin->relay_session &&
	       run->in.origin.by_link == origin->by_link && addr_equal(&run->in.origin.from, &origin->from);
}

static void begin_run(struct lane *l, uint32_t receiver, const struct engine_origin *origin, uint64_t now_ms)
{
	struct lane_run *run = &l->run;

	end_run(l, now_ms);
	run->open = true;
	run->in = (struct engine_in) { .receiver = receiver, .origin = *origin };
	now_ms = lane_lock(l, now_ms);
	run->refused = engine_in_begin(l->config.engine, &run->in, now_ms, &run->opener) < 0;
	lane_unlock(l);
}

/* ---- messages */

/* As it came: with a header of the relay, if there was one. */
static struct pkt *packet_of(struct lane *l, const uint8_t *msg, size_t len)
{
	struct pkt *p = pkt_get(l->config.engine->config.pool);

	if (!p) {
		l->config.engine->drops.no_buffer++;
		return NULL;
	}
	memcpy(pkt_data(p), msg, len);
	p->len = (uint32_t)len;
	return p;
}

static void hand_over(struct lane *l, uint32_t socket, const struct udp_train *t, const uint8_t *msg,
		      size_t len, uint64_t now_ms)
{
	struct pkt *p;

	end_run(l, now_ms);
	now_ms = lane_lock(l, now_ms);
	p = packet_of(l, msg, len);
	if (p) {
		p->addr = t->addr;
		p->local = t->local;
		p->socket = socket;
		engine_on_datagram(l->config.engine, p, now_ms);
		lane_drain(l);
	}
	lane_unlock(l);
}

static void hand_over_linked(struct lane *l, uint32_t session, const uint8_t *msg, size_t len,
			     uint64_t now_ms)
{
	struct pkt *p;

	end_run(l, now_ms);
	now_ms = lane_lock(l, now_ms);
	p = packet_of(l, msg, len);
	if (p) {
		engine_on_link_datagram(l->config.engine, p, session, now_ms);
		lane_drain(l);
	}
	lane_unlock(l);
}

/* A data message, for `receiver`. */
static void on_data(struct lane *l, uint32_t receiver, const struct engine_origin *origin, uint8_t *msg,
		    size_t len, uint64_t now_ms)
{
	struct lane_run *run = &l->run;

	if (!continues(run, receiver, origin))
		begin_run(l, receiver, origin, now_ms);
	if (run->refused)
		return;
	if (run->count == LANE_RUN)
		accept_run(l, now_ms);
	if (opener_open(&run->opener, msg, len, &run->list[run->count]) < 0)
		run->in.failed++;
	else
		run->count++;
}

static void on_message(struct lane *l, uint32_t socket, const struct udp_train *t, uint8_t *msg, size_t len,
		       uint64_t now_ms)
{
	struct engine_origin origin = { .from = t->addr, .socket = socket };
	size_t header = 0;
	uint32_t receiver;

	if (len > RELAY_HEADER && load_le32(msg) == RELAY_DATA) {
		origin.relay_session = load_le32(msg + 4);
		origin.socket = 0;
		header = RELAY_HEADER;
	}
	if ((header && !origin.relay_session) || !opener_is_data(msg + header, len - header, &receiver))
		hand_over(l, socket, t, msg, len, now_ms);
	else
		on_data(l, receiver, &origin, msg + header, len - header, now_ms);
}

void lane_on_train(struct lane *l, uint32_t socket, const struct udp_train *t, uint64_t now_ms)
{
	size_t at = 0, len;

	do {
		len = t->len - at < t->stride ? t->len - at : t->stride;
		on_message(l, socket, t, t->data + at, len, now_ms);
		at += len;
	} while (at < t->len);
}

/* The memory that the TUN queue is read to is free until then, and messages are opened in place. A superframe comes as
 * several runs, which are to leave as one: so they wait there for lane_flush(). */
static void on_run(struct lane *l, const struct addr *hub, const struct relay_frame *run, uint64_t now_ms)
{
	const struct engine_origin origin = { .from = *hub, .relay_session = run->session, .by_link = true };
	uint32_t receiver;
	size_t len;

	if (l->in_used + run->len > sizeof l->in)
		lane_flush(l, now_ms);
	uint8_t *data = l->in + l->in_used;
	memcpy(data, run->data, run->len);
	l->in_used += run->len;
	for (size_t at = 0; at < run->len; at += len) {
		len = run->len - at < run->stride ? run->len - at : run->stride;
		if (opener_is_data(data + at, len, &receiver))
			on_data(l, receiver, &origin, data + at, len, now_ms);
		else
			hand_over_linked(l, run->session, data + at, len, now_ms);
	}
}

void lane_on_run(struct lane *l, const struct addr *hub, const uint8_t *msg, size_t len, uint64_t now_ms)
{
	struct relay_frame run;

	if (relay_frame_read(&run, msg, len) && run.session) {
		on_run(l, hub, &run, now_ms);
		return;
	}
	lane_lock(l, now_ms);
	l->config.engine->drops.malformed++;
	lane_unlock(l);
}

void lane_flush(struct lane *l, uint64_t now_ms)
{
	end_run(l, now_ms);
	write_frames(l);
	l->in_used = 0;
}
