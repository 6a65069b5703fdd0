/* What stands in the kernel's nf_tables, read by netlink (written it is by `nft`). Linux only. */
#ifndef P2PD_TUN_NF_TABLES_H
#define P2PD_TUN_NF_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NF_NAME_MAX = 128 }; /* of tables and chains, with the NUL; longer ones are passed over */

/* Changes with each change of any table. 0 or a negative errno. */
int nf_tables_generation(uint32_t *out);

/* The inet tables whose names begin so. */
int nf_tables_named(const char *prefix, void (*each)(void *arg, const char *name), void *arg);

/* The counters of an inet table that have a name. None: there is no such table, or it has none. */
int nf_tables_counters(const char *table,
		       void (*each)(void *arg, const char *name, uint64_t packets, uint64_t bytes),
		       void *arg);

/* A chain where packets to this host, or forwarded ones, are filtered. */
struct nf_chain {
	uint8_t family; /* NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6 */
	char table[NF_NAME_MAX], name[NF_NAME_MAX];
	bool forward; /* else input */
	bool drops;   /* by its policy */
};
/* Fills up to `cap`. The count or a negative errno. */
int nf_tables_chains(struct nf_chain *chains, size_t cap);

struct nf_rule {
	uint64_t handle;
	bool last_word;	     /* drops or rejects whatever comes so far */
	const uint8_t *text; /* the whole rule as the kernel has it, its comment within */
	size_t len;
};
int nf_tables_rules(const struct nf_chain *c, void (*each)(void *arg, const struct nf_rule *r), void *arg);
/* "inet", "ip", "ip6" */
const char *nf_tables_family(uint8_t family);

#endif
