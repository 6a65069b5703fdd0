#include "apps/p2pd/rung.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	struct rung rung;
} rungs[] = {
	{ "all", { TUN_USO, UDP_OFFLOAD_GRO } }, /* highest first */
	{ "no-uso", { TUN_TSO, UDP_OFFLOAD_GRO } },
	{ "no-gro", { TUN_TSO, UDP_OFFLOAD_GSO } },
	{ "no-gso", { TUN_TSO, UDP_OFFLOAD_NONE } },
	{ "none", { TUN_PLAIN, UDP_OFFLOAD_NONE } }, /* all reach it */
};

int rung_parse(struct rung *r, const char *text)
{
	for (size_t i = 0; i < sizeof rungs / sizeof *rungs; i++) {
		if (text && strcmp(text, rungs[i].name) != 0)
			continue;
		*r = rungs[i].rung;
		return 0;
	}
	return -EINVAL;
}

const char *rung_name(const struct rung *in_use)
{
	size_t i = 0;

	while (rungs[i].rung.tun > in_use->tun || rungs[i].rung.udp > in_use->udp)
		i++;
	return rungs[i].name;
}

const char *rung_udp_name(enum udp_offload udp)
{
	static const char *const names[] = { "plain", "gso", "gro" };
	return names[udp];
}
