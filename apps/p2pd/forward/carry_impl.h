/* What the files of `carry` share, and nobody else includes.
 *
 *   carry          what is to be, made so: rules (all that has one id) and their entries
 *   carry_turn     who has the next turn: an epoll of our own, deadlines, a bounded share of work for each
 *   carry_fd       descriptors: counted, and kept above those that others need
 *   carry_share    how many of them the leases of one member may have
 *   carry_rule     what the entries of one id share: who may come, how many, how fast
 *   carry_listen   the sockets that visitors come to
 *   carry_tcp      the life of a connection: header, connecting, open, ended
 *   carry_pump     moves its bytes
 *   carry_udp      flows of datagrams
 *
 * An idle connection is its two sockets and some 300 bytes. It has a pipe only while something waits in it. All sockets
 * are edge-triggered: what may be read or written is remembered, and nothing is told to the kernel again and again. */
#ifndef P2PD_APPS_P2PD_FORWARD_CARRY_IMPL_H
#define P2PD_APPS_P2PD_FORWARD_CARRY_IMPL_H

#include "apps/p2pd/forward/carry.h"
#include "core/bucket.h"
#include "core/map.h"
#include "core/proxy_header.h"
#include "core/timers.h"

enum {
	CARRY_TUN = 16,	      /* IFNAMSIZ */
	CARRY_BUFFER = 65536, /* the largest datagram */
	CARRY_TURN_WORK =
		1
		<< 20, /* in a turn, all together: about a millisecond, then others on the loop have theirs */
	CARRY_SHARE_WORK = 128 << 10, /* of it, one connection before the next has its turn */
	/* Of work that moves no bytes: how many could be moved in that time. */
	CARRY_WORK_DUE = 512,
	CARRY_WORK_TURN = 2 << 10,
	CARRY_WORK_DATAGRAM = 4 << 10,
	CARRY_WORK_ACCEPT = 16 << 10,
	CARRY_WORK_RESET = 16 << 10,
};

struct carry;
struct carry_job;
struct carry_entry;

/* --- carry_turn */

/* NULL: never comes. */
struct carry_kind {
	/* Has its turn: something became ready, or it was queued. May end itself. */
	void (*on_turn)(struct carry *c, struct carry_job *j);
	void (*on_due)(struct carry *c, struct carry_job *j);
};

/* Whatever has turns and a deadline. */
struct carry_job {
	struct timers_entry deadline; /* first: found by a cast */
	const struct carry_kind *kind;
	struct carry_job *next, **at; /* in the queue; `at` NULL: not in it */
};

struct carry_watch {
	struct carry_job *job;
	int fd; /* -1: none */
	bool readable, writable, broken;
};

/* Room for its deadline. 0 or -ENOMEM. */
int carry_job_begin(struct carry *c, struct carry_job *j, const struct carry_kind *kind);
void carry_job_end(struct carry *c, struct carry_job *j);
void carry_queue(struct carry *c, struct carry_job *j);
void carry_due(struct carry *c, struct carry_job *j, uint64_t at_ms);
/* 0 or a negative errno, and then the descriptor is closed. */
int carry_watch_begin(struct carry *c, struct carry_watch *w, struct carry_job *j, int fd);
/* -1 is allowed as its fd. */
void carry_watch_end(struct carry *c, struct carry_watch *w);
/* 0 or a negative errno. */
int carry_turn_begin(struct carry *c);
void carry_turn_end(struct carry *c);
/* After anything that was not done within a turn. */
void carry_turn_arm(struct carry *c);

/* --- carry_fd */

void carry_fd_begin(struct carry *c);
/* Counts a new descriptor, and returns it or a higher one that took its place; an error (-1) becomes -errno. */
int carry_fd_keep(struct carry *c, int fd);
void carry_fd_close(struct carry *c, int fd);
/* Whether `count` more may be had. */
bool carry_fd_room(const struct carry *c, size_t count);

/* --- carry_share */

struct carry_share {
	struct carry_share *next;
	uint64_t owner;
	unsigned rules;
	size_t held; /* of listeners, and what visits may come to have */
};

/* For one rule more of that owner. NULL without memory. */
struct carry_share *carry_share_join(struct carry *c, uint64_t owner);
/* NULL, here and below: no share, all may be had. */
void carry_share_leave(struct carry *c, struct carry_share *s);
void carry_share_hold(struct carry_share *s, size_t fds);
void carry_share_drop(struct carry_share *s, size_t fds);
/* Whether he may have so many descriptors more. */
bool carry_share_room(const struct carry *c, const struct carry_share *s, size_t fds);

/* --- carry_rule */

enum { CARRY_VISIT_FDS = 2 };

struct carry_way;

/* One direction's rate: who has nothing left of it waits in line. */
struct carry_rate {
	struct bucket bucket;
	struct carry_way *held, **held_tail;
};

struct carry_rule {
	struct carry_job job; /* first; due when a rate has something to give again */
	struct carry_rule *next, **at;
	uint8_t id[FORWARD_ID];
	struct carry_share *share;
	bool wanted;
	bool paused, restricted;
	struct forward_prefix *allow;
	unsigned allow_count;
	uint32_t max_conn, idle_s, rate;
	struct carry_rate in, out;
	struct carry_entry *entries;
	struct forward_stats stats;
};

struct carry_visit;
struct carry_listener;

struct carry_entry {
	struct carry_rule *rule;
	struct carry_entry *next, **at; /* of the rule */
	bool wanted, header_in, header_out;
	enum forward_side side;
	enum forward_proto proto;
	struct addr listen, target, gateway4, gateway6;
	uint8_t secret[FORWARD_SECRET];
	uint16_t count;
	struct carry_listener *listeners; /* `count` of them */
	struct carry_visit *visits;
};

/* A TCP connection or an UDP flow. */
struct carry_visit {
	struct carry_job job; /* first */
	struct carry_entry *entry;
	struct carry_visit *next, **at; /* of the entry */
	struct addr visitor;		/* ADDR_NONE: the header that tells is awaited */
	uint64_t last_ms;		/* when a byte moved */
};

/* NULL without memory. */
struct carry_rule *carry_rule_create(struct carry *c, const uint8_t id[static FORWARD_ID]);
void carry_rule_destroy(struct carry *c, struct carry_rule *r);
/* What `e` says of its id; whose it is, when there are no entries yet. 0 or -ENOMEM. */
int carry_rule_set(struct carry *c, struct carry_rule *r, const struct forward_entry *e);
bool carry_rule_allows(const struct carry_rule *r, const struct addr *visitor);
/* Whether one more may come, from there (ADDR_NONE: will be known later). False: counted why not. */
bool carry_rule_admit(struct carry *c, struct carry_rule *r, const struct addr *visitor);
/* Where a gateway is named nobody else may come. False: counted. */
bool carry_may_enter(const struct carry_entry *e, const struct addr *from);
/* Whether what came as a gateway's header is its own, and names one who may be a visitor. False: counted. */
bool carry_believes(const struct carry *c, const struct carry_entry *e, const struct proxy_header *h);
/* How long a visit may be idle; 0: for ever. */
uint64_t carry_rule_idle_ms(const struct carry_rule *r);

/* In the entry's list, counted as a connection of now, and on no deadline. */
void carry_visit_begin(struct carry_visit *v, struct carry_entry *e);
void carry_visit_end(struct carry_visit *v);
/* It is known who came, and he may. */
void carry_visit_count(struct carry *c, struct carry_visit *v, const struct addr *visitor);
/* What a new connection of ours to the entry's target, port `index` of it, begins with. A descriptor or -errno. */
int carry_target_socket(struct carry *c, const struct carry_entry *e, int type);
struct addr carry_target(const struct carry_entry *e, unsigned index);
/* The bytes that go first. 0 if there are to be none. */
size_t carry_header(const struct carry_entry *e, const struct addr *visitor, const struct addr *local,
		    uint8_t out[static PROXY_HEADER_MAX]);

/* How much of `want` may be taken now; 0: the way waits in line, its job will be queued. */
size_t carry_rate_allow(struct carry *c, struct carry_rule *r, struct carry_rate *rate, struct carry_way *w,
			size_t want);
void carry_rate_charge(struct carry *c, struct carry_rule *r, struct carry_rate *rate, size_t bytes);
/* For what cannot wait: charged, or false. */
bool carry_rate_take(struct carry *c, struct carry_rule *r, struct carry_rate *rate, size_t bytes);
void carry_rate_leave(struct carry_rate *rate, struct carry_way *w);

/* --- carry_listen */

struct carry_listener {
	struct carry_job job; /* first */
	struct carry_watch watch;
	struct carry_entry *entry;
	uint16_t index; /* of its port */
};

/* All ports of the entry, or none. 0 or a negative errno with `why`. */
int carry_listen(struct carry *c, struct carry_entry *e, char why[static CARRY_WHY]);
void carry_unlisten(struct carry *c, struct carry_entry *e);

/* --- carry_tcp, carry_pump */

struct carry_pipe {
	struct carry_pipe *next;
	int in, out;
};

/* One direction of a connection. */
struct carry_way {
	struct carry_job *job;
	struct carry_pipe *pipe; /* NULL: nothing waits */
	size_t waiting;
	struct carry_way *held_next, **held_at; /* for its share of the rate */
	bool granted;				/* it has waited, and may go first now */
	bool ended, shut;			/* the source has said all; and so were we told to say */
};

enum carry_phase { CARRY_HEADER, CARRY_CONNECTING, CARRY_OPEN };

struct carry_tcp {
	struct carry_visit visit; /* first */
	enum carry_phase phase;
	uint16_t index;
	struct addr local; /* what the visitor came to; known if a header goes out */
	struct carry_watch visitor, service;
	struct carry_way in, out;
};

/* Takes over `fd`, which came from there. */
void carry_tcp_begin(struct carry *c, struct carry_listener *ln, int fd, const struct addr *from);
/* Resets both ends. */
void carry_tcp_reset(struct carry *c, struct carry_tcp *t);
/* Moves what can be moved, a share of it at most (queued then). 0, or a negative errno: it is broken. */
int carry_pump(struct carry *c, struct carry_tcp *t);
/* One end was reset: what it had said before still goes to the other. The same. */
int carry_pump_rest(struct carry *c, struct carry_tcp *t);
void carry_pump_end(struct carry *c, struct carry_tcp *t);
void carry_pipes_free(struct carry *c);

/* --- carry_udp */

extern const struct carry_kind carry_udp_listener;
struct carry_flow;
void carry_flow_end(struct carry *c, struct carry_flow *f);
/* The entry's secret is another one. */
void carry_flow_renew(struct carry_flow *f);

/* --- carry */

struct carry {
	struct loop *loop;
	char tun[CARRY_TUN];
	int epoll;
	struct loop_fd *epoll_watch;
	struct loop_timer *timer;
	struct timers timers;
	size_t job_count;
	struct carry_job *queue, **queue_tail;
	uint64_t now_ms; /* of this turn */
	size_t work;	 /* done in it */
	size_t fds, fds_max;
	size_t fds_low; /* of ours, below FD_SETSIZE */
	bool fds_warned;
	struct carry_pipe *pipes;
	unsigned pipe_count; /* of these */
	struct carry_rule *rules;
	struct carry_share *shares;
	struct map rule_by_id, entry_by_key, flow_by_key;
	bool (*may_come)(void *arg, const struct addr *visitor);
	void *may_come_arg;
	uint64_t logged_ms;
	uint8_t buffer[CARRY_BUFFER];
};

/* Ends it, be it a connection or a flow. */
void carry_visit_reset(struct carry *c, struct carry_visit *v);

#endif
