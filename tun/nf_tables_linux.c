#include "tun/nf_tables.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>

#include "tun/netlink_talk.h"

static struct nl_msg *ask(unsigned type, int flags, uint8_t family)
{
	return netlink_talk_filter(NFNL_SUBSYS_NFTABLES, type, flags, family);
}

static bool parse(struct nlmsghdr *h, struct nlattr **a, int max)
{
	return nlmsg_parse(h, sizeof(struct nfgenmsg), a, max, NULL) >= 0;
}

static uint32_t be32_of(struct nlattr *a)
{
	return a && nla_len(a) >= 4 ? ntohl(nla_get_u32(a)) : 0;
}

static uint64_t be64_of(struct nlattr *a)
{
	return a && nla_len(a) >= 8 ? be64toh(nla_get_u64(a)) : 0;
}

/* NULL for what is no text. */
static const char *text_of(struct nlattr *a)
{
	return a && nla_len(a) > 0 && memchr(nla_data(a), 0, (size_t)nla_len(a)) ? nla_data(a) : NULL;
}

static void on_generation(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[NFTA_GEN_MAX + 1];

	if (parse(h, a, NFTA_GEN_MAX))
		*(uint32_t *)arg = be32_of(a[NFTA_GEN_ID]);
}

int nf_tables_generation(uint32_t *out)
{
	*out = 0;
	return netlink_talk_once(NETLINK_NETFILTER, ask(NFT_MSG_GETGEN, NLM_F_ACK, AF_UNSPEC), on_generation,
				 out);
}

/* --- Tables */

struct naming {
	const char *prefix;
	void (*each)(void *arg, const char *name);
	void *arg;
};

static void on_table(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[NFTA_TABLE_MAX + 1];
	struct naming *n = arg;

	if (!parse(h, a, NFTA_TABLE_MAX))
		return;
	const char *name = text_of(a[NFTA_TABLE_NAME]);
	if (name && strncmp(name, n->prefix, strlen(n->prefix)) == 0)
		n->each(n->arg, name);
}

int nf_tables_named(const char *prefix, void (*each)(void *arg, const char *name), void *arg)
{
	struct naming n = { prefix, each, arg };
	return netlink_talk_once(NETLINK_NETFILTER, ask(NFT_MSG_GETTABLE, NLM_F_DUMP, NFPROTO_INET), on_table,
				 &n);
}

/* --- Counters */

struct counting {
	const char *table;
	void (*each)(void *arg, const char *name, uint64_t packets, uint64_t bytes);
	void *arg;
};

static void on_object(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[NFTA_OBJ_MAX + 1], *c[NFTA_COUNTER_MAX + 1];
	struct counting *n = arg;

	if (!parse(h, a, NFTA_OBJ_MAX) || be32_of(a[NFTA_OBJ_TYPE]) != NFT_OBJECT_COUNTER)
		return;
	const char *table = text_of(a[NFTA_OBJ_TABLE]), *name = text_of(a[NFTA_OBJ_NAME]);
	if (!table || strcmp(table, n->table) != 0 || !name || !a[NFTA_OBJ_DATA] ||
	    nla_parse_nested(c, NFTA_COUNTER_MAX, a[NFTA_OBJ_DATA], NULL) < 0)
		return;
	n->each(n->arg, name, be64_of(c[NFTA_COUNTER_PACKETS]), be64_of(c[NFTA_COUNTER_BYTES]));
}

int nf_tables_counters(const char *table,
		       void (*each)(void *arg, const char *name, uint64_t packets, uint64_t bytes), void *arg)
{
	struct counting n = { table, each, arg };
	struct nl_msg *msg = ask(NFT_MSG_GETOBJ, NLM_F_DUMP, NFPROTO_INET);

	if (msg) {
		nla_put_string(msg, NFTA_OBJ_TABLE, table);
		nla_put_u32(msg, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	}
	return netlink_talk_once(NETLINK_NETFILTER, msg, on_object, &n);
}

/* --- Chains */

struct chains {
	struct nf_chain *list;
	size_t count, cap;
};

static bool copy_name(char out[static NF_NAME_MAX], struct nlattr *a)
{
	const char *text = text_of(a);

	if (!text || strlen(text) >= NF_NAME_MAX)
		return false;
	strcpy(out, text);
	return true;
}

static void on_chain(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1];
	struct chains *l = arg;

	if (l->count == l->cap || !parse(h, a, NFTA_CHAIN_MAX) || !a[NFTA_CHAIN_HOOK] ||
	    nla_parse_nested(hook, NFTA_HOOK_MAX, a[NFTA_CHAIN_HOOK], NULL) < 0)
		return;
	struct nf_chain *c = &l->list[l->count];
	const char *type = text_of(a[NFTA_CHAIN_TYPE]);
	uint32_t at = be32_of(hook[NFTA_HOOK_HOOKNUM]);
	c->family = ((struct nfgenmsg *)nlmsg_data(h))->nfgen_family;
	c->forward = at == NF_INET_FORWARD;
	c->drops = a[NFTA_CHAIN_POLICY] && be32_of(a[NFTA_CHAIN_POLICY]) == NF_DROP;
	if (nf_tables_family(c->family) && type && strcmp(type, "filter") == 0 &&
	    (at == NF_INET_FORWARD || at == NF_INET_LOCAL_IN) && copy_name(c->table, a[NFTA_CHAIN_TABLE]) &&
	    copy_name(c->name, a[NFTA_CHAIN_NAME]))
		l->count++;
}

int nf_tables_chains(struct nf_chain *chains, size_t cap)
{
	struct chains l = { chains, 0, cap };
	int rc = netlink_talk_once(NETLINK_NETFILTER, ask(NFT_MSG_GETCHAIN, NLM_F_DUMP, AF_UNSPEC), on_chain,
				   &l);
	return rc ? rc : (int)l.count;
}

const char *nf_tables_family(uint8_t family)
{
	switch (family) {
	case NFPROTO_INET: return "inet";
	case NFPROTO_IPV4: return "ip";
	case NFPROTO_IPV6: return "ip6";
	}
	return NULL;
}

/* --- Rules */

struct rules {
	const struct nf_chain *chain;
	void (*each)(void *arg, const struct nf_rule *r);
	void *arg;
};

static bool is_drop(struct nlattr *data)
{
	struct nlattr *i[NFTA_IMMEDIATE_MAX + 1], *d[NFTA_DATA_MAX + 1], *v[NFTA_VERDICT_MAX + 1];

	return data && nla_parse_nested(i, NFTA_IMMEDIATE_MAX, data, NULL) >= 0 && i[NFTA_IMMEDIATE_DATA] &&
	       nla_parse_nested(d, NFTA_DATA_MAX, i[NFTA_IMMEDIATE_DATA], NULL) >= 0 &&
	       d[NFTA_DATA_VERDICT] &&
	       nla_parse_nested(v, NFTA_VERDICT_MAX, d[NFTA_DATA_VERDICT], NULL) >= 0 &&
	       v[NFTA_VERDICT_CODE] && be32_of(v[NFTA_VERDICT_CODE]) == NF_DROP;
}

static bool is_reject_target(struct nlattr *data)
{
	struct nlattr *t[NFTA_TARGET_MAX + 1];

	if (!data || nla_parse_nested(t, NFTA_TARGET_MAX, data, NULL) < 0)
		return false;
	const char *name = text_of(t[NFTA_TARGET_NAME]);
	return name && strcmp(name, "REJECT") == 0;
}

/* A rule without a condition at whose end is a drop or a reject, nft's or iptables'. */
static bool is_last_word(struct nlattr *expressions)
{
	struct nlattr *one, *e[NFTA_EXPR_MAX + 1];
	int left;

	if (!expressions)
		return false;
	nla_for_each_nested(one, expressions, left)
	{
		if (nla_parse_nested(e, NFTA_EXPR_MAX, one, NULL) < 0 || !text_of(e[NFTA_EXPR_NAME]))
			return false;
		const char *name = text_of(e[NFTA_EXPR_NAME]);
		if (strcmp(name, "counter") == 0 || strcmp(name, "log") == 0)
			continue;
		return strcmp(name, "reject") == 0 ||
		       (strcmp(name, "immediate") == 0 && is_drop(e[NFTA_EXPR_DATA])) ||
		       (strcmp(name, "target") == 0 && is_reject_target(e[NFTA_EXPR_DATA]));
	}
	return false;
}

static void on_rule(void *arg, struct nlmsghdr *h)
{
	struct nlattr *a[NFTA_RULE_MAX + 1];
	struct rules *l = arg;

	if (!parse(h, a, NFTA_RULE_MAX))
		return;
	const char *table = text_of(a[NFTA_RULE_TABLE]), *chain = text_of(a[NFTA_RULE_CHAIN]);
	if (!table || !chain || strcmp(table, l->chain->table) != 0 || strcmp(chain, l->chain->name) != 0)
		return;
	struct nf_rule r = {
		.handle = be64_of(a[NFTA_RULE_HANDLE]),
		.last_word = is_last_word(a[NFTA_RULE_EXPRESSIONS]),
		.text = nlmsg_data(h),
		.len = (size_t)nlmsg_datalen(h),
	};
	l->each(l->arg, &r);
}

int nf_tables_rules(const struct nf_chain *c, void (*each)(void *arg, const struct nf_rule *r), void *arg)
{
	struct rules l = { c, each, arg };
	struct nl_msg *msg = ask(NFT_MSG_GETRULE, NLM_F_DUMP, c->family);

	if (msg) {
		nla_put_string(msg, NFTA_RULE_TABLE, c->table);
		nla_put_string(msg, NFTA_RULE_CHAIN, c->name);
	}
	return netlink_talk_once(NETLINK_NETFILTER, msg, on_rule, &l);
}
