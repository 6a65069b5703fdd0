/* A binary trie with path compression. Each node stands for one prefix; its children are longer prefixes inside it,
 * told apart by the first bit behind it. A node without an owner only joins two children. Keys are two 64-bit words,
 * an IPv4 address in the upper half of the first, so that a step is two masked compares. */
#include "core/lpm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

struct key {
	uint64_t hi, lo;
};

struct lpm_node {
	struct key key, mask;
	struct lpm_node *child[2];
	void *owner;
	unsigned bits;
};

static struct key key_of(enum addr_family family, const uint8_t *ip)
{
	if (family == ADDR_V4)
		return (struct key) { (uint64_t)load_be32(ip) << 32, 0 };
	return (struct key) { load_be64(ip), load_be64(ip + 8) };
}

static struct key mask_of(unsigned bits)
{
	if (bits == 0)
		return (struct key) { 0, 0 };
	if (bits <= 64)
		return (struct key) { ~0ULL << (64 - bits), 0 };
	return (struct key) { ~0ULL, ~0ULL << (128 - bits) };
}

/* Bit `i` counted from the most significant. Bit 128 is asked for below a full-length prefix, which has no
 * children: any answer will do. */
static unsigned bit_at(const struct key *k, unsigned i)
{
	return (i < 64 ? k->hi : k->lo) >> (63 - (i & 63)) & 1;
}

static bool covers(const struct lpm_node *n, const struct key *k)
{
	return (((n->key.hi ^ k->hi) & n->mask.hi) | ((n->key.lo ^ k->lo) & n->mask.lo)) == 0;
}

static unsigned common_bits(const struct key *a, const struct key *b)
{
	if (a->hi != b->hi)
		return (unsigned)__builtin_clzll(a->hi ^ b->hi);
	return a->lo == b->lo ? 128 : 64 + (unsigned)__builtin_clzll(a->lo ^ b->lo);
}

static struct lpm_node **root_of(struct lpm *t, enum addr_family family)
{
	return family == ADDR_V4 ? &t->root4 : &t->root6;
}

static bool prefix_is_valid(const struct addr *prefix, unsigned bits)
{
	return (prefix->family == ADDR_V4 && bits <= 32) || (prefix->family == ADDR_V6 && bits <= 128);
}

static struct lpm_node *node_new(const struct key *k, unsigned bits, void *owner)
{
	struct lpm_node *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->mask = mask_of(bits);
	n->key = (struct key) { k->hi & n->mask.hi, k->lo & n->mask.lo };
	n->owner = owner;
	n->bits = bits;
	return n;
}

/* Puts a new prefix where `old` hangs, which neither covers it nor is it. */
static int insert_at(struct lpm_node **link, const struct key *k, unsigned bits, void *owner)
{
	struct lpm_node *old = *link, *leaf = node_new(k, bits, owner), *top = leaf;

	if (!leaf)
		return -ENOMEM;
	if (old) {
		unsigned common = common_bits(k, &old->key);
		if (common < bits && !(top = node_new(k, common, NULL))) {
			free(leaf);
			return -ENOMEM;
		}
		if (top != leaf)
			top->child[bit_at(k, common)] = leaf;
		top->child[bit_at(&old->key, top->bits)] = old;
	}
	*link = top;
	return 0;
}

int lpm_insert(struct lpm *t, const struct addr *prefix, unsigned bits, void *owner)
{
	if (!prefix_is_valid(prefix, bits) || !owner)
		return -EINVAL;
	struct key k = key_of(prefix->family, prefix->ip);
	struct lpm_node **link = root_of(t, prefix->family);
	while (*link && (*link)->bits < bits && covers(*link, &k))
		link = &(*link)->child[bit_at(&k, (*link)->bits)];
	if (*link && (*link)->bits == bits && covers(*link, &k)) {
		(*link)->owner = owner;
		return 0;
	}
	return insert_at(link, &k, bits, owner);
}

void *lpm_find(const struct lpm *t, enum addr_family family, const uint8_t *ip)
{
	struct key k = key_of(family, ip);
	void *best = NULL;

	for (const struct lpm_node *n = family == ADDR_V4 ? t->root4 : t->root6; n && covers(n, &k);
	     n = n->child[bit_at(&k, n->bits)])
		best = n->owner ? n->owner : best;
	return best;
}

/* What is left of a node: itself while it owns or joins something, else its only child or nothing. */
static struct lpm_node *node_shrink(struct lpm_node *n)
{
	if (n->owner || (n->child[0] && n->child[1]))
		return n;
	struct lpm_node *rest = n->child[0] ? n->child[0] : n->child[1];
	free(n);
	return rest;
}

/* Recursion is bounded by the 129 lengths that a prefix can have. */
static struct lpm_node *without_owner(struct lpm_node *n, const void *owner)
{
	if (!n)
		return NULL;
	n->child[0] = without_owner(n->child[0], owner);
	n->child[1] = without_owner(n->child[1], owner);
	if (n->owner == owner)
		n->owner = NULL;
	return node_shrink(n);
}

void lpm_remove_owner(struct lpm *t, const void *owner)
{
	t->root4 = without_owner(t->root4, owner);
	t->root6 = without_owner(t->root6, owner);
}

static struct lpm_node *without_prefix(struct lpm_node *n, const struct key *k, unsigned bits,
				       const void *owner)
{
	if (!n || n->bits > bits || !covers(n, k))
		return n;
	if (n->bits < bits) {
		struct lpm_node **link = &n->child[bit_at(k, n->bits)];
		*link = without_prefix(*link, k, bits, owner);
	} else if (n->owner == owner) {
		n->owner = NULL;
	}
	return node_shrink(n);
}

void lpm_remove(struct lpm *t, const struct addr *prefix, unsigned bits, const void *owner)
{
	if (!prefix_is_valid(prefix, bits))
		return;
	struct key k = key_of(prefix->family, prefix->ip);
	struct lpm_node **root = root_of(t, prefix->family);
	*root = without_prefix(*root, &k, bits, owner);
}

static void free_all(struct lpm_node *n)
{
	if (!n)
		return;
	free_all(n->child[0]);
	free_all(n->child[1]);
	free(n);
}

void lpm_clear(struct lpm *t)
{
	free_all(t->root4);
	free_all(t->root6);
	*t = (struct lpm) { 0 };
}
