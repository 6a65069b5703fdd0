/* Whether datagrams go in trains by a path. Linux 7.0.0 to 7.1.4 with some network cards damages trains of equal-sized
 * datagrams (UDP_SEGMENT) on their way out, and the sender hears nothing of it. So the receiver counts the counters that
 * are missing and says so (CONTROL_GAPS, core/control.h), and the sender tries for a moment whether sending them one by
 * one helps.
 *
 *   TRAINS  --loss persists-->  TRYING_SINGLY  --helped-->  SINGLY
 *   TRAINS <--congestion, so no trial for 10 minutes--          |
 *     <-------- after a minute; the next time 10 minutes -------
 *
 * The minute is for a load that changed during the trial: it can look as if that had helped.
 * A peer that lies can make us send singly to itself, and nothing else. Pure. Zeroed memory is an empty meter, and a
 * choice of trains. */
#ifndef P2PD_CORE_GAPS_H
#define P2PD_CORE_GAPS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	/* The receiver. */
	GAPS_REPORT_MS = 1000, /* at least, between two reports */
	GAPS_EXPECTED =
		512,	 /* messages make a measurement; fewer do, when this share of so many is missing: */
	GAPS_SHARE = 16, /* more than 1/16 is loss: beyond what TCP does to a healthy path for long */
	GAPS_FOLLOW_UPS = 8, /* measurements after such a one that are reported whatever they say, */
	GAPS_FEW =
		128, /* and need only so many messages: TCP sends about 100 a second over trains that break */
	GAPS_MAX = 1 << 28, /* messages, in a report: no path carries as many in a second */
	/* The sender. The times and counts are ours; no specification has any. */
	GAPS_PERSIST_MS = 10000, /* loss that is reported twice within this time; once it may be a burst */
	GAPS_SETTLE_MS = 1500,	 /* a report that comes so soon in a trial is of what went before it */
	GAPS_TRIAL_MS = 8000,	 /* nothing was reported for so long, */
	GAPS_TRIAL_SENT = 4 * GAPS_EXPECTED, /* and so much was sent: nothing is missing */
	GAPS_HELPS = 4,			     /* the trial helps if less than 1/4 of the loss stays, */
	GAPS_MORE = 5,			     /* and more than 5/4 arrives, of what did */
	GAPS_SINGLY_MS = 600000,	     /* then trains are tried again: the kernel may be another one; */
	GAPS_SINGLY_FIRST_MS = 60000, /* the first time, and if trains went well for longer than that */
	GAPS_NO_TRIAL_MS = 600000,
};

/* What became of messages whose counters follow one another. */
struct gaps_report {
	uint32_t expected, missing, ms; /* missing <= expected <= GAPS_MAX; the time that they took */
};
/* Whether it is so much that it is worth a report. */
bool gaps_is_loss(const struct gaps_report *r);

/* The receiver's, for one keypair. */
struct gaps_meter {
	uint64_t next, accepted, since_ms; /* as it stood when the measurement began */
	uint8_t follow_ups;
};
/* To be told after messages have come: `next` is the greatest counter accepted, plus 1; `accepted` is how many were, all
 * since the keys exist, so that late ones fill their holes. True if `*out` is to be reported. */
bool gaps_measure(struct gaps_meter *m, uint64_t next, uint64_t accepted, uint64_t now_ms,
		  struct gaps_report *out);

enum gaps_state { GAPS_TRAINS, GAPS_TRYING_SINGLY, GAPS_SINGLY };
enum gaps_event { GAPS_EV_NONE, GAPS_EV_LOSS, GAPS_EV_HELPED, GAPS_EV_CONGESTION, GAPS_EV_TIME };

/* The sender's, for one path. */
struct gaps_choice {
	enum gaps_state state;
	uint32_t sent;		   /* trying: messages, so far */
	uint64_t since_ms;	   /* when it was chosen */
	uint64_t loss_ms;	   /* trains: when loss was reported first; 0: not lately */
	uint64_t no_trial_ms;	   /* trains: no trial before */
	struct gaps_report before; /* trying: how it was with trains */
	uint64_t singly_ms;	   /* singly: for so long */
	uint64_t again_ms;	   /* trains: since they were tried again; 0: they never were */
};
/* `count` messages are about to go by the path: true if each is to go by itself. `name` is for the log. */
bool gaps_on_sent(struct gaps_choice *c, unsigned count, const char *name, uint64_t now_ms);
/* The peer reported. */
void gaps_on_report(struct gaps_choice *c, const struct gaps_report *r, const char *name, uint64_t now_ms);
/* How the next messages will go. */
bool gaps_singly(const struct gaps_choice *c, uint64_t now_ms);

#endif
