#include "tun/host_nat.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/log.h"
#include "tun/conntrack.h"
#include "tun/nat_change.h"
#include "tun/nat_firewall.h"
#include "tun/nat_keeper.h"
#include "tun/nat_mark.h"
#include "tun/nat_reach.h"
#include "tun/nat_table.h"
#include "tun/nat_sweep.h"
#include "tun/nat_switch.h"
#include "tun/nat_tally.h"
#include "tun/nf_tables.h"
#include "tun/nft.h"

/* The entries that are in the kernel now. */
struct state {
	struct forward_entry *entries; /* sorted by id, their targets such as packets get them */
	struct addr *asked;	       /* the targets such as they were asked for */
	size_t count;
	struct nat_tally tally;
};

/* There is a table, a mark and a keeper only while there are entries: a table makes the kernel follow each connection of
 * the host. */
struct host_nat {
	struct host_nat_config config;
	struct nat_frame frame;
	struct nat_reach reach;
	struct nat_keeper keeper;
	unsigned mark_value; /* 0: nothing is set up */
	uint32_t generation; /* of nf_tables, when we were last content with it */
	struct nat_switch_list switches;
	int ailing; /* the last error of heal() */
	struct state now;
	pthread_mutex_t lock; /* for `told`, which others may read while we work */
	struct nat_tally told;
};

__attribute__((format(printf, 3, 4))) static int fail(int rc, char why[static HOST_NAT_WHY], const char *fmt,
						      ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, HOST_NAT_WHY, fmt, args);
	va_end(args);
	return rc;
}

/* --- Opening */

static bool may_administer(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 && data[0].effective & 1U << CAP_NET_ADMIN;
}

/* Whether this kernel and this nft take what we would tell them: nothing is changed. */
static int try_nft(const struct host_nat *n, char why[static HOST_NAT_WHY])
{
	struct forward_entry e = {
		.side = FORWARD_GATEWAY,
		.proto = FORWARD_TCP,
		.listen = addr_from_ip(ADDR_V4, (const uint8_t[]) { 192, 0, 2, 1 }, 1),
		.target = addr_from_ip(ADDR_V4, (const uint8_t[]) { 192, 0, 2, 2 }, 2),
		.count = 2,
		.restricted = true,
		.max_conn = 1,
		.idle_s = 1,
		.rate = 1,
	};
	struct nft_script s;

	if (nft_begin(&s, why, HOST_NAT_WHY))
		return -ENOMEM;
	nat_table_base(s.out, &n->frame, n->mark_value);
	nat_change(s.out, &n->frame, NULL, 0, &e, 1, NULL, NULL);
	int rc = nft_run(&s, true, -1, why, HOST_NAT_WHY);
	return rc == -EINVAL ? -ENOTSUP : rc;
}

int host_nat_open(struct host_nat **out, const struct host_nat_config *config, char why[static HOST_NAT_WHY])
{
	*out = NULL;
	if (!may_administer())
		return fail(-EPERM, why, "the kernel's NAT needs root or CAP_NET_ADMIN");
	struct host_nat *n = calloc(1, sizeof *n);
	if (!n)
		return fail(-ENOMEM, why, "no memory");
	n->config = *config;
	n->frame = (struct nat_frame) {
		.mark = nat_mark_bits(1), /* for the trial */
		.mask = NAT_MARK_MASK,
		.prefix4 = config->prefix4,
		.prefix6 = config->prefix6,
		.bits4 = config->bits4,
		.bits6 = config->bits6,
	};
	n->reach = (struct nat_reach) { config->ifindex, config->ip4, config->ip6 };
	memcpy(n->frame.tun, config->tun, sizeof n->frame.tun);
	nat_table_name(n->frame.table, config->tun);
	pthread_mutex_init(&n->lock, NULL);
	nat_keeper_lock(&n->keeper, config->tun);
	nat_sweep(config->tun);
	nat_sweep_others();
	int rc = try_nft(n, why);
	if (rc) {
		host_nat_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

/* --- Setting up, and down again */

static void lower(struct host_nat *n)
{
	if (!n->mark_value)
		return;
	nat_sweep(n->config.tun);
	nat_mark_drop(n->mark_value);
	nat_keeper_end(&n->keeper);
	n->mark_value = 0;
	n->switches.count = 0;
}

static int load_base(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	struct nft_script s;

	if (nft_begin(&s, why, HOST_NAT_WHY))
		return -ENOMEM;
	nat_table_base(s.out, &n->frame, n->mark_value);
	return nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
}

static int raise_up(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	int rc = nat_keeper_start(&n->keeper, n->config.tun);

	if (rc)
		return fail(rc, why, "no process could be started: %s", strerror(-rc));
	rc = nat_mark_take(n->config.ifindex);
	if (rc < 0) {
		nat_keeper_end(&n->keeper);
		return fail(rc, why, "no policy routing for %s: %s", n->config.tun, strerror(-rc));
	}
	n->mark_value = (unsigned)rc;
	n->frame.mark = nat_mark_bits(n->mark_value);
	rc = load_base(n, why);
	if (rc == 0 && nat_switch_loosen(n->config.ifindex))
		log_warn("host_nat",
			 "rp_filter of %s could not be set to 2: visitors' packets may be dropped",
			 n->config.tun);
	if (rc)
		lower(n);
	return rc;
}

static void free_state(struct state *s)
{
	nat_tally_free(&s->tally);
	free(s->entries);
	free(s->asked);
	*s = (struct state) { 0 };
}

/* What host_nat_stats tells from now on. Without memory it goes on telling what it told. */
static void publish(struct host_nat *n)
{
	struct nat_tally copy;

	if (nat_tally_make(&copy, n->now.entries, n->now.count, &n->now.tally))
		return;
	pthread_mutex_lock(&n->lock);
	struct nat_tally old = n->told;
	n->told = copy;
	pthread_mutex_unlock(&n->lock);
	nat_tally_free(&old);
}

void host_nat_close(struct host_nat *n)
{
	if (!n)
		return;
	lower(n);
	nat_keeper_unlock(&n->keeper);
	free_state(&n->now);
	nat_tally_free(&n->told);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* --- Switches */

static int switch_on_all(const struct nat_switch_list *want, char why[static HOST_NAT_WHY])
{
	for (size_t i = 0; i < want->count; i++) {
		int rc = nat_switch_on(want->list[i]);
		if (rc)
			return fail(rc, why, "forwarding of packets could not be switched on: %s",
				    strerror(-rc));
	}
	return 0;
}

static bool same_switches(const struct nat_switch_list *a, const struct nat_switch_list *b)
{
	for (size_t i = 0; i < a->count; i++)
		if (!nat_switch_has(b, a->list[i]))
			return false;
	return a->count == b->count;
}

static void switch_off_others(const struct nat_switch_list *have, const struct nat_switch_list *want)
{
	for (size_t i = have->count; i-- > 0;)
		if (!nat_switch_has(want, have->list[i]))
			nat_switch_off(have->list[i]);
}

/* --- Caps */

static bool begins_id(const struct state *s, size_t i)
{
	return i == 0 || memcmp(s->entries[i].id, s->entries[i - 1].id, FORWARD_ID) != 0;
}

/* The caps of ids some of whose connections the kernel will not have counted. */
static void put_caps(FILE *out, const struct nat_frame *f, const struct state *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct nat_tally_id *one = nat_tally_find(&s->tally, s->entries[i].id);
		if (begins_id(s, i) && one->uncounted)
			nat_change_cap(out, f, &s->entries[i], one->uncounted);
	}
}

/* --- The table, anew */

static void on_note(void *arg, const char *name, uint64_t packets, uint64_t bytes)
{
	unsigned *value = arg;

	(void)packets;
	(void)bytes;
	nat_table_is_mark(name, value);
}

static bool table_stands(const struct host_nat *n)
{
	unsigned value = 0;
	return nf_tables_counters(n->frame.table, on_note, &value) == 0 && value == n->mark_value;
}

static const struct forward_stats *counted(void *arg, const uint8_t *id)
{
	return nat_tally_stats(arg, id);
}

/* The counts go on from what was last seen. */
static int rebuild(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	static const struct nat_switch_list none;
	struct nft_script s;

	if (nft_begin(&s, why, HOST_NAT_WHY))
		return -ENOMEM;
	nat_table_base(s.out, &n->frame, n->mark_value);
	nat_table_switches(s.out, &n->frame, &none, &n->switches);
	nat_change(s.out, &n->frame, NULL, 0, n->now.entries, n->now.count, counted, &n->now.tally);
	nat_tally_all_uncounted(&n->now.tally);
	put_caps(s.out, &n->frame, &n->now);
	return nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
}

/* --- Applying */

static int make_state(const struct host_nat *n, struct state *s, const struct forward_entry *entries,
		      size_t count)
{
	*s = (struct state) { .count = count };
	s->entries = malloc((count ? count : 1) * sizeof *s->entries);
	s->asked = malloc((count ? count : 1) * sizeof *s->asked);
	if (!s->entries || !s->asked) {
		free_state(s);
		return -ENOMEM;
	}
	if (count)
		memcpy(s->entries, entries, count * sizeof *entries);
	nat_change_sort(s->entries, count);
	for (size_t i = 0; i < count; i++) {
		s->asked[i] = s->entries[i].target;
		s->entries[i].target = nat_reach_target(&n->reach, &s->entries[i]);
	}
	int rc = nat_tally_make(&s->tally, s->entries, count, &n->now.tally);
	if (rc)
		free_state(s);
	return rc;
}

static bool allows(const struct forward_entry *e, const struct addr *a)
{
	for (unsigned i = 0; i < e->allow_count; i++)
		if (addr_in_prefix(a, &e->allow[i].prefix, e->allow[i].bits))
			return true;
	return !e->restricted;
}

struct ending {
	const struct state *old;
	struct state *now;
	struct conntrack_list list;
};

/* What belongs to no entry any more, or to one whose target is another, or comes from who is not allowed any more. */
static void on_flow_to_end(void *arg, const struct conntrack_flow *f)
{
	struct ending *end = arg;
	const struct forward_entry *old = nat_tally_entry(&end->old->tally, f);
	const struct forward_entry *now = nat_tally_entry(&end->now->tally, f);
	bool same = old && now && memcmp(old->id, now->id, FORWARD_ID) == 0 &&
		    addr_same_ip(&old->target, &now->target) &&
		    old->target.port - old->listen.port == now->target.port - now->listen.port;

	if (!same || !allows(now, &f->from))
		conntrack_list_add(&end->list, f);
	else if (nat_tally_lives(f))
		nat_tally_uncounted(&end->now->tally, now);
}

static int load_change(struct host_nat *n, const struct state *old, const struct state *now,
		       const struct nat_switch_list *had, const struct nat_switch_list *want,
		       const struct conntrack_list *end, char why[static HOST_NAT_WHY])
{
	struct nft_script s;

	if (nft_begin(&s, why, HOST_NAT_WHY))
		return -ENOMEM;
	nat_table_switches(s.out, &n->frame, had, want);
	nat_table_ended(s.out, &n->frame, end->flows, end->count);
	nat_change(s.out, &n->frame, old->entries, old->count, now->entries, now->count, NULL, NULL);
	put_caps(s.out, &n->frame, now);
	return nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
}

static int open_firewalls(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	char said[HOST_NAT_WHY] = "";
	int rc = nat_firewall_open(n->frame.table, n->frame.mark, n->frame.mask, n->keeper.hold, said,
				   sizeof said);

	return rc ? fail(rc, why, "this host's firewall does not take our rule: %.100s", said) : 0;
}

/* From n->now to `next`, in the kernel. What fails is as it was before. */
static int go_over(struct host_nat *n, const struct state *next, const struct conntrack_list *end,
		   char why[static HOST_NAT_WHY])
{
	static const struct conntrack_list none;
	struct nat_switch_list want;
	char ignored[HOST_NAT_WHY];
	int rc = open_firewalls(n, why);

	if (rc)
		return rc;
	nat_reach_switches(&n->reach, next->entries, next->count, &n->switches, &want);
	switch_off_others(&n->switches, &want);
	rc = load_change(n, &n->now, next, &n->switches, &want, end, why);
	if (rc == 0) {
		rc = switch_on_all(&want, why);
		if (rc)
			load_change(n, next, &n->now, &want, &n->switches, &none, ignored);
	}
	if (rc) {
		switch_on_all(&n->switches, ignored);
		return rc;
	}
	n->switches = want;
	return conntrack_delete(end->flows, end->count);
}

static void commit(struct host_nat *n, struct state *next)
{
	struct state old = n->now;

	n->now = *next;
	publish(n);
	free_state(&old);
}

int host_nat_apply(struct host_nat *n, const struct forward_entry *entries, size_t count,
		   char why[static HOST_NAT_WHY])
{
	bool up = n->mark_value;
	struct state next;
	int rc = make_state(n, &next, entries, count);

	if (rc)
		return fail(rc, why, "no memory");
	if (!count) {
		lower(n);
	} else {
		struct ending end = { &n->now, &next, { 0 } };
		if (up && !table_stands(n))
			rc = rebuild(n, why);
		if (rc == 0)
			rc = up ? conntrack_each(n->frame.mark, n->frame.mask, on_flow_to_end, &end)
				: raise_up(n, why);
		if (rc == 0)
			rc = go_over(n, &next, &end.list, why);
		conntrack_list_free(&end.list);
	}
	if (rc) {
		if (!up)
			lower(n);
		free_state(&next);
		return rc;
	}
	commit(n, &next);
	return 0;
}

/* --- Putting right what others have undone: `flush ruleset`, a firewall's reload, a network manager's rules */

static int heal_tables(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	uint32_t generation;
	int rc = nf_tables_generation(&generation);

	if (rc || generation == n->generation)
		return rc;
	rc = table_stands(n) ? 0 : rebuild(n, why);
	if (rc == 0)
		rc = open_firewalls(n, why);
	return rc ? rc : nf_tables_generation(&n->generation);
}

static int heal_switches(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	struct nat_switch_list want;
	struct nft_script s;

	nat_reach_switches(&n->reach, n->now.entries, n->now.count, &n->switches, &want);
	if (same_switches(&want, &n->switches))
		return switch_on_all(&want, why);
	if (nft_begin(&s, why, HOST_NAT_WHY))
		return -ENOMEM;
	switch_off_others(&n->switches, &want);
	nat_table_switches(s.out, &n->frame, &n->switches, &want);
	int rc = nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
	n->switches = want;
	return rc ? rc : switch_on_all(&want, why);
}

/* The host moved to another network: a loopback target is reached by another address now. */
static int heal_targets(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	size_t count = n->now.count, moved = 0;
	struct forward_entry *again = malloc(count * sizeof *again);

	if (!again)
		return fail(-ENOMEM, why, "no memory");
	for (size_t i = 0; i < count; i++) {
		again[i] = n->now.entries[i];
		again[i].target = n->now.asked[i];
		struct addr target = nat_reach_target(&n->reach, &again[i]);
		moved += !addr_equal(&target, &n->now.entries[i].target);
	}
	int rc = moved ? host_nat_apply(n, again, count, why) : 0;
	free(again);
	return rc;
}

static int heal(struct host_nat *n)
{
	char why[HOST_NAT_WHY] = "policy routing or the keeper";
	int rc = nat_mark_keep(n->mark_value, n->config.ifindex);

	if (rc == 0 && !nat_keeper_lives(&n->keeper))
		rc = nat_keeper_start(&n->keeper, n->config.tun);
	if (rc == 0)
		rc = heal_tables(n, why);
	if (rc == 0)
		rc = heal_switches(n, why);
	if (rc == 0)
		rc = heal_targets(n, why);
	if (rc && rc != n->ailing)
		log_warn("host_nat", "what others changed cannot be put right: %s: %s", why, strerror(-rc));
	n->ailing = rc;
	return rc;
}

/* --- Looking */

static void on_counter(void *arg, const char *name, uint64_t packets, uint64_t bytes)
{
	struct host_nat *n = arg;
	nat_tally_counter(&n->now.tally, name, packets, bytes);
}

struct flows {
	struct host_nat *n;
	uint64_t now_ms;
	struct conntrack_list idle;
};

static bool is_idle(const struct forward_entry *e, const struct conntrack_flow *f)
{
	return e->side == FORWARD_OWNER && e->idle_s && f->tcp_state == TCP_CONNTRACK_ESTABLISHED &&
	       f->timeout_s < NAT_IDLE_GRACE_S;
}

static void on_flow(void *arg, const struct conntrack_flow *f)
{
	struct flows *l = arg;
	const struct forward_entry *e = nat_tally_entry(&l->n->now.tally, f);

	if (e && is_idle(e, f))
		conntrack_list_add(&l->idle, f);
	else
		nat_tally_flow(&l->n->now.tally, f, l->now_ms);
}

/* Both ends of what is ended hear of it when they next send something. */
static int act_on_look(struct host_nat *n, const struct conntrack_list *idle)
{
	char why[HOST_NAT_WHY];
	struct nft_script s;

	if (nft_begin(&s, why, sizeof why))
		return -ENOMEM;
	nat_table_ended(s.out, &n->frame, idle->flows, idle->count);
	for (size_t i = 0; i < n->now.count; i++)
		if (begins_id(&n->now, i)) {
			struct nat_tally_id *one = nat_tally_find(&n->now.tally, n->now.entries[i].id);
			if (nat_tally_recap(one))
				nat_change_cap(s.out, &n->frame, &n->now.entries[i], one->uncounted);
		}
	int rc = nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
	return rc ? rc : conntrack_delete(idle->flows, idle->count);
}

int host_nat_look(struct host_nat *n, uint64_t now_ms)
{
	struct flows l = { n, now_ms, { 0 } };

	if (!n->mark_value)
		return 0;
	int rc = heal(n);
	nat_tally_begin(&n->now.tally);
	int counters = nf_tables_counters(n->frame.table, on_counter, n);
	int flows = conntrack_each(n->frame.mark, n->frame.mask, on_flow, &l);
	nat_tally_end(&n->now.tally);
	publish(n);
	int ended = act_on_look(n, &l.idle);
	conntrack_list_free(&l.idle);
	return rc ? rc : counters ? counters : flows ? flows : ended;
}

bool host_nat_stats(const struct host_nat *n, const uint8_t id[static FORWARD_ID], struct forward_stats *out)
{
	struct host_nat *writable = (struct host_nat *)(uintptr_t)n;

	pthread_mutex_lock(&writable->lock);
	const struct forward_stats *found = nat_tally_stats(&n->told, id);
	if (found)
		*out = *found;
	pthread_mutex_unlock(&writable->lock);
	return found;
}

int host_nat_can(const struct host_nat *n, const struct forward_entry *e, char why[static HOST_NAT_WHY])
{
	return nat_reach_can(&n->reach, e, why, HOST_NAT_WHY);
}
