#include "tun/host_nat.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <net/if.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/log.h"
#include "tun/conntrack.h"
#include "tun/listening.h"
#include "tun/nat_firewall.h"
#include "tun/nat_keeper.h"
#include "tun/nat_mark.h"
#include "tun/nat_script.h"
#include "tun/nat_sweep.h"
#include "tun/nat_switch.h"
#include "tun/nat_tally.h"
#include "tun/netif.h"
#include "tun/nf_tables.h"
#include "tun/route.h"
#include "tun/run.h"

enum { ADDRS_MAX = 256 };

/* The entries that are in the kernel now. */
struct state {
	struct forward_entry *entries; /* sorted by id, their targets such as packets get them */
	size_t count;
	struct nat_tally tally;
};

/* There is a table, a mark and a keeper only while there are entries: a table makes the kernel follow each connection of
 * the host. */
struct host_nat {
	struct host_nat_config config;
	struct nat_frame frame;
	struct nat_keeper keeper;
	unsigned mark_value; /* 0: nothing is set up */
	uint32_t generation; /* of nf_tables, when we last were content with it */
	struct nat_switch_list switches;
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

/* --- nft */

static const char *first_line(const char *said)
{
	const char *error = strstr(said, "Error: ");
	return error ? error + 7 : said;
}

static int nft(const char *const argv[], const char *script, size_t len, int hold,
	       char why[static HOST_NAT_WHY])
{
	char said[HOST_NAT_WHY] = "";
	int rc = run_program(argv, script, len, hold, said, sizeof said);

	if (rc == 0)
		return 0;
	if (rc == -ENOENT)
		return fail(rc, why, "the program nft is not here: install nftables");
	if (rc < 0)
		return fail(rc, why, "nft could not be run: %s", strerror(-rc));
	log_debug("host_nat", "nft said: %s", said);
	return fail(strstr(said, "not permitted") ? -EPERM : -EINVAL, why, "nft: %.140s", first_line(said));
}

struct script {
	FILE *out;
	char *text;
	size_t len;
};

static int script_begin(struct script *s)
{
	*s = (struct script) { 0 };
	s->out = open_memstream(&s->text, &s->len);
	return s->out ? 0 : -ENOMEM;
}

static int script_run(struct script *s, const struct host_nat *n, char why[static HOST_NAT_WHY])
{
	static const char *const argv[] = { "nft", "-f", "-", NULL };
	int rc = fclose(s->out) == 0 ? 0 : -ENOMEM;

	if (rc == 0 && s->len)
		rc = nft(argv, s->text, s->len, n->keeper.hold, why);
	free(s->text);
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
	static const char *const argv[] = { "nft", "-c", "-f", "-", NULL };
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
	struct script s;

	if (script_begin(&s))
		return fail(-ENOMEM, why, "no memory");
	nat_script_base(s.out, &n->frame, n->mark_value);
	nat_script_change(s.out, &n->frame, NULL, 0, &e, 1, NULL, NULL);
	int rc = fclose(s.out) == 0 ? nft(argv, s.text, s.len, -1, why) : -ENOMEM;
	free(s.text);
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
	memcpy(n->frame.tun, config->tun, sizeof n->frame.tun);
	nat_script_table(n->frame.table, config->tun);
	pthread_mutex_init(&n->lock, NULL);
	nat_keeper_lock(&n->keeper, config->tun);
	nat_sweep(config->tun);
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
	struct script s;

	if (script_begin(&s))
		return fail(-ENOMEM, why, "no memory");
	nat_script_base(s.out, &n->frame, n->mark_value);
	return script_run(&s, n, why);
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

/* --- What the entries need of the host */

static int own_addresses(struct netif_addr *list, unsigned skip)
{
	int count = netif_list(list, ADDRS_MAX, skip);
	return count < 0 ? 0 : count;
}

/* Visitors come by the interface that has the address, or by those that lead to the internet. */
static void want_for_gateway(const struct host_nat *n, const struct forward_entry *e,
			     const struct netif_addr *own, int own_count, struct nat_switch_list *want)
{
	enum addr_family family = e->listen.family;
	struct lan lan;

	for (int i = 0; i < own_count; i++)
		if (addr_same_ip(&own[i].addr, &e->listen))
			nat_switch_want_forward(want, &n->switches, family, own[i].ifindex);
	if (route_default(family, n->config.ifindex, &lan) == 0)
		nat_switch_want_forward(want, &n->switches, family, lan.ifindex);
}

static bool is_own(const struct netif_addr *own, int own_count, const struct addr *a)
{
	for (int i = 0; i < own_count; i++)
		if (addr_same_ip(&own[i].addr, a))
			return true;
	return false;
}

static void want_switches(const struct host_nat *n, const struct state *s, struct nat_switch_list *want)
{
	struct netif_addr own[ADDRS_MAX];
	int own_count = own_addresses(own, 0);

	want->count = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct forward_entry *e = &s->entries[i];
		if (e->side == FORWARD_GATEWAY)
			want_for_gateway(n, e, own, own_count, want);
		else if (is_own(own, own_count, &e->target))
			continue;
		nat_switch_want_forward(want, &n->switches, e->listen.family, n->config.ifindex);
	}
}

static int switch_over(struct host_nat *n, const struct nat_switch_list *want, char why[static HOST_NAT_WHY])
{
	for (size_t i = 0; i < want->count; i++) {
		int rc = nat_switch_has(&n->switches, want->list[i]) ? 0 : nat_switch_on(want->list[i]);
		if (rc)
			return fail(rc, why, "forwarding of packets could not be switched on: %s",
				    strerror(-rc));
	}
	return 0;
}

static void switch_off_others(const struct nat_switch_list *have, const struct nat_switch_list *want)
{
	for (size_t i = have->count; i-- > 0;)
		if (!nat_switch_has(want, have->list[i]))
			nat_switch_off(have->list[i]);
}

/* --- Applying */

/* A program that listens on all addresses of the host hears of a loopback port at one of ours. With UDP it answers from
 * the address that its routes choose, which is the one that it must have been asked at. */
static struct addr target_of(const struct host_nat *n, const struct forward_entry *e)
{
	struct addr a = e->listen.family == ADDR_V4 ? n->config.ip4 : n->config.ip6;
	struct lan lan;

	if (!addr_is_loopback(&e->target))
		return e->target;
	if (e->proto == FORWARD_UDP && (e->gateway4.family || e->gateway6.family) &&
	    route_default(e->listen.family, n->config.ifindex, &lan) == 0)
		a = lan.local;
	a.port = e->target.port;
	return a;
}

static int make_state(const struct host_nat *n, struct state *s, const struct forward_entry *entries,
		      size_t count)
{
	*s = (struct state) { .count = count };
	s->entries = malloc((count ? count : 1) * sizeof *s->entries);
	if (!s->entries)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		s->entries[i] = entries[i];
		s->entries[i].target = target_of(n, &entries[i]);
	}
	nat_script_sort(s->entries, count);
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
	const struct state *old, *now;
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
}

static int load_change(struct host_nat *n, const struct state *old, const struct state *now,
		       const struct nat_switch_list *had, const struct nat_switch_list *want,
		       const struct conntrack_list *end, char why[static HOST_NAT_WHY])
{
	struct script s;

	if (script_begin(&s))
		return fail(-ENOMEM, why, "no memory");
	nat_script_switches(s.out, &n->frame, had, want);
	nat_script_ended(s.out, &n->frame, end->flows, end->count);
	nat_script_change(s.out, &n->frame, old->entries, old->count, now->entries, now->count, NULL, NULL);
	return script_run(&s, n, why);
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
	want_switches(n, next, &want);
	switch_off_others(&n->switches, &want);
	rc = load_change(n, &n->now, next, &n->switches, &want, end, why);
	if (rc == 0) {
		rc = switch_over(n, &want, why);
		if (rc)
			load_change(n, next, &n->now, &want, &n->switches, &none, ignored);
	}
	if (rc) {
		switch_over(n, &n->switches, ignored);
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
	nf_tables_generation(&n->generation);
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

/* --- Looking */

static void on_counter(void *arg, const char *name, uint64_t packets, uint64_t bytes)
{
	struct host_nat *n = arg;
	nat_tally_counter(&n->now.tally, name, packets, bytes);
}

struct flows {
	struct host_nat *n;
	uint64_t now_ms;
};

static void on_flow(void *arg, const struct conntrack_flow *f)
{
	struct flows *l = arg;
	nat_tally_flow(&l->n->now.tally, f, l->now_ms);
}

int host_nat_look(struct host_nat *n, uint64_t now_ms)
{
	struct flows l = { n, now_ms };

	if (!n->mark_value)
		return 0;
	nat_tally_begin(&n->now.tally);
	int rc = nf_tables_counters(n->frame.table, on_counter, n);
	if (rc == 0)
		rc = conntrack_each(n->frame.mark, n->frame.mask, on_flow, &l);
	nat_tally_end(&n->now.tally);
	publish(n);
	return rc;
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

/* --- What the kernel can carry */

static int can_loopback(const struct host_nat *n, const struct forward_entry *e,
			char why[static HOST_NAT_WHY])
{
	char text[ADDR_TEXT_MAX];
	struct addr at = target_of(n, e);
	uint16_t missing;

	if (listening_on(e->proto, &at, e->count, &missing))
		return 0;
	return fail(-ENOTSUP, why, "%s is loopback, and no program listens on port %u of all addresses",
		    addr_format_ip(&e->target, text), missing);
}

static int can_lan(const struct host_nat *n, const struct forward_entry *e, char why[static HOST_NAT_WHY])
{
	char text[ADDR_TEXT_MAX];
	unsigned ifindex;
	struct lan lan;
	int rc = route_towards(&e->target, &ifindex);

	addr_format_ip(&e->target, text);
	if (rc)
		return fail(-ENOTSUP, why, "there is no route to %s", text);
	if (!nat_switch_forwards(e->target.family, ifindex))
		return fail(-ENOTSUP, why, "this host is no router: answers of %s would not come back to it",
			    text);
	if (route_default(e->target.family, n->config.ifindex, &lan) == 0 && lan.ifindex == ifindex)
		return fail(-ENOTSUP, why,
			    "this host is not the router of %s: its answers would go another way", text);
	return 0;
}

int host_nat_can(const struct host_nat *n, const struct forward_entry *e, char why[static HOST_NAT_WHY])
{
	struct netif_addr own[ADDRS_MAX];
	bool v4 = e->listen.family == ADDR_V4;
	int own_count;

	if (e->listen.family != e->target.family)
		return fail(-ENOTSUP, why, "visitors come by IPv%d, but the service is at an IPv%d address",
			    v4 ? 4 : 6, v4 ? 6 : 4);
	if (e->side == FORWARD_GATEWAY)
		return 0;
	if (addr_is_loopback(&e->target))
		return can_loopback(n, e, why);
	own_count = own_addresses(own, 0);
	return is_own(own, own_count, &e->target) ? 0 : can_lan(n, e, why);
}
