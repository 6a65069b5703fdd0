/* Superframes out. Read, grouped by destination, split, sealed, sent: each group costs one call of the engine, all trains
 * of a wake-up one system call. */
#include "apps/p2pd/lane_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "core/ip.h"
#include "relay/relay_client.h"

enum { ALIGNMENT = 64, ROUNDS = 4 /* reads of many frames a wake-up: then what came in gets its turn */ };

/* ---- sending */

/* The socket for the next train that is to go; NULL: there is none. */
static struct udp_socket *socket_of(struct lane *l, const struct lane_out *o)
{
	struct udp_socket *s = o->train.addr.family == ADDR_V6 ? l->config.udp6 : l->config.udp4;

	if (o->socket)
		s = shell_sockets_find(l->config.extra, o->socket);
	return s && udp_is_open(s) ? s : NULL;
}

/* Trains from `l->sent` on that go by the same socket, side by side for the call. */
static unsigned collect(const struct lane *l, struct udp_train *list)
{
	const struct lane_out *first = &l->trains[l->sent];
	unsigned n = 0;

	for (unsigned i = l->sent; i < l->train_count; i++) {
		const struct lane_out *o = &l->trains[i];
		if (o->socket != first->socket || o->link_session ||
		    o->train.addr.family != first->train.addr.family)
			break;
		list[n++] = o->train;
	}
	return n;
}

/* False when the kernel takes no more of them now. */
static bool send_some(struct lane *l)
{
	struct udp_train list[LANE_TRAINS];
	unsigned n = collect(l, list), done = n;
	bool extra = l->trains[l->sent].socket;

	if (extra)
		lane_lock(l, 0);
	struct udp_socket *s = socket_of(l, &l->trains[l->sent]);
	if (s)
		done = udp_send_trains(s, list, n);
	if (extra)
		lane_unlock(l);
	/* An extra socket may be closed before it is writable: what it does not take is lost, as on any network. */
	l->sent += extra ? n : done;
	l->blocked = done < n && !extra ? s : NULL;
	if (l->blocked)
		l->trains[l->sent].train = list[done]; /* may be sent in part */
	return !l->blocked;
}

/* The main loop carries it on. What does not fit into the queue is lost, as on any network: to hold the TUN queue back
 * would make peers that are reached otherwise wait for a slow hub. */
static bool send_run(struct lane *l)
{
	const struct lane_out *o = &l->trains[l->sent++];

	lane_lock(l, 0);
	engine_link_run(l->config.engine, o->train.data, o->train.len);
	lane_unlock(l);
	l->linked = true;
	return true;
}

static void send_all(struct lane *l)
{
	while (l->sent < l->train_count)
		if (!(l->trains[l->sent].link_session ? send_run(l) : send_some(l)))
			return;
	l->train_count = l->sent = 0;
	l->used = 0;
}

/* Room is needed at once: what the kernel does not take is lost, as on any network. */
static void make_room(struct lane *l)
{
	send_all(l);
	l->train_count = l->sent = 0;
	l->used = 0;
	l->blocked = NULL;
}

/* ---- sealing */

static uint32_t link_session(const struct engine_target *to)
{
	return to->by_link ? to->relay_session : 0;
}

static bool joins(const struct lane_out *o, const struct engine_target *to, size_t len)
{
	size_t most = to->by_link ? (size_t)RELAY_RUN_MAX : (size_t)UDP_TRAIN_BYTES;

	return !to->singly && !o->ended && o->socket == to->socket && len <= o->train.stride &&
	       o->count < UDP_TRAIN_SEGMENTS && o->train.len + len <= most &&
	       o->link_session == link_session(to) && addr_equal(&o->train.addr, &to->addr);
}

/* Where the first `len` bytes of a new one are written. */
static uint8_t *begin_train(struct lane *l, const struct engine_target *to, size_t len)
{
	size_t header = to->by_link ? RELAY_RUN_HEADER : 0;
	uint8_t *at = l->out + l->used;

	l->trains[l->train_count++] = (struct lane_out) {
		.train = { .data = at, .len = header + len, .stride = len, .addr = to->addr },
		.socket = to->socket,
		.link_session = link_session(to),
		.count = 1,
	};
	if (header)
		relay_client_run_header(at, to->relay_session, len);
	l->used += header + len;
	return at + header;
}

/* Where the next `len` bytes for `to` are written. */
static uint8_t *append(struct lane *l, const struct engine_target *to, size_t len)
{
	struct lane_out *last = l->train_count ? &l->trains[l->train_count - 1] : NULL;

	if (l->used + RELAY_RUN_HEADER + len > LANE_OUT ||
	    (l->train_count == LANE_TRAINS && !joins(last, to, len))) {
		make_room(l);
		last = NULL;
	}
	if (!last || !joins(last, to, len))
		return begin_train(l, to, len);
	uint8_t *at = l->out + l->used;
	l->used += len;
	last->ended = len < last->train.stride;
	last->train.len += len;
	last->count++;
	return at;
}

static void seal(struct lane *l, struct engine_out *out, const uint8_t *packet, size_t len)
{
	size_t header = out->to.relay_session && !out->to.by_link ? RELAY_HEADER : 0;
	uint8_t *at = append(l, &out->to, header + sealer_length(&out->sealer, len));

	if (header)
		relay_client_header(at, out->to.relay_session);
	sealer_seal(&out->sealer, at + header, packet, len);
}

static void seal_split(struct lane *l, struct engine_out *out, struct offload_split *split)
{
	bool unsummed = out->sealer.cipher == CIPHER_AEGIS256 && offload_split_leave_sums(split);
	uint8_t *packet;
	size_t len;

	while ((packet = offload_split_next(split, &len))) {
		if (unsummed)
			packet[0] |= SEALER_UNSUMMED;
		seal(l, out, packet, len);
	}
}

/* ---- the way by the engine's queues */

static void send_singly(struct lane *l, const uint8_t *packet, size_t len, uint64_t now_ms)
{
	struct engine *e = l->config.engine;
	struct pkt *p;

	now_ms = lane_lock(l, now_ms);
	p = pkt_get(e->config.pool);
	if (p) {
		memcpy(pkt_data(p), packet, len);
		p->len = (uint32_t)len;
		engine_on_tun(e, p, now_ms);
		lane_drain(l);
	} else {
		e->drops.no_buffer++;
	}
	lane_unlock(l);
}

static void send_split_singly(struct lane *l, struct offload_split *split, uint64_t now_ms)
{
	uint8_t *packet;
	size_t len;

	while ((packet = offload_split_next(split, &len)))
		send_singly(l, packet, len, now_ms);
}

/* ---- groups */

static void burst_of(const struct lane_frame *f, unsigned n, bool one_flow, struct engine_burst *b)
{
	*b = (struct engine_burst) { .ip = &f->ip, .packet = f->packet, .one_flow = one_flow };
	for (unsigned i = 0; i < n; i++) {
		size_t largest = offload_split_largest(&f[i].split);
		b->count += offload_split_count(&f[i].split);
		b->bytes += f[i].len;
		b->largest = largest > b->largest ? largest : b->largest;
	}
}

static void send_flows(struct lane *l, struct lane_frame *f, unsigned n, uint64_t now_ms);

/* The n frames from f on, which have one destination. */
static void send_group(struct lane *l, struct lane_frame *f, unsigned n, bool one_flow, uint64_t now_ms)
{
	struct engine_burst burst;
	struct engine_out out;
	int rc;

	burst_of(f, n, one_flow, &burst);
	now_ms = lane_lock(l, now_ms);
	rc = engine_out_begin(l->config.engine, &burst, now_ms, &out);
	lane_drain(l);
	lane_unlock(l);
	if (rc == -EXDEV) {
		send_flows(l, f, n, now_ms);
		return;
	}
	/* What goes one by one goes at once, and not before what the same flow had in the groups before. */
	if (rc == -EAGAIN)
		send_all(l);
	for (unsigned i = 0; i < n && rc != -EHOSTUNREACH; i++)
		if (rc)
			send_split_singly(l, &f[i].split, now_ms);
		else
			seal_split(l, &out, &f[i].split);
	if (!rc)
		crypto_wipe(&out.sealer, sizeof out.sealer);
}

/* As far as it is seen at a glance: addresses, protocol and ports of packets without options and extension headers. */
static bool same_flow(const struct lane_frame *a, const struct lane_frame *b)
{
	bool v4 = a->ip.family == ADDR_V4;
	size_t header = v4 ? 20 : 40, proto = v4 ? 9 : 6;
	uint8_t p = a->packet[proto];

	if (a->packet[0] != b->packet[0] || (v4 && a->packet[0] != 0x45) || p != b->packet[proto] ||
	    (p != IPPROTO_TCP && p != IPPROTO_UDP) || a->len < header + 4 || b->len < header + 4)
		return false;
	if (v4 && ((a->packet[6] | b->packet[6]) & 0x3f || a->packet[7] | b->packet[7]))
		return false; /* fragments */
	return ip_same(a->ip.family, a->ip.src, b->ip.src) &&
	       !memcmp(a->packet + header, b->packet + header, 4);
}

/* Those of one destination, each flow alone: its ports say where it goes. */
static void send_flows(struct lane *l, struct lane_frame *f, unsigned n, uint64_t now_ms)
{
	unsigned end;

	for (unsigned i = 0; i < n; i = end) {
		for (end = i + 1; end < n; end++)
			if (!same_flow(&f[i], &f[end]))
				break;
		send_group(l, &f[i], end - i, true, now_ms);
	}
}

static bool same_destination(const struct ip_view *a, const struct ip_view *b)
{
	return a->family == b->family && ip_same(a->family, a->dst, b->dst);
}

/* ---- reading */

/* Reads frame n to `at`. Its length, 0 for one that is none, -EAGAIN, or another negative errno. */
static ssize_t read_frame(struct lane *l, unsigned n, uint8_t *at)
{
	struct lane_frame *f = &l->frames[n];
	ssize_t len = tun_read(l->config.tun, l->config.queue, f->vnet, at, LANE_FRAME_MAX);

	if (len == -EINVAL)
		len = 0;
	if (len < 0)
		return len;
	f->packet = at;
	f->len = (size_t)len;
	if (ip_parse(&f->ip, at, f->len) && offload_split_begin(&f->split, f->vnet, at, f->len) == 0)
		return len;
	lane_lock(l, 0);
	l->config.engine->drops.malformed++;
	lane_unlock(l);
	return 0;
}

/* How many frames were read, or a negative errno; `*drained`: there are no more. */
static int read_frames(struct lane *l, bool *drained)
{
	size_t at = 0;
	unsigned n = 0;

	for (unsigned tries = 0; tries < LANE_FRAMES && at < LANE_READ; tries++) {
		ssize_t len = read_frame(l, n, l->in + at);
		*drained = len == -EAGAIN;
		if (*drained || len == -EINTR)
			break;
		if (len < 0)
			return (int)len;
		n += len > 0;
		at += ((size_t)len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	return (int)n;
}

static void send_frames(struct lane *l, unsigned n, uint64_t now_ms)
{
	unsigned end;

	for (unsigned i = 0; i < n; i = end) {
		for (end = i + 1; end < n; end++)
			if (!same_destination(&l->frames[i].ip, &l->frames[end].ip))
				break;
		send_group(l, &l->frames[i], end - i, end - i == 1, now_ms);
	}
	send_all(l);
}

int lane_on_tun(struct lane *l, uint64_t now_ms)
{
	bool drained = false;

	if (l->in_used)
		lane_flush(l, now_ms);
	l->linked = false;
	/* What is for the link fills a queue that is carried away between calls. */
	for (int round = 0; round < ROUNDS && !l->blocked && !l->linked && !drained; round++) {
		int n = read_frames(l, &drained);
		if (n < 0)
			return n;
		send_frames(l, (unsigned)n, now_ms);
	}
	return 0;
}

struct udp_socket *lane_blocked(const struct lane *l)
{
	return l->blocked;
}

/* A socket that has room and yet takes nothing has another reason, and that may last: what is next is given up, lest all
 * else waits for it. */
void lane_resume(struct lane *l)
{
	const unsigned next = l->sent;
	const size_t left = l->trains[next].train.len;

	l->blocked = NULL;
	send_all(l);
	if (!l->blocked || l->sent != next || l->trains[next].train.len != left)
		return;
	l->sent++;
	l->blocked = NULL;
	send_all(l);
}
