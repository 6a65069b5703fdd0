/* A cable between two network namespaces, with the faults of a real one: delay, jitter, loss, reordering, frames that come
 * twice or with a wrong bit, a rate with a bounded queue, and a cut. For kernels without netem.
 *
 *   linkem NS:IF NS:IF CONTROL [SETTING...]     lays the cable: makes a TAP device at each end, moves frames between
 *   linkem ctl CONTROL SETTING...               changes a laid cable; returns when the change is in force
 *
 * A setting is [a.|b.]KEY=VALUE, for the frames that come from the first (a) or the second end (b), or both:
 *   delay, jitter, queue  milliseconds (fractions allowed); jitter never changes the order
 *   loss, reorder         per cent; a reordered frame overtakes those that are under way
 *   duplicate             per cent; the copy comes right behind
 *   corrupt               per cent of UDP datagrams: a bit of what they carry is turned over, and since the checksum is not
 *                         made before the far end, only the two who talk can find out
 *   breaks                1: of a train of UDP datagrams (UDP_SEGMENT) only the first arrives as it was sent, like by the
 *                         network cards that some kernels drive wrongly; counted as corrupted, too
 *   rate                  Mbit/s, 0 for no limit; what would wait longer than `queue` is dropped
 *   mtu                   bytes of an IP packet; a larger one is dropped without a word; 0 for no limit
 *   cut                   1: nothing passes, 0: restored
 *   seed                  of all that is random
 * and the word `stats` answers with the counters. CONTROL is the path of a unix socket.
 *
 * The devices carry offloads: with nothing set but delay, breaks and cut a frame may be a 64 KB superframe. Else the kernel cuts
 * frames to the MTU first. Both devices vanish with the process, and the process with its parent. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/crypto.h"
#include "tun/vnet.h"

enum {
	FRAME_MAX = 10 + 18 + 65535, /* virtio header, Ethernet with a VLAN tag, the largest IP packet */
	FRAME_HEADERS = 10 + 14,
	UDP_HEADER = 8,
	OFFLOAD_USO = 0x20 | 0x40, /* TUN_F_USO4, TUN_F_USO6: Linux 6.2 and newer */
	IP4_PROTOCOL = FRAME_HEADERS + 9,
	IP6_NEXT = FRAME_HEADERS + 6,
	IP4_UDP_DATA = FRAME_HEADERS + 20 + 8,
	IP6_UDP_DATA = FRAME_HEADERS + 40 + 8,
	WIRE_BYTES = 64 << 20, /* under way in one direction; only what is used costs memory */
	READS_PER_TURN = 64,
	PPM = 1000000,
	REPLY_MAX = 256,
};

struct settings {
	uint64_t delay_ns, jitter_ns, queue_ns;
	uint64_t rate_kbit;
	uint32_t loss_ppm, reorder_ppm, duplicate_ppm, corrupt_ppm;
	uint32_t mtu;
	bool cut, breaks;
};

struct frame {
	uint64_t due_ns;
	uint32_t len; /* 0: the rest of the ring is unused, go on at its start */
	uint32_t unused;
};

/* One direction. Frames under way lie in a ring in the order of their due times. */
struct wire {
	int from, to;
	struct settings set;
	uint8_t *ring;
	size_t head, tail, used;
	uint64_t last_due_ns, idle_at_ns;
	uint64_t frames, bytes, dropped, duplicated, corrupted;
};

struct cable {
	struct wire wires[2];
	struct rng rng;
	int control;
};

static uint64_t clock_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "linkem: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- The ring */

static size_t slot_len(size_t len)
{
	return sizeof(struct frame) + ((len + 7) & ~(size_t)7);
}

static bool ring_push(struct wire *w, uint64_t due_ns, const uint8_t *data, size_t len)
{
	size_t need = slot_len(len), rest = WIRE_BYTES - w->tail;
	struct frame *f = (struct frame *)(void *)(w->ring + w->tail);

	if (rest < need + sizeof *f) {
		if (w->used + rest + need > WIRE_BYTES)
			return false;
		f->len = 0;
		w->used += rest;
		w->tail = 0;
		f = (struct frame *)(void *)w->ring;
	} else if (w->used + need > WIRE_BYTES) {
		return false;
	}
	*f = (struct frame) { .due_ns = due_ns, .len = (uint32_t)len };
	memcpy(f + 1, data, len);
	w->tail += need;
	w->used += need;
	return true;
}

static struct frame *ring_first(struct wire *w)
{
	if (w->used == 0)
		return NULL;
	struct frame *f = (struct frame *)(void *)(w->ring + w->head);
	if (f->len == 0) {
		w->used -= WIRE_BYTES - w->head;
		w->head = 0;
		f = (struct frame *)(void *)w->ring;
	}
	return f;
}

static void ring_pop(struct wire *w)
{
	struct frame *f = ring_first(w);
	size_t n = slot_len(f->len);
	w->head += n;
	w->used -= n;
}

/* --- Frames */

static void deliver(struct wire *w, const uint8_t *data, size_t len)
{
	if (!w->set.cut && write(w->to, data, len) == (ssize_t)len) {
		w->frames++;
		w->bytes += len;
	} else {
		w->dropped++;
	}
}

static bool chance(struct rng *rng, uint32_t ppm)
{
	return ppm && rng_below(rng, PPM) < ppm;
}

/* When the last bit of the frame has left this end; 0 when the queue is too long for it. */
static uint64_t sent_at(struct wire *w, size_t len, uint64_t now)
{
	if (w->set.rate_kbit == 0)
		return now;
	uint64_t start = w->idle_at_ns > now ? w->idle_at_ns : now;
	if (start - now > w->set.queue_ns)
		return 0;
	w->idle_at_ns = start + len * 8 * 1000000 / w->set.rate_kbit;
	return w->idle_at_ns;
}

static bool swallows(const struct settings *s, struct rng *rng, size_t len)
{
	return s->cut || (s->mtu && len > s->mtu + FRAME_HEADERS) || chance(rng, s->loss_ppm);
}

static void corrupt(struct wire *w, struct rng *rng, uint8_t *frame, size_t len)
{
	bool v6 = frame[FRAME_HEADERS] >> 4 == 6;
	size_t from = v6 ? IP6_UDP_DATA : IP4_UDP_DATA;

	if (len <= from || frame[v6 ? IP6_NEXT : IP4_PROTOCOL] != IPPROTO_UDP ||
	    !chance(rng, w->set.corrupt_ppm))
		return;
	frame[from + rng_below(rng, (uint32_t)(len - from))] ^= (uint8_t)(1U << rng_below(rng, 8));
	w->corrupted++;
}

/* The last byte of each datagram after the first: whatever seals it ends with its tag. */
static void break_train(struct wire *w, uint8_t *frame, size_t len)
{
	struct vnet v = vnet_load(frame);
	size_t end = VNET_LEN + v.csum_start + UDP_HEADER + v.gso_size;

	if (!w->set.breaks || v.gso_type != VNET_GSO_UDP || !v.gso_size)
		return;
	while (end < len) {
		end = len - end < v.gso_size ? len : end + v.gso_size;
		frame[end - 1] ^= 1;
		w->corrupted++;
	}
}

static void admit(struct wire *w, struct rng *rng, const uint8_t *data, size_t len, uint64_t now)
{
	uint64_t due = swallows(&w->set, rng, len) ? 0 : sent_at(w, len, now);

	if (due == 0) {
		w->dropped++;
		return;
	}
	if (chance(rng, w->set.reorder_ppm)) {
		deliver(w, data, len);
		return;
	}
	due += w->set.delay_ns;
	if (w->set.jitter_ns)
		due += rng_below(rng, (uint32_t)w->set.jitter_ns);
	if (due < w->last_due_ns)
		due = w->last_due_ns;
	w->last_due_ns = due;
	if (due <= now && w->used == 0)
		deliver(w, data, len);
	else if (!ring_push(w, due, data, len))
		w->dropped++;
}

static void take_in(struct wire *w, struct rng *rng)
{
	static uint8_t buf[FRAME_MAX];

	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = read(w->from, buf, sizeof buf);
		if (n <= 0)
			return;
		corrupt(w, rng, buf, (size_t)n);
		break_train(w, buf, (size_t)n);
		admit(w, rng, buf, (size_t)n, clock_ns());
		if (chance(rng, w->set.duplicate_ppm)) {
			w->duplicated++;
			admit(w, rng, buf, (size_t)n, clock_ns());
		}
	}
}

static void let_out(struct wire *w)
{
	struct frame *f;

	while ((f = ring_first(w)) && f->due_ns <= clock_ns()) {
		deliver(w, (const uint8_t *)(f + 1), f->len);
		ring_pop(w);
	}
}

/* --- Settings */

/* What one frame does to the others must be per packet, as on a real cable: then no superframes. */
static void choose_offloads(const struct wire *w)
{
	const struct settings *s = &w->set;
	bool whole = !s->loss_ppm && !s->reorder_ppm && !s->duplicate_ppm && !s->corrupt_ppm &&
		     !s->rate_kbit && !s->jitter_ns && !s->mtu;
	unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
	/* Only where trains matter: a rule on the length of packets sees that of the train. */
	if (whole && s->breaks && ioctl(w->from, TUNSETOFFLOAD, tso | OFFLOAD_USO) == 0)
		return;
	if (ioctl(w->from, TUNSETOFFLOAD, whole ? tso : TUN_F_CSUM) < 0)
		die("TUNSETOFFLOAD");
}

static bool set_one(struct settings *s, const char *key, double v)
{
	if (strcmp(key, "delay") == 0)
		s->delay_ns = (uint64_t)(v * 1e6);
	else if (strcmp(key, "jitter") == 0)
		s->jitter_ns = (uint64_t)(v * 1e6);
	else if (strcmp(key, "queue") == 0)
		s->queue_ns = (uint64_t)(v * 1e6);
	else if (strcmp(key, "rate") == 0)
		s->rate_kbit = (uint64_t)(v * 1e3);
	else if (strcmp(key, "loss") == 0)
		s->loss_ppm = (uint32_t)(v * (PPM / 100.0));
	else if (strcmp(key, "reorder") == 0)
		s->reorder_ppm = (uint32_t)(v * (PPM / 100.0));
	else if (strcmp(key, "duplicate") == 0)
		s->duplicate_ppm = (uint32_t)(v * (PPM / 100.0));
	else if (strcmp(key, "corrupt") == 0)
		s->corrupt_ppm = (uint32_t)(v * (PPM / 100.0));
	else if (strcmp(key, "mtu") == 0)
		s->mtu = (uint32_t)v;
	else if (strcmp(key, "breaks") == 0)
		s->breaks = v != 0;
	else if (strcmp(key, "cut") == 0)
		s->cut = v != 0;
	else
		return false;
	return true;
}

/* True if `word` was understood and is in force. */
static bool apply(struct cable *c, const char *word)
{
	char key[16], *end;
	unsigned first = 0, last = 1;

	if (word[0] && word[1] == '.' && (word[0] == 'a' || word[0] == 'b')) {
		first = last = word[0] == 'b';
		word += 2;
	}
	size_t n = strcspn(word, "=");
	if (n >= sizeof key || word[n] != '=')
		return false;
	memcpy(key, word, n);
	key[n] = 0;
	double v = strtod(word + n + 1, &end);
	if (*end || end == word + n + 1 || !(v >= 0 && v <= 4000))
		return false;
	if (strcmp(key, "seed") == 0) {
		rng_init_seed(&c->rng, (uint64_t)v);
		return true;
	}
	for (unsigned i = first; i <= last; i++) {
		if (!set_one(&c->wires[i].set, key, v))
			return false;
		choose_offloads(&c->wires[i]);
	}
	return true;
}

static void describe(const struct cable *c, char out[REPLY_MAX])
{
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		const struct wire *w = &c->wires[i];
		char end = (char)('a' + i);
		n += (size_t)snprintf(
			out + n, REPLY_MAX - n,
			"%s%c.frames=%lu %c.bytes=%lu %c.dropped=%lu %c.duplicated=%lu %c.corrupted=%lu",
			i ? " " : "", end, w->frames, end, w->bytes, end, w->dropped, end, w->duplicated, end,
			w->corrupted);
	}
}

static void serve(struct cable *c)
{
	char words[1024], reply[REPLY_MAX] = "ok", *save = NULL;
	int fd = accept4(c->control, NULL, NULL, SOCK_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : recv(fd, words, sizeof words - 1, 0);

	if (n >= 0) {
		words[n] = 0;
		for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
			if (strcmp(w, "stats") == 0)
				describe(c, reply);
			else if (!apply(c, w))
				snprintf(reply, sizeof reply, "error: bad setting %.64s", w);
		}
		(void)!send(fd, reply, strlen(reply), MSG_NOSIGNAL);
	}
	if (fd >= 0)
		close(fd);
}

/* --- Set-up */

static struct sockaddr_un control_address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path) >= (int)sizeof sa.sun_path) {
		errno = ENAMETOOLONG;
		die(path);
	}
	return sa;
}

static int control_open(const char *path)
{
	struct sockaddr_un sa = control_address(path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 8) < 0)
		die(path);
	return fd;
}

static void enter_namespace(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "/run/netns/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(path);
	close(fd);
}

static int tap_open(const char *end)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	char ns[64];
	size_t n = strcspn(end, ":");

	if (n >= sizeof ns || end[n] != ':' || strlen(end + n + 1) >= IFNAMSIZ) {
		errno = EINVAL;
		die(end);
	}
	memcpy(ns, end, n);
	ns[n] = 0;
	enter_namespace(ns);
	strcpy(ifr.ifr_name, end + n + 1);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		die(end);
	return fd;
}

static void cable_lay(struct cable *c, const char *const ends[2])
{
	int fds[2];

	rng_init_seed(&c->rng, 1);
	for (int i = 0; i < 2; i++)
		fds[i] = tap_open(ends[i]);
	for (int i = 0; i < 2; i++) {
		struct wire *w = &c->wires[i];
		*w = (struct wire) { .from = fds[i], .to = fds[!i], .set.queue_ns = 100 * 1000000 };
		w->ring = mmap(NULL, WIRE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (w->ring == MAP_FAILED)
			die("mmap");
		choose_offloads(w);
	}
}

static void wait_for_work(struct cable *c, struct pollfd fds[3])
{
	uint64_t now = clock_ns(), next = UINT64_MAX;
	struct timespec ts;

	for (int i = 0; i < 2; i++) {
		struct frame *f = ring_first(&c->wires[i]);
		if (f && f->due_ns < next)
			next = f->due_ns;
	}
	uint64_t wait = next > now ? next - now : 0;
	ts.tv_sec = (time_t)(wait / 1000000000U);
	ts.tv_nsec = (long)(wait % 1000000000U);
	if (ppoll(fds, 3, next == UINT64_MAX ? NULL : &ts, NULL) < 0 && errno != EINTR)
		die("ppoll");
}

static void cable_run(struct cable *c)
{
	struct pollfd fds[3] = {
		{ .fd = c->wires[0].from, .events = POLLIN },
		{ .fd = c->wires[1].from, .events = POLLIN },
		{ .fd = c->control, .events = POLLIN },
	};
	for (;;) {
		wait_for_work(c, fds);
		for (int i = 0; i < 2; i++) {
			if (fds[i].revents)
				take_in(&c->wires[i], &c->rng);
			let_out(&c->wires[i]);
		}
		if (fds[2].revents)
			serve(c);
	}
}

static int ctl(const char *path, char **words)
{
	struct sockaddr_un sa = control_address(path);
	char request[1024] = "", reply[REPLY_MAX];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	for (; *words; words++) {
		strncat(request, *words, sizeof request - strlen(request) - 1);
		strncat(request, " ", sizeof request - strlen(request) - 1);
	}
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		die(path);
	ssize_t n = recv(fd, reply, sizeof reply - 1, 0);
	if (n <= 0)
		die(path);
	reply[n] = 0;
	if (strcmp(reply, "ok") != 0)
		puts(reply);
	return strncmp(reply, "error", 5) == 0;
}

int main(int argc, char **argv)
{
	static struct cable c;

	if (argc >= 4 && strcmp(argv[1], "ctl") == 0)
		return ctl(argv[2], argv + 3);
	if (argc < 4) {
		fprintf(stderr,
			"usage: linkem NS:IF NS:IF CONTROL [SETTING...] | linkem ctl CONTROL SETTING...\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1000);
	cable_lay(&c, (const char *const[]) { argv[1], argv[2] });
	for (int i = 4; i < argc; i++) {
		if (!apply(&c, argv[i])) {
			fprintf(stderr, "linkem: bad setting %s\n", argv[i]);
			return 2;
		}
	}
	c.control = control_open(argv[3]);
	cable_run(&c);
}
