/* A peer as the engine knows it, and a round of a technique with it: read by what tells people of peers (status, why), and
 * written by the engine's bodies alone. */
#ifndef P2PD_APPS_P2PD_ENGINE_PEER_H
#define P2PD_APPS_P2PD_ENGINE_PEER_H

#include "core/bucket.h"
#include "core/cert.h"
#include "core/peer.h"
#include "core/timers.h"
#include "nat/birthday.h"
#include "nat/candidates.h"
#include "nat/offer.h"
#include "nat/punch.h"
#include "nat/stun_client.h"
#include "relay/relay_client.h"

enum { ENGINE_ATTEMPTS = 8 /* remembered for each peer */ };

/* How packets to a peer go now. */
enum engine_way { ENGINE_WAY_NONE, ENGINE_WAY_DIRECT, ENGINE_WAY_RELAY };

/* What opened a path (struct path's `opened_by`). */
enum engine_opener {
	OPENED_UNPROVEN,
	OPENED_LAN,
	OPENED_IPV6,
	OPENED_PUBLIC,	  /* an end has a public address */
	OPENED_MAPPED,	  /* a port that an end's router forwards */
	OPENED_TECHNIQUE, /* + enum technique */
};

/* How an attempt at a direct path ended. */
enum engine_outcome {
	OUTCOME_DIRECT,
	OUTCOME_FAILED,	   /* nothing answered in time */
	OUTCOME_NO_OFFER,  /* the peer did not say what it can do */
	OUTCOME_NO_STUN,   /* our own mapping could not be measured */
	OUTCOME_NO_PLAN,   /* the two ends together know no technique */
	OUTCOME_OVERTAKEN, /* a direct path was found otherwise before it ended */
};

struct engine_attempt {
	uint8_t technique; /* enum technique */
	uint8_t outcome;   /* enum engine_outcome */
	uint16_t probes;
	uint64_t began_ms, ended_ms;
};

/* A technique that needs both ends to speak, under way: see engine_round.c. */
struct engine_round {
	struct engine_peer *peer; /* NULL: free */
	enum { ROUND_MEASURING, ROUND_OFFERING, ROUND_RUNNING } state;
	bool have_theirs;
	bool running; /* the plan's probes are being sent */
	uint16_t attempt;
	struct offer ours, theirs;
	struct technique_plan plan;
	struct stun_client stun;
	uint32_t stun_socket;
	struct birthday birthday;
	uint32_t sockets[TECHNIQUE_MAX_SOCKETS]; /* by the birthday's numbers */
	unsigned socket_count, offers_sent;
	uint64_t began_ms, offer_at_ms, start_ms, end_ms;
};

/* When binds left for a relay that it has not answered with a challenge yet, the oldest first. */
struct engine_asked {
	uint64_t at_ms[16];
	unsigned count;
};

/* A relay other than the hub's: engine_away.c. */
struct engine_away {
	struct addr at;
	struct relay_client client; /* idle until it is needed */
	uint32_t rtt_ms;
	bool rtt_known;
	struct engine_asked asked;
	uint64_t used_ms, check_ms;
	unsigned checks; /* unanswered */
};

/* The way to a peer by its home relay. */
struct engine_peer_away {
	struct engine_away *relay; /* NULL: the peer's home is the hub's */
	struct addr at;
	uint32_t session;
	bool proven;   /* a ping came back */
	uint64_t ping; /* the last one's id; each is one more than the one before */
	unsigned unanswered;
	uint64_t at_ms; /* when the next join or ping is due */
	uint32_t join_gap_ms;
};

/* A peer and what the engine knows of it beyond core's. */
struct engine_peer {
	struct peer peer;	  /* first: owner pointers of session and lpm point here */
	struct engine_peer *next; /* of all peers */
	uint64_t number;	  /* in the order of making */
	uint8_t ik[32];		  /* own kind; zero for stock peers */
	struct addr ip4, ip6;
	bool online;
	uint64_t boot, record_seq;
	struct cert cert;
	struct candidate_list remote;
	struct bucket
		strangers; /* its pings from addresses that are new: a recorded one can be sent from anywhere */
	struct verdict nat;	       /* as its record says */
	struct gaps_choice relay_gaps; /* of what goes by the relay; each path has its own */
	struct punch punch;
	uint32_t punch_socket; /* ours that it goes by */
	uint64_t sweep_ms;     /* sockets that linger are looked at again then; 0: there are none */
	uint64_t punch_began_ms;
	unsigned punch_round; /* failed rounds since the last success or change */
	uint64_t
		silent_until_ms; /* until then nothing goes from our main port to the peer's: see engine_turns.c */
	unsigned flaps;		 /* paths in a row that died soon */
	/* Rounds of techniques that need offers: failed ones, when the next may begin, the numbers of offers. */
	unsigned rounds_failed;
	struct bucket
		share; /* of the probes of rounds, so that no peer takes all of the budget again and again */
	uint64_t round_at_ms, round_began_ms;
	uint64_t join_at_ms; /* after failures: not before this does an offer of the peer begin one */
	uint16_t our_attempt, their_attempt;
	enum technique round_technique;			 /* of the last round that both ends agreed on */
	struct engine_attempt attempts[ENGINE_ATTEMPTS]; /* a ring: attempt_count - 1 is the last */
	unsigned attempt_count;
	uint64_t probes;	  /* sent to addresses of it that were not proven then, in all */
	bool forbids_hard;	  /* as its last offer says: --hard-nat is off there */
	uint64_t introduce_at_ms; /* not before this is the hub asked for an(other) introduction */
	uint32_t relay_session;	  /* 0: none */
	uint64_t relay_asked_ms;
	struct addr home; /* its home relay; ADDR_NONE: the hub's */
	struct engine_peer_away away;
	uint64_t wanted_ms; /* since when a direct path is; 0: it is not, or there is one */
	struct timers_entry due;
	struct engine_peer *due_next; /* of those that are run now */
	enum engine_way last_way;     /* and since when, for people */
	uint64_t way_since_ms;
};

#endif
