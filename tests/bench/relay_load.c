/* Loads a relay of UDP: many senders, each in a session of its own, to one receiver, both in this process. Of one
 * session a megabyte is under way, of many four datagrams each, and no more, so that what is counted is what the relay
 * forwards.
 *
 *   relay_load p2phub URL SESSIONS SIZE SECONDS [PID]           the nodes log in and bind as real ones do
 *   relay_load turn ADDRESS:PORT SESSIONS SIZE SECONDS [PID]    TURN without authentication (RFC 8656), by channels
 *
 * One session sends trains (UDP_SEGMENT), as our nodes do with bulk data; several send single datagrams by turns, 64 of
 * them a system call by a packet(7) socket, lest this program is what is measured. Prints a line of JSON. PID: the
 * relay's, whose CPU is told, too. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "core/addr.h"
#include "core/bytes.h"
#include "core/loop.h"
#include "relay/relay_client.h"
#include "tests/bench/load_member.h"
#include "tests/bench/load_samples.h"
#include "tun/checksum.h"

enum {
	SESSIONS_MAX = 4000,
	SIZE_MAX_HERE = 1400,
	HEADER_MAX = 8,
	TRAIN = 45,		/* datagrams; with 1,400 bytes nearly the 64 KB that there can be */
	WINDOW_BYTES = 1 << 20, /* under way */
	SESSION_WINDOW = 4,	/* datagrams of each of many sessions */
	RECEIVE = 64,		/* buffers */
	SEND = 64,		/* frames a system call */
	IP_UDP = 28,
	STUCK_US = 20000,
	SETUP_MS = 30000,
	BUFFER = 4 << 20,
};

/* A node: the even ones send, the odd ones receive. */
struct node {
	struct load_member self;
	struct hub_link *link;
	struct relay_client binding;
	bool welcomed, ready;
};

struct session {
	int fd;		       /* the sender's */
	uint8_t front[IP_UDP]; /* the headers of its frames */
	uint8_t header[HEADER_MAX];
	uint64_t delivered;
};

static struct session sessions[SESSIONS_MAX];
static struct node nodes[2 * SESSIONS_MAX];
static struct network networks[SESSIONS_MAX];
static unsigned session_count, size, ready;
static size_t header_len;
static int receiver, wire; /* packet(7), on the loopback device */
static struct sockaddr_ll loopback = { .sll_family = AF_PACKET };
static struct sockaddr_storage relay;
static unsigned relay_len;
static struct loop *loop;
static struct rng rng;

static void die(const char *what)
{
	fprintf(stderr, "relay_load: %s\n", what);
	exit(1);
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bytes = BUFFER;

	if (fd < 0)
		die("no more sockets");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	return fd;
}

/* --- By a hub of ours */

static int fd_of(const struct node *n)
{
	size_t i = (size_t)(n - nodes);

	return i % 2 ? receiver : sessions[i / 2].fd;
}

static void send_binding(struct node *n)
{
	uint8_t msg[RELAY_CLIENT_MESSAGE_MAX];
	size_t len = relay_client_next(&n->binding, loop_now_ms(), msg);

	if (len)
		sendto(fd_of(n), msg, len, 0, (struct sockaddr *)&relay, relay_len);
}

/* The receiving ends have one socket: what comes there says by its slot for whom it is. */
static void receive_bindings(int fd, struct node *from, struct node *to)
{
	uint8_t msg[2048];
	struct sockaddr_storage sa;
	socklen_t sa_len = sizeof sa;
	ssize_t len;

	while ((len = recvfrom(fd, msg, sizeof msg, 0, (struct sockaddr *)&sa, &sa_len)) > 0) {
		struct addr source = addr_from_sockaddr((struct sockaddr *)&sa);
		for (struct node *n = from; n < to; n += 2)
			if (relay_client_on_message(&n->binding, msg, (size_t)len, &source, loop_now_ms()))
				break;
	}
}

static void ask_for_session(struct node *n)
{
	Link__RelayOpen r = LINK__RELAY_OPEN__INIT;
	Link__ToHub msg = LINK__TO_HUB__INIT;

	r.ik = load_bytes(n[1].self.ik, 32);
	msg.body_case = LINK__TO_HUB__BODY_RELAY_OPEN;
	msg.relay_open = &r;
	load_say(n->link, &msg);
}

static void on_welcome(struct node *n, const Link__Welcome *w)
{
	struct addr at = { 0 };

	if (!w->n_udp || w->bind_token.len != RELAY_TOKEN || w->udp[0]->ip.len != 4)
		die("the hub has no relay for us");
	at = addr_from_ip(ADDR_V4, w->udp[0]->ip.data, (uint16_t)w->udp[0]->port);
	relay_len = addr_to_sockaddr(&at, &relay);
	relay_client_start(&n->binding, &at, w->bind_slot, w->bind_token.data, loop_now_ms());
	n->welcomed = true;
}

static void on_message(void *arg, const uint8_t *msg, size_t len)
{
	struct node *n = arg;
	size_t i = (size_t)(n - nodes);
	Link__ToNode *m = link__to_node__unpack(NULL, len, msg);

	if (!m)
		die("the hub sent nonsense");
	if (m->body_case == LINK__TO_NODE__BODY_CHALLENGE)
		load_log_in(&n->self, n->link, &networks[i / 2], (uint16_t)i, m->challenge->nonce.data);
	if (m->body_case == LINK__TO_NODE__BODY_WELCOME)
		on_welcome(n, m->welcome);
	if (m->body_case == LINK__TO_NODE__BODY_RELAY_SESSION && i % 2 == 0 && m->relay_session->session &&
	    !n->ready) {
		relay_client_header(sessions[i / 2].header, m->relay_session->session);
		n->ready = true;
		ready++;
	}
	link__to_node__free_unpacked(m, NULL);
}

static void on_up(void *arg, const uint8_t *exporter, const struct addr *remote)
{
	struct node *n = arg;

	(void)remote;
	memcpy(n->self.exporter, exporter, 32);
}

static void on_down(void *arg, int error, const char *text)
{
	(void)arg;
	(void)error;
	die(text);
}

static struct loop_timer *ticker;
static unsigned begun; /* nodes */
static uint64_t give_up_ms;

/* Links at 500 a second, bindings and sessions when they are due. */
static void tick(void *arg)
{
	static const struct hub_link_handler handler = { on_up, on_message, on_down };
	struct node *end = nodes + 2 * session_count;

	for (unsigned k = 0; k < 5 && begun < 2 * session_count; k++, begun++)
		if (hub_link_create(&nodes[begun].link, loop, arg, &rng, &handler, &nodes[begun]))
			die("out of memory");
	for (unsigned i = 0; i < session_count; i++)
		receive_bindings(sessions[i].fd, &nodes[2 * i], &nodes[2 * i + 1]);
	receive_bindings(receiver, nodes + 1, end);
	for (struct node *n = nodes; n < end; n++)
		if (n->welcomed)
			send_binding(n);
	for (struct node *n = nodes; n < end && begun == 2 * session_count; n += 2)
		if (!n->ready && relay_client_bound(&n->binding) && relay_client_bound(&n[1].binding))
			ask_for_session(n);
	if (ready == session_count)
		loop_stop(loop);
	if (loop_now_ms() > give_up_ms)
		die("not all sessions came about");
	loop_timer_set(ticker, loop_now_ms() + 10);
}

static void set_up_ours(const char *text)
{
	static struct hub_url url;
	uint64_t until = (uint64_t)time(NULL) + 86400;

	if (hub_url_parse(&url, text) != 0)
		die("takes the URL of the hub");
	header_len = RELAY_HEADER;
	for (unsigned i = 0; i < session_count; i++) {
		load_network_make(&networks[i], &rng);
		load_member_make(&nodes[2 * i].self, &networks[i], until, &rng);
		load_member_make(&nodes[2 * i + 1].self, &networks[i], until, &rng);
	}
	loop = loop_create();
	ticker = loop_timer_create(loop, tick, &url);
	give_up_ms = loop_now_ms() + SETUP_MS;
	loop_timer_set(ticker, 0);
	loop_run(loop);
}

/* --- By TURN: a request, and a success in answer. */

enum {
	STUN_HEAD = 20,
	ALLOCATE = 0x0003,
	CHANNEL_BIND = 0x0009,
	SUCCESS = 0x0100,
	CHANNEL = 0x4000,
	COOKIE = 0x2112a442
};

static bool turn_request(int fd, uint16_t method, const uint8_t *attributes, size_t len)
{
	uint8_t msg[128], answer[1024];
	ssize_t got = -1;

	store_be16(msg, method);
	store_be16(msg + 2, (uint16_t)len);
	store_be32(msg + 4, COOKIE);
	rng_fill(&rng, msg + 8, 12);
	memcpy(msg + STUN_HEAD, attributes, len);
	for (int tries = 0; tries < 500; tries++) {
		if (tries % 100 == 0)
			send(fd, msg, STUN_HEAD + len, 0);
		usleep(tries < 50 ? 200 : 5000);
		while ((got = recv(fd, answer, sizeof answer, 0)) > 0)
			if (got >= STUN_HEAD && memcmp(answer + 8, msg + 8, 12) == 0)
				goto answered;
	}
answered:
	return got >= STUN_HEAD && load_be16(answer) == (method | SUCCESS);
}

/* From a port that the server knows of an earlier run it refuses (RFC 8656 section 7.2): another one is tried then. */
static void turn_allocate(struct session *s)
{
	static const uint8_t udp[8] = { 0x00, 0x19, 0, 4, 17 };

	for (int tries = 0; tries < 3; tries++) {
		if (connect(s->fd, (struct sockaddr *)&relay, relay_len))
			die("cannot connect");
		if (turn_request(s->fd, ALLOCATE, udp, sizeof udp))
			return;
		close(s->fd);
		s->fd = open_socket();
	}
	die("the TURN server refuses to allocate");
}

static void set_up_turn(const char *text)
{
	struct addr at;
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof peer;
	uint8_t bind[20] = { 0x00, 0x0c, 0, 4, CHANNEL >> 8, 0, 0, 0, 0x00, 0x12, 0, 8, 0, 1 };

	if (addr_parse(&at, text, 3478) != 0)
		die("takes ADDRESS:PORT of the TURN server");
	header_len = 4;
	relay_len = addr_to_sockaddr(&at, &relay);
	getsockname(receiver, (struct sockaddr *)&peer, &peer_len);
	store_be16(bind + 14, ntohs(peer.sin_port) ^ (COOKIE >> 16));
	store_be32(bind + 16, ntohl(peer.sin_addr.s_addr) ^ COOKIE);
	for (struct session *s = sessions; s < sessions + session_count; s++) {
		turn_allocate(s);
		if (!turn_request(s->fd, CHANNEL_BIND, bind, sizeof bind))
			die("the TURN server refuses to bind a channel");
		store_be16(s->header, CHANNEL);
		store_be16(s->header + 2, (uint16_t)size);
	}
}

/* --- The load */

static uint64_t delivered, under_way;

/* Datagrams of the only session: header, its number, anything. */
static bool send_train(struct session *s)
{
	static uint8_t data[TRAIN * (HEADER_MAX + SIZE_MAX_HERE)];
	union {
		char room[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control = { 0 };
	size_t stride = header_len + size;
	struct iovec iov = { data, stride * TRAIN };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	for (unsigned i = 0; i < TRAIN; i++)
		memcpy(data + i * stride, s->header, header_len);
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
	*(uint16_t *)(void *)CMSG_DATA(c) = (uint16_t)stride;
	if (sendmsg(s->fd, &m, 0) < 0)
		return false;
	under_way += TRAIN;
	return true;
}

/* IPv4 (RFC 791) and UDP without checksum (RFC 768), from the session's socket to the relay. */
static void make_front(struct session *s)
{
	struct sockaddr_in from, to = *(struct sockaddr_in *)(void *)&relay;
	socklen_t len = sizeof from;
	size_t udp = sizeof(struct udphdr) + header_len + size;

	if (getsockname(s->fd, (struct sockaddr *)&from, &len))
		die("a socket has no address");
	memcpy(s->front, (const uint8_t[20]) { 0x45, [6] = 0x40, [8] = 64, [9] = IPPROTO_UDP }, 20);
	store_be16(s->front + 2, (uint16_t)(20 + udp));
	memcpy(s->front + 12, &from.sin_addr, 4);
	memcpy(s->front + 16, &to.sin_addr, 4);
	store_be16(s->front + 10, (uint16_t)~checksum_fold(checksum_sum(s->front, 20)));
	memcpy(s->front + 20, &from.sin_port, 2);
	memcpy(s->front + 22, &to.sin_port, 2);
	store_be16(s->front + 24, (uint16_t)udp);
}

/* A datagram of each of the next `count` sessions. How many went. */
static unsigned send_each(unsigned first, unsigned count)
{
	static uint8_t data[SEND][HEADER_MAX + SIZE_MAX_HERE];
	static struct mmsghdr messages[SEND];
	static struct iovec iov[SEND][2];

	for (unsigned i = 0; i < count; i++) {
		unsigned number = (first + i) % session_count;
		struct session *s = &sessions[number];
		memcpy(data[i], s->header, header_len);
		store_be32(data[i] + header_len, number);
		iov[i][0] = (struct iovec) { s->front, IP_UDP };
		iov[i][1] = (struct iovec) { data[i], header_len + size };
		messages[i].msg_hdr = (struct msghdr) { .msg_name = &loopback,
							.msg_namelen = sizeof loopback,
							.msg_iov = iov[i],
							.msg_iovlen = 2 };
	}
	int sent = sendmmsg(wire, messages, count, 0);
	under_way += sent > 0 ? (unsigned)sent : 0;
	return sent > 0 ? (unsigned)sent : 0;
}

static void open_wire(void)
{
	int bytes = BUFFER;

	wire = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (wire < 0)
		die("needs root");
	setsockopt(wire, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	loopback.sll_protocol = htons(0x0800);
	loopback.sll_ifindex = (int)if_nametoindex("lo");
	for (unsigned i = 0; i < session_count; i++)
		make_front(&sessions[i]);
}

static void count_datagrams(const uint8_t *data, size_t len, size_t front)
{
	size_t stride = front + size;

	for (size_t at = 0; at + stride <= len; at += stride) {
		uint32_t i = load_be32(data + at + front);
		if (i < session_count)
			sessions[i].delivered++;
		delivered++;
		under_way -= under_way > 0;
	}
}

/* True if anything came. `front`: what a relay leaves in front of the data. */
static bool receive_some(size_t front)
{
	/* Not a multiple of a page apart: all would fall on the same lines of the cache. */
	static uint8_t data[RECEIVE][65536 + 192];
	static struct mmsghdr messages[RECEIVE];
	static struct iovec iov[RECEIVE];

	for (int i = 0; i < RECEIVE; i++) {
		iov[i] = (struct iovec) { data[i], 65536 };
		messages[i].msg_hdr = (struct msghdr) { .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	int n = recvmmsg(receiver, messages, RECEIVE, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		count_datagrams(data[i], messages[i].msg_len, front);
	return n > 0;
}

static void load(double seconds, size_t front)
{
	uint64_t until = load_now_us() + (uint64_t)(seconds * 1e6), last = load_now_us(), now;
	bool one = session_count == 1;
	uint64_t window = one ? WINDOW_BYTES / size : SESSION_WINDOW * session_count;
	unsigned turn = 0;

	while ((now = load_now_us()) < until) {
		uint64_t room = window > under_way ? window - under_way : 0;
		for (unsigned k = 0; one && k < room / TRAIN; k++)
			if (!send_train(&sessions[0]))
				break;
		if (!one && room)
			turn += send_each(turn, room < SEND ? (unsigned)room : SEND);
		if (receive_some(front))
			last = now;
		else if (now - last > STUCK_US)
			under_way = 0; /* lost */
	}
}

static double served_least(void)
{
	double mean = (double)delivered / session_count, least = mean;

	for (unsigned i = 0; i < session_count; i++)
		least = (double)sessions[i].delivered < least ? (double)sessions[i].delivered : least;
	return mean > 0 ? 1 - least / mean : 1;
}

static void open_sockets(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	struct rlimit files;
	int on = 1;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	receiver = open_socket();
	inet_pton(AF_INET, "198.18.0.10", &at.sin_addr);
	if (bind(receiver, (struct sockaddr *)&at, sizeof at))
		die("198.18.0.10 must be an address here");
	setsockopt(receiver, SOL_UDP, UDP_GRO, &on, sizeof on);
	for (unsigned i = 0; i < session_count; i++)
		sessions[i].fd = open_socket();
}

int main(int argc, char **argv)
{
	bool ours = argc > 1 && !strcmp(argv[1], "p2phub");

	if (argc < 6 || crypto_init())
		die("p2phub URL | turn ADDRESS:PORT, SESSIONS SIZE SECONDS [PID]");
	session_count = (unsigned)atoi(argv[3]);
	size = (unsigned)atoi(argv[4]);
	double seconds = atof(argv[5]);
	int pid = argc > 6 ? atoi(argv[6]) : 0;
	if (session_count < 1 || session_count > SESSIONS_MAX || size < 8 || size > SIZE_MAX_HERE)
		die("too many sessions, or datagrams too large");
	rng_init_system(&rng);
	open_sockets();
	if (ours)
		set_up_ours(argv[2]);
	else
		set_up_turn(argv[2]);
	for (unsigned i = 0; i < session_count; i++)
		if (connect(sessions[i].fd, (struct sockaddr *)&relay, relay_len))
			die("cannot connect");
	if (session_count > 1)
		open_wire();
	load(seconds / 4, ours ? header_len : 0);
	delivered = 0;
	for (unsigned i = 0; i < session_count; i++)
		sessions[i].delivered = 0;
	double cpu = load_cpu_s(pid), own = load_cpu_s(getpid());
	load(seconds, ours ? header_len : 0);
	cpu = load_cpu_s(pid) - cpu;
	printf("{\"sessions\": %u, \"size\": %u, \"seconds\": %.2f, \"pps\": %.0f, \"gbit\": %.3f, "
	       "\"spread\": %.3f, "
	       "\"relay_cpu\": %.2f, \"own_cpu\": %.2f, \"cpu_per_packet_s\": %.9f}\n",
	       session_count, size, seconds, (double)delivered / seconds,
	       (double)delivered * size * 8 / seconds / 1e9, served_least(), cpu / seconds,
	       (load_cpu_s(getpid()) - own) / seconds, delivered ? cpu / (double)delivered : 0);
	return delivered ? 0 : 1;
}
