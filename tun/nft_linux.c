#include "tun/nft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "tun/run.h"

enum { SAID_MAX = 160 };

int nft_begin(struct nft_script *s, char *why, size_t cap)
{
	*s = (struct nft_script) { 0 };
	s->out = open_memstream(&s->text, &s->len);
	if (s->out)
		return 0;
	snprintf(why, cap, "no memory");
	return -ENOMEM;
}

/* "/dev/stdin:1:2-3: Error: what is wrong" */
static const char *without_place(const char *said)
{
	const char *error = strstr(said, "Error: ");
	return error ? error + strlen("Error: ") : said;
}

static int judge(int rc, const char *said, char *why, size_t cap)
{
	if (rc == -ENOENT) {
		snprintf(why, cap, "the program nft is not here: install nftables");
	} else if (rc < 0) {
		snprintf(why, cap, "nft could not be run: %s", strerror(-rc));
	} else {
		log_debug("nft", "%s", said);
		snprintf(why, cap, "nft: %s", without_place(said));
		rc = strstr(said, "not permitted") ? -EPERM : -EINVAL;
	}
	return rc;
}

int nft_run(struct nft_script *s, bool only_try, int hold, char *why, size_t cap)
{
	const char *const change[] = { "nft", "-f", "-", NULL }, *const try[] = { "nft", "-c", "-f", "-",
										  NULL };
	char said[SAID_MAX] = "";
	int rc = 0;

	if (fclose(s->out) != 0) {
		snprintf(why, cap, "no memory");
		rc = -ENOMEM;
	} else if (s->len) {
		rc = run_program(only_try ? try : change, s->text, s->len, hold, said, sizeof said);
		rc = rc ? judge(rc, said, why, cap) : 0;
	}
	free(s->text);
	*s = (struct nft_script) { 0 };
	return rc;
}
