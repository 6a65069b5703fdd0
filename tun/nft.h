/* A script for the program `nft`: all of it takes effect at once, or nothing does. Linux only. */
#ifndef P2PD_TUN_NFT_H
#define P2PD_TUN_NFT_H

#include <stdbool.h>
#include <stdio.h>

struct nft_script {
	FILE *out; /* to write to */
	char *text;
	size_t len;
};

/* 0 or -ENOMEM, in words, too. */
int nft_begin(struct nft_script *s, char *why, size_t cap);
/* Runs and frees it; an empty one is right. `only_try`: nothing is changed. `hold` as in run.h. 0; or with `why` -ENOENT (no
 * nft), -EPERM, -EINVAL (refused, by nft or the kernel), or another negative errno. */
int nft_run(struct nft_script *s, bool only_try, int hold, char *why, size_t cap);

#endif
