/* A small process that waits for the end of this one, however it comes, and then runs nat_sweep(). It is this program once
 * more, which takes another way before main() when it is started by the keeper's name. Linux only. */
#ifndef P2PD_TUN_NAT_KEEPER_H
#define P2PD_TUN_NAT_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

struct nat_keeper {
	pid_t pid;
	int hold; /* while any process has it open, the keeper waits; -1: there is no keeper */
	int lock; /* until it and its like in the keeper are closed, no other daemon has the device's name to itself */
};

/* Waits for a keeper of before that still sweeps, for some seconds at most. */
void nat_keeper_lock(struct nat_keeper *k, const char *tun);
/* 0 or a negative errno. */
int nat_keeper_start(struct nat_keeper *k, const char *tun);
bool nat_keeper_lives(struct nat_keeper *k);
/* There is nothing left to sweep. */
void nat_keeper_end(struct nat_keeper *k);
void nat_keeper_unlock(struct nat_keeper *k);

#endif
