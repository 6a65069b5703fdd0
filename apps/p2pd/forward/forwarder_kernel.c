/* The kernel's NAT, driven by jobs on a work thread: one at a time, what is wanted meanwhile is in the next. */
#include "apps/p2pd/forward/forwarder_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

enum { RETRY_MS = 30000 };

/* Under way: the work thread's, host_nat and all, until it is done. */
struct job {
	struct forwarder *f;
	struct host_nat *nat;
	struct host_nat_config config;
	bool open, apply, look;
	struct forward_list entries;
	struct forward_list in_effect;
	struct kernel_try try; /* what came of it */
	struct forward_inlet *inlets;
	size_t inlet_count;
	uint64_t number, now_ms;
	int error, look_error;
	char why[HOST_NAT_WHY];
};

static struct host_nat_config config_of(const struct forwarder *f)
{
	enum { IP6_PREFIX_BITS = 48 /* the network's, see core/network.h */ };
	const struct engine *e = f->config.engine;
	struct host_nat_config c = {
		.ifindex = f->config.tun->ifindex,
		.ip4 = e->ip4,
		.ip6 = e->ip6,
		.prefix4 = e->config.ip4_prefix,
		.prefix6 = e->ip6,
		.bits4 = e->config.ip4_bits,
		.bits6 = IP6_PREFIX_BITS,
	};

	strcpy(c.tun, f->config.tun->name);
	memset(c.prefix6.ip + IP6_PREFIX_BITS / 8, 0, sizeof c.prefix6.ip - IP6_PREFIX_BITS / 8);
	return c;
}

static bool same_config(const struct host_nat_config *a, const struct host_nat_config *b)
{
	return a->ifindex == b->ifindex && addr_equal(&a->ip4, &b->ip4) && addr_equal(&a->ip6, &b->ip6);
}

/* ---- On the work thread */

_Static_assert((int)KERNEL_TRY_WHY == (int)HOST_NAT_WHY, "one is told as the other");

static int apply(void *arg, const struct forward_entry *entries, size_t count,
		 char why[static KERNEL_TRY_WHY])
{
	struct job *j = arg;

	return host_nat_apply(j->nat, entries, count, why);
}

static int apply_all(struct job *j)
{
	int rc = host_nat_inlets(j->nat, j->inlets, j->inlet_count);

	if (rc)
		return rc;
	j->try = (struct kernel_try) { .apply = apply, .arg = j };
	rc = kernel_try(&j->try, &j->in_effect, &j->entries);
	memcpy(j->why, j->try.why, sizeof j->why);
	if (rc && !j->try.in_effect.items)
		return rc;
	forward_list_free(&j->in_effect);
	j->in_effect = j->try.in_effect;
	return rc;
}

static void work(void *arg)
{
	struct job *j = arg;

	if (j->open) {
		host_nat_close(j->nat);
		j->nat = NULL;
		forward_list_free(&j->in_effect);
		j->error = host_nat_open(&j->nat, &j->config, j->why);
	}
	if (!j->error && j->apply)
		j->error = apply_all(j);
	if (!j->error && j->look)
		j->look_error = host_nat_look(j->nat, j->now_ms);
}

/* ---- On the loop */

bool forwarder_kernel_usable(const struct forwarder *f)
{
	return f->kernel.nat && !*f->kernel.why;
}

bool forwarder_kernel_done(const struct forwarder *f, uint64_t number)
{
	const struct forwarder_kernel *k = &f->kernel;

	return k->applied_number >= number || (k->tried && *k->why && !k->running);
}

uint64_t forwarder_kernel_look(struct forwarder *f)
{
	struct forwarder_kernel *k = &f->kernel;

	if (!k->nat && !k->running)
		return k->looks; /* there is nothing to be seen */
	k->look_wanted = true;
	return k->looks_begun + 1;
}

static void on_failure(struct forwarder *f, const struct job *j)
{
	struct forwarder_kernel *k = &f->kernel;

	if (strcmp(k->why, j->why))
		log_warn("forward", "the kernel cannot forward ports here, sockets do: %s", j->why);
	snprintf(k->why, sizeof k->why, "%s", *j->why ? j->why : strerror(-j->error));
	k->retry_ms = loop_now_ms() + RETRY_MS;
	f->refresh_wanted = true;
}

static void refuse(struct forwarder *f, const struct kernel_refused *r)
{
	struct forwarder_item *it = forwarder_item(f, r->id);

	if (!it) {
		forwarder_grant_on_kernel_error(f, r->id, r->why);
		return;
	}
	log_warn("forward", "sockets carry rule '%s', for the kernel does not take it: %s", it->rule.name,
		 r->why);
	snprintf(it->kernel_error, sizeof it->kernel_error, "%s", r->why);
	f->refresh_wanted = true;
}

static void on_success(struct forwarder *f, const struct job *j)
{
	struct forwarder_kernel *k = &f->kernel;

	if (j->open || *k->why) {
		f->can_round++;
		f->refresh_wanted = true;
	}
	k->why[0] = '\0';
	if (j->apply)
		k->applied_number = j->number;
	for (size_t i = 0; i < j->try.refused_count; i++)
		refuse(f, &j->try.refused[i]);
	if (j->look) {
		k->looks = k->looks_begun;
		forwarder_count_kernel(f);
	}
}

static void free_job(struct job *j)
{
	forward_list_free(&j->entries);
	forward_list_free(&j->in_effect);
	free(j->try.refused);
	free(j->inlets);
	free(j);
}

static void done(void *arg, int error)
{
	struct job *j = arg;
	struct forwarder *f = j->f;
	struct forwarder_kernel *k = &f->kernel;

	k->running = false;
	k->nat = j->nat;
	k->in_effect = j->in_effect;
	j->in_effect = (struct forward_list) { 0 };
	k->tried = !error;
	if (error)
		log_debug("forward", "the kernel's job was left out");
	else if (j->error)
		on_failure(f, j);
	else
		on_success(f, j);
	free_job(j);
	if (f->stopping)
		return;
	forwarder_step(f);
}

static int copy_list(struct forward_list *to, const struct forward_list *from)
{
	if (!from->count)
		return 0;
	to->items = malloc(from->count * sizeof *to->items);
	if (!to->items)
		return -ENOMEM;
	memcpy(to->items, from->items, from->count * sizeof *to->items);
	to->count = to->cap = from->count;
	return 0;
}

static int copy_inlets(struct job *j, const struct forwarder_kernel *k)
{
	if (!k->inlet_count)
		return 0;
	j->inlets = malloc(k->inlet_count * sizeof *j->inlets);
	if (!j->inlets)
		return -ENOMEM;
	memcpy(j->inlets, k->inlets, k->inlet_count * sizeof *j->inlets);
	j->inlet_count = k->inlet_count;
	return 0;
}

static void start(struct forwarder *f, const struct job *what, uint64_t now_ms)
{
	struct forwarder_kernel *k = &f->kernel;
	struct job *j = malloc(sizeof *j);

	if (j) {
		*j = *what;
		j->in_effect = k->in_effect; /* the job's until it is done */
	}
	if (!j || copy_list(&j->entries, &k->wanted) || copy_inlets(j, k) ||
	    loop_work(f->config.loop, work, done, j)) {
		log_error("forward", "out of memory: the kernel is told later");
		if (j) {
			j->in_effect = (struct forward_list) { 0 };
			free_job(j);
		}
		k->retry_ms = now_ms + RETRY_MS;
		return;
	}
	k->in_effect = (struct forward_list) { 0 };
	k->running = true;
	k->config = what->config;
	if (what->look) {
		k->looks_begun++;
		k->look_wanted = false;
	}
}

static void add_inlet(struct forward_inlet *to, size_t *count, const struct addr *at,
		      enum forward_proto proto, uint16_t ports)
{
	if (at->family)
		to[(*count)++] = (struct forward_inlet) { .proto = proto, .at = *at, .count = ports };
}

void forwarder_kernel_set_inlets(struct forwarder *f)
{
	enum { OTHERS = 4 }; /* peers' requests and the door, by two families */
	struct forwarder_kernel *k = &f->kernel;
	struct addr link[] = { f->listen4, f->listen6 }, door[2];
	struct forward_inlet *to = calloc(f->user.count + OTHERS, sizeof *to);
	bool has_door = forwarder_gate_door(f, &door[0], &door[1]);
	size_t count = 0;

	k->needed |= f->user.count > 0;
	for (size_t i = 0; to && i < f->user.count; i++)
		add_inlet(to, &count, &f->user.items[i].listen, f->user.items[i].proto,
			  f->user.items[i].count);
	for (int i = 0; to && i < 2; i++) {
		link[i].port = LEASE_PORT;
		add_inlet(to, &count, &link[i], FORWARD_TCP, 1);
		if (has_door)
			add_inlet(to, &count, &door[i], FORWARD_TCP, 1);
	}
	if (!to || (count == k->inlet_count && (!count || !memcmp(to, k->inlets, count * sizeof *to)))) {
		free(to);
		return;
	}
	free(k->inlets);
	k->inlets = to;
	k->inlet_count = count;
	if (k->nat || k->needed) /* else nobody applies it, nor waits for it */
		k->wanted_number++;
}

void forwarder_kernel_run(struct forwarder *f, uint64_t now_ms)
{
	struct forwarder_kernel *k = &f->kernel;
	struct job j = { .f = f, .nat = k->nat, .config = config_of(f), .now_ms = now_ms };

	if (k->running || !forwarder_ready(f))
		return;
	bool again = now_ms >= k->retry_ms;
	if ((*k->why && !again) || (!k->nat && !k->needed))
		return;
	if (again)
		k->retry_ms = UINT64_MAX;
	j.open = !k->nat || again || !same_config(&j.config, &k->config);
	j.apply = j.open || k->applied_number < k->wanted_number;
	j.look = k->look_wanted;
	j.number = k->wanted_number;
	if (j.open || j.apply || j.look)
		start(f, &j, now_ms);
}

uint64_t forwarder_kernel_deadline(const struct forwarder *f)
{
	const struct forwarder_kernel *k = &f->kernel;

	return k->needed || k->nat ? k->retry_ms : UINT64_MAX;
}

void forwarder_kernel_last_look(struct forwarder *f)
{
	if (forwarder_kernel_usable(f) && !host_nat_look(f->kernel.nat, loop_now_ms()))
		forwarder_count_kernel(f);
}

void forwarder_kernel_stop(struct forwarder *f)
{
	host_nat_close(f->kernel.nat);
	forward_list_free(&f->kernel.wanted);
	forward_list_free(&f->kernel.in_effect);
	free(f->kernel.inlets);
}
