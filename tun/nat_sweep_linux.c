#include "tun/nat_sweep.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "tun/conntrack.h"
#include "tun/nat_firewall.h"
#include "tun/nat_mark.h"
#include "tun/nat_table.h"
#include "tun/nf_tables.h"
#include "tun/nft.h"

struct notes {
	unsigned mark_value; /* 0: there is no table */
	struct nat_switch_list switches;
};

static void on_counter(void *arg, const char *name, uint64_t packets, uint64_t bytes)
{
	struct notes *n = arg;
	struct nat_switch s;
	unsigned value;

	(void)packets;
	(void)bytes;
	if (nat_table_is_mark(name, &value) && value <= NAT_MARK_VALUES)
		n->mark_value = value;
	else if (nat_table_is_switch(name, &s) && n->switches.count < NAT_SWITCH_LIST)
		n->switches.list[n->switches.count++] = s;
}

static void remove_table(const char *table)
{
	struct nft_script s;
	char why[128];

	if (nft_begin(&s, why, sizeof why))
		return;
	fprintf(s.out, "delete table inet %s\n", table);
	if (nft_run(&s, false, -1, why, sizeof why))
		log_warn("host_nat", "the nf_tables table %s could not be removed: %s", table, why);
}

/* Forwarding ends before the rules that keep it to what is ours; the last of what was switched on goes first. */
void nat_sweep(const char *tun)
{
	struct notes n = { 0 };
	char table[NAT_TABLE_MAX];

	nat_table_name(table, tun);
	nf_tables_counters(table, on_counter, &n);
	uint32_t mark = nat_mark_bits(n.mark_value);
	for (int what = NAT_SWITCHES - 1; what >= 0; what--)
		for (size_t i = 0; i < n.switches.count; i++)
			if ((int)n.switches.list[i].what == what)
				nat_switch_off(n.switches.list[i]);
	nat_firewall_close(table, mark, NAT_MARK_MASK);
	if (n.mark_value) {
		remove_table(table);
		nat_mark_drop(n.mark_value);
		conntrack_delete_marked(mark, NAT_MARK_MASK);
	}
	nat_mark_sweep(if_nametoindex(tun));
}

/* --- */

enum { OTHERS_MAX = 16 };

struct others {
	char tuns[OTHERS_MAX][TUN_NAME_MAX + 1];
	size_t count;
};

static void on_table(void *arg, const char *name)
{
	const char *tun = name + sizeof NAT_TABLE_PREFIX - 1;
	struct others *o = arg;

	if (strlen(tun) <= TUN_NAME_MAX && !if_nametoindex(tun) && o->count < OTHERS_MAX)
		strcpy(o->tuns[o->count++], tun);
}

void nat_sweep_others(void)
{
	struct others o = { .count = 0 };

	nf_tables_named(NAT_TABLE_PREFIX, on_table, &o);
	for (size_t i = 0; i < o.count; i++)
		nat_sweep(o.tuns[i]);
}
