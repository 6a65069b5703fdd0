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
#include "tun/nat_state.h"
#include "tun/nat_table.h"
#include "tun/nat_sweep.h"
#include "tun/nat_switch.h"
#include "tun/nf_tables.h"
#include "tun/netif.h"
#include "tun/nft.h"

/* What is forwarded comes in superframes as large as others make them; one over the device's limit would reach us as
 * 47 packets. They may be so large on any device. */
enum { SUPERFRAME_MAX = 65536 };

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
	struct forward_inlet *inlets;
	size_t inlet_count;
	bool new_inlets; /* since the last apply */
	int ailing;	 /* the last error of heal() */
	struct nat_state now;
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

/* --- Setting up, and down again */

/* Also what the sweep does not find since somebody has removed its notes with our table. */
static void lower(struct host_nat *n)
{
	static const struct nat_switch_list none;

	if (!n->mark_value)
		return;
	switch_off_others(&n->switches, &none);
	nat_sweep(n->config.tun);
	nat_mark_drop(n->mark_value);
	conntrack_delete_marked(n->frame.mark, n->frame.mask);
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
	n->new_inlets = true;
	n->frame.mark = nat_mark_bits(n->mark_value);
	rc = load_base(n, why);
	if (rc == 0 && nat_switch_loosen(n->config.ifindex))
		log_warn("host_nat",
			 "rp_filter of %s could not be set to 2: visitors' packets may be dropped",
			 n->config.tun);
	if (rc)
		lower(n);
	else if (netif_set_gso_max(n->config.ifindex, SUPERFRAME_MAX))
		log_debug("host_nat", "%s keeps its limit of superframes", n->config.tun);
	return rc;
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
	nat_state_free(&n->now);
	free(n->inlets);
	nat_tally_free(&n->told);
	pthread_mutex_destroy(&n->lock);
	free(n);
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
	nat_table_inlets(s.out, &n->frame, n->inlets, n->inlet_count);
	nat_change(s.out, &n->frame, NULL, 0, n->now.entries, n->now.count, counted, &n->now.tally);
	nat_tally_all_uncounted(&n->now.tally);
	nat_state_caps(s.out, &n->frame, &n->now);
	return nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
}

/* --- Applying */

struct ending {
	const struct host_nat *n;
	struct nat_state *now;
	struct conntrack_list list;
};

static bool is_inlet(const struct host_nat *n, const struct conntrack_flow *f)
{
	for (size_t i = 0; i < n->inlet_count; i++) {
		const struct forward_inlet *d = &n->inlets[i];
		if (d->proto == (enum forward_proto)f->proto && addr_same_ip(&d->at, &f->to) &&
		    f->to.port >= d->at.port && f->to.port - d->at.port < d->count)
			return true;
	}
	return false;
}

static void on_flow_to_end(void *arg, const struct conntrack_flow *f)
{
	struct ending *end = arg;

	if (!is_inlet(end->n, f) && nat_state_ends(end->now, &end->n->now, f))
		conntrack_list_add(&end->list, f);
}

static int load_change(struct host_nat *n, const struct nat_state *old, const struct nat_state *now,
		       const struct nat_switch_list *had, const struct nat_switch_list *want,
		       const struct conntrack_list *end, char why[static HOST_NAT_WHY])
{
	struct nft_script s;

	if (nft_begin(&s, why, HOST_NAT_WHY))
		return -ENOMEM;
	nat_table_switches(s.out, &n->frame, had, want);
	if (n->new_inlets)
		nat_table_inlets(s.out, &n->frame, n->inlets, n->inlet_count);
	nat_table_ended(s.out, &n->frame, end->flows, end->count);
	nat_change(s.out, &n->frame, old->entries, old->count, now->entries, now->count, NULL, NULL);
	nat_state_caps(s.out, &n->frame, now);
	return nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
}

static int open_firewalls(struct host_nat *n, char why[static HOST_NAT_WHY])
{
	char said[HOST_NAT_WHY] = "";
	int rc = nat_firewall_open(n->frame.table, n->frame.mark, n->frame.mask, n->keeper.hold, said,
				   sizeof said);

	return rc ? fail(rc, why, "this host's firewall does not take our rule: %.100s", said) : 0;
}

/* The table has changed already, and says to both ends of what should not live any more that it has ended. */
static void end_flows(const struct conntrack_list *end)
{
	int rc = conntrack_delete(end->flows, end->count);

	if (rc)
		log_warn("host_nat", "connections that have ended stay in the kernel's table: %s",
			 strerror(-rc));
}

/* From n->now to `next`, in the kernel. What fails is as it was before. */
static int go_over(struct host_nat *n, const struct nat_state *next, const struct conntrack_list *end,
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
	n->new_inlets = false;
	end_flows(end);
	return 0;
}

static void commit(struct host_nat *n, struct nat_state *next)
{
	struct nat_state old = n->now;

	n->now = *next;
	publish(n);
	nat_state_free(&old);
}

int host_nat_inlets(struct host_nat *n, const struct forward_inlet *inlets, size_t count)
{
	struct forward_inlet *copy = malloc((count ? count : 1) * sizeof *copy);

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, inlets, count * sizeof *copy);
	free(n->inlets);
	n->inlets = copy;
	n->inlet_count = count;
	n->new_inlets = true;
	return 0;
}

int host_nat_apply(struct host_nat *n, const struct forward_entry *entries, size_t count,
		   char why[static HOST_NAT_WHY])
{
	bool up = n->mark_value;
	bool needed = count || (n->inlet_count && nat_firewall_drops());
	struct nat_state next;
	int rc = nat_state_make(&next, &n->reach, entries, count, &n->now);

	if (rc)
		return fail(rc, why, "no memory");
	if (!needed) {
		lower(n);
	} else {
		struct ending end = { n, &next, { 0 } };
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
		nat_state_free(&next);
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
	if (!n->now.count && !nat_firewall_drops()) {
		lower(n);
		return 0;
	}
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
	struct forward_entry *again = nat_state_moved(&n->now, &n->reach);
	int rc = again ? host_nat_apply(n, again, n->now.count, why) : 0;

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

/* A firewall came, and nothing else needed us to be here. */
static int heal_inlets(struct host_nat *n)
{
	uint32_t generation;
	char why[HOST_NAT_WHY];
	int rc = n->inlet_count ? nf_tables_generation(&generation) : 0;

	if (rc || !n->inlet_count || generation == n->generation)
		return rc;
	n->generation = generation;
	return nat_firewall_drops() ? host_nat_apply(n, NULL, 0, why) : 0;
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
	nat_state_recap(s.out, &n->frame, &n->now);
	int rc = nft_run(&s, false, n->keeper.hold, why, HOST_NAT_WHY);
	return rc ? rc : conntrack_delete(idle->flows, idle->count);
}

int host_nat_look(struct host_nat *n, uint64_t now_ms)
{
	struct flows l = { n, now_ms, { 0 } };

	int rc = n->mark_value ? heal(n) : heal_inlets(n);
	if (!n->mark_value)
		return rc;
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
