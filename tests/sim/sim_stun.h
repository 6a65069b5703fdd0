/* A host with numbered sockets, its NAT, and STUN servers 25 ms away, in virtual time: what machines that ask servers
 * are tested in. The servers are ours, or what a quirk makes of them. */
#ifndef P2PD_TESTS_SIM_STUN_H
#define P2PD_TESTS_SIM_STUN_H

#include "nat/stun_server.h"
#include "tests/sim/sim_nat.h"

enum { SIM_STUN_ONE_WAY_MS = 25, SIM_STUN_START_MS = 1000000, SIM_STUN_PACKETS = 256, SIM_STUN_SERVERS = 3 };

#define SIM_STUN_PUBLIC "203.0.113.9"

enum sim_stun_quirk {
	SIM_STUN_HONEST,
	SIM_STUN_IGNORES, /* CHANGE-REQUEST and RESPONSE-PORT: answers from and to where it was asked */
	SIM_STUN_DROPS,	  /* what has them */
	SIM_STUN_REFUSES, /* what has them, with 420 */
	SIM_STUN_ERRORS,  /* to everything */
	SIM_STUN_DEAD,
};

struct sim_stun_server {
	struct stun_server stun;
	struct addr at[4];
	size_t count;
	enum sim_stun_quirk quirk;
	struct addr says_other, says_mapped; /* lies; ADDR_NONE: the truth */
};

struct sim_stun_packet {
	uint64_t at_ms;
	struct addr from, to;
	unsigned socket; /* of the host; when it has come there */
	size_t len;
	uint8_t msg[STUN_PADDED_MAX];
};

struct sim_stun {
	struct rng rng;
	uint64_t now_ms;
	struct sim_nat nat; /* not there with NAT_NONE */
	struct addr inside; /* of socket 0; the others' ports follow */
	struct sim_stun_server servers[SIM_STUN_SERVERS];
	size_t server_count;
	unsigned loss_percent;
	struct sim_stun_packet flying[SIM_STUN_PACKETS];
	size_t flying_count;
	unsigned sent, sent_astray; /* astray: to where neither a server is nor our NAT */
};

/* `w` was zeroed or freed before. */
void sim_stun_init(struct sim_stun *w, enum sim_nat_kind kind, uint64_t seed);
void sim_stun_free(struct sim_stun *w);
/* A server at up to four addresses; NULL ends them. */
struct sim_stun_server *sim_stun_add(struct sim_stun *w, const char *const *at);
void sim_stun_send(struct sim_stun *w, unsigned socket, const struct addr *to, const uint8_t *msg,
		   size_t len);
/* Lets time pass until a packet comes to the host, `until_ms` at the latest: true if one did. */
bool sim_stun_receive(struct sim_stun *w, uint64_t until_ms, struct sim_stun_packet *in);
struct addr sim_stun_addr(const char *text);

#endif
