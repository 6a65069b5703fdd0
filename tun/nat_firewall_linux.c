#include "tun/nat_firewall.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "tun/nat_table.h"
#include "tun/nf_tables.h"
#include "tun/nft.h"
#include "tun/run.h"

enum { CHAINS_MAX = 64, HANDLES_MAX = 8, MARK_ROOM = 32 };

/* What a look at a chain found. */
struct found {
	const char *comment;
	uint64_t handles[HANDLES_MAX];
	size_t count; /* of rules with the comment */
	bool last_word;
};

static void on_rule(void *arg, const struct nf_rule *r)
{
	struct found *f = arg;

	/* With the byte that ends it, or p2pd-p2pd1 would be found in p2pd-p2pd10. */
	if (memmem(r->text, r->len, f->comment, strlen(f->comment) + 1) && f->count < HANDLES_MAX)
		f->handles[f->count++] = r->handle;
	f->last_word = r->last_word;
}

static int look(const struct nf_chain *c, const char *comment, struct found *f)
{
	*f = (struct found) { .comment = comment };
	return nf_tables_rules(c, on_rule, f);
}

static bool is_iptables(const struct nf_chain *c)
{
	return c->family != NFPROTO_INET && strcmp(c->table, "filter") == 0 &&
	       strcmp(c->name, c->forward ? "FORWARD" : "INPUT") == 0;
}

/* Names go into a script: none that could be more than a name. */
static bool plain_name(const char *name)
{
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")] == 0;
}

/* --- iptables */

static int iptables(const char *program, const char *op, const char *chain, const char *comment,
		    uint32_t mark, uint32_t mask, int hold)
{
	char bits[MARK_ROOM];

	snprintf(bits, sizeof bits, "%#x/%#x", mark, mask);
	return run_program((const char *[]) { program, "-w", "5", op, chain, "-m", "connmark", "--mark", bits,
					      "-m", "comment", "--comment", comment, "-j", "ACCEPT", NULL },
			   NULL, 0, hold, NULL, 0);
}

/* The old iptables, which has tables of its own beside nf_tables. */
static const struct {
	const char *program, *tables;
} old[] = {
	{ "iptables-legacy", "/proc/net/ip_tables_names" },
	{ "ip6tables-legacy", "/proc/net/ip6_tables_names" },
};

static bool old_filters(size_t i)
{
	char line[64];
	bool found = false;
	FILE *f = fopen(old[i].tables, "re");

	while (f && fgets(line, sizeof line, f))
		found |= strcmp(line, "filter\n") == 0;
	if (f)
		fclose(f);
	return found;
}

static const char *const hooks[] = { "INPUT", "FORWARD" };

/* Nothing else can open it, and our own way does not depend on it. Said once, for it is tried at each change. */
static void warn_of_old(const char *program, const char *chain)
{
	static bool warned;

	if (!warned)
		log_warn("host_nat",
			 "%s, whose tables are in use here, does not take our rule in %s: if its rules "
			 "drop what is forwarded, let connections with p2pd's mark pass there (it needs "
			 "root, or CAP_NET_ADMIN and CAP_NET_RAW)",
			 program, chain);
	warned = true;
}

static void open_old(const char *comment, uint32_t mark, uint32_t mask, int hold)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t h = 0; h < 2 && old_filters(i); h++)
			if (iptables(old[i].program, "-C", hooks[h], comment, mark, mask, hold) != 0 &&
			    iptables(old[i].program, "-I", hooks[h], comment, mark, mask, hold) != 0)
				warn_of_old(old[i].program, hooks[h]);
}

static void close_old(const char *comment, uint32_t mark, uint32_t mask)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t h = 0; h < 2 && old_filters(i); h++)
			while (iptables(old[i].program, "-D", hooks[h], comment, mark, mask, -1) == 0)
				;
}

/* --- One chain */

static int let_pass(const struct nf_chain *c, const char *comment, uint32_t mark, uint32_t mask, int hold,
		    char *why, size_t cap)
{
	const char *program = c->family == NFPROTO_IPV4 ? "iptables" : "ip6tables";
	struct nft_script s;

	if (is_iptables(c) && iptables(program, "-I", c->name, comment, mark, mask, hold) == 0)
		return 0;
	if (nft_begin(&s, why, cap))
		return -ENOMEM;
	fprintf(s.out, "insert rule %s %s %s ct mark and %#x == %#x accept comment \"%s\"\n",
		nf_tables_family(c->family), c->table, c->name, mask, mark, comment);
	return nft_run(&s, false, hold, why, cap);
}

static void take_out(const struct nf_chain *c, const uint64_t *handles, size_t count)
{
	struct nft_script s;
	char why[128];

	if (!count || nft_begin(&s, why, sizeof why))
		return;
	for (size_t i = 0; i < count; i++)
		fprintf(s.out, "delete rule %s %s %s handle %" PRIu64 "\n", nf_tables_family(c->family),
			c->table, c->name, handles[i]);
	if (nft_run(&s, false, -1, why, sizeof why))
		log_warn("host_nat", "our rule in %s %s could not be removed: %s", c->table, c->name, why);
}

static bool concerns_us(const struct nf_chain *c)
{
	bool ours = c->family == NFPROTO_INET &&
		    strncmp(c->table, NAT_TABLE_PREFIX, sizeof NAT_TABLE_PREFIX - 1) == 0;
	return !ours && plain_name(c->table) && plain_name(c->name);
}

bool nat_firewall_drops(void)
{
	struct nf_chain chains[CHAINS_MAX];
	int n = nf_tables_chains(chains, CHAINS_MAX);

	for (int i = 0; i < n; i++) {
		struct found f;
		if (!chains[i].forward && concerns_us(&chains[i]) && look(&chains[i], "", &f) == 0 &&
		    (chains[i].drops || f.last_word))
			return true;
	}
	return old_filters(0) || old_filters(1);
}

int nat_firewall_open(const char *comment, uint32_t mark, uint32_t mask, int hold, char *why, size_t cap)
{
	struct nf_chain chains[CHAINS_MAX];
	int n = nf_tables_chains(chains, CHAINS_MAX), rc = n < 0 ? n : 0;

	for (int i = 0; i < n && !rc; i++) {
		struct found f;
		if (!concerns_us(&chains[i]) || look(&chains[i], comment, &f) || f.count ||
		    !(chains[i].drops || f.last_word))
			continue;
		rc = let_pass(&chains[i], comment, mark, mask, hold, why, cap);
	}
	open_old(comment, mark, mask, hold);
	return rc;
}

void nat_firewall_close(const char *comment, uint32_t mark, uint32_t mask)
{
	struct nf_chain chains[CHAINS_MAX];
	int n = nf_tables_chains(chains, CHAINS_MAX);

	for (int i = 0; i < n; i++) {
		struct found f;
		if (!concerns_us(&chains[i]) || look(&chains[i], comment, &f))
			continue;
		take_out(&chains[i], f.handles, f.count);
	}
	close_old(comment, mark, mask);
}
