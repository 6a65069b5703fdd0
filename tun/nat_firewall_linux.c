#include "tun/nat_firewall.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tun/nf_tables.h"
#include "tun/run.h"

enum { CHAINS_MAX = 64, HANDLES_MAX = 8, MARK_ROOM = 32, SCRIPT_ROOM = 4 * NF_NAME_MAX };
static const char OURS[] = "p2pd-"; /* all daemons' tables begin so */

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

static int nft(const char *script, int hold, char *why, size_t cap)
{
	return run_program((const char *[]) { "nft", "-f", "-", NULL }, script, strlen(script), hold, why,
			   cap);
}

/* --- iptables */

static int iptables(const char *program, const char *op, const char *chain, const char *comment,
		    uint32_t mark, uint32_t mask, int hold, char *why, size_t cap)
{
	char bits[MARK_ROOM];

	snprintf(bits, sizeof bits, "%#x/%#x", mark, mask);
	return run_program((const char *[]) { program, "-w", "5", op, chain, "-m", "connmark", "--mark", bits,
					      "-m", "comment", "--comment", comment, "-j", "ACCEPT", NULL },
			   NULL, 0, hold, why, cap);
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

static void open_old(const char *comment, uint32_t mark, uint32_t mask, int hold)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t h = 0; h < 2 && old_filters(i); h++)
			if (iptables(old[i].program, "-C", hooks[h], comment, mark, mask, hold, NULL, 0) == 1)
				iptables(old[i].program, "-I", hooks[h], comment, mark, mask, hold, NULL, 0);
}

static void close_old(const char *comment, uint32_t mark, uint32_t mask)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t h = 0; h < 2 && old_filters(i); h++)
			while (iptables(old[i].program, "-D", hooks[h], comment, mark, mask, -1, NULL, 0) ==
			       0)
				;
}

/* --- One chain */

static int let_pass(const struct nf_chain *c, const char *comment, uint32_t mark, uint32_t mask, int hold,
		    char *why, size_t cap)
{
	const char *program = c->family == NFPROTO_IPV4 ? "iptables" : "ip6tables";
	char script[SCRIPT_ROOM];

	if (is_iptables(c) && iptables(program, "-I", c->name, comment, mark, mask, hold, why, cap) == 0)
		return 0;
	snprintf(script, sizeof script, "insert rule %s %s %s ct mark and %#x == %#x accept comment \"%s\"\n",
		 nf_tables_family(c->family), c->table, c->name, mask, mark, comment);
	int rc = nft(script, hold, why, cap);
	return rc > 0 ? -EIO : rc;
}

static bool concerns_us(const struct nf_chain *c)
{
	bool ours = c->family == NFPROTO_INET && strncmp(c->table, OURS, sizeof OURS - 1) == 0;
	return !ours && plain_name(c->table) && plain_name(c->name);
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
		for (size_t k = 0; k < f.count; k++) {
			char script[SCRIPT_ROOM];
			snprintf(script, sizeof script, "delete rule %s %s %s handle %llu\n",
				 nf_tables_family(chains[i].family), chains[i].table, chains[i].name,
				 (unsigned long long)f.handles[k]);
			nft(script, -1, NULL, 0);
		}
	}
	close_old(comment, mark, mask);
}
