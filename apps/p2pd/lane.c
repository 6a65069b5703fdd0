#include "apps/p2pd/lane_impl.h"

#include <sys/mman.h>

/* Mapped, not allocated: what is never used takes no memory. */
struct lane *lane_create(const struct lane_config *config)
{
	struct lane *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (l == MAP_FAILED)
		return NULL;
	l->config = *config;
	offload_merge_reset(&l->merge, config->tun->offload >= TUN_TSO, config->tun->offload >= TUN_USO);
	return l;
}

void lane_destroy(struct lane *l)
{
	if (!l)
		return;
	crypto_wipe(&l->run, sizeof l->run);
	munmap(l, sizeof *l);
}

uint64_t lane_lock(struct lane *l, uint64_t now_ms)
{
	if (!l->config.lock)
		return now_ms;
	pthread_mutex_lock(l->config.lock);
	return loop_now_ms();
}

void lane_unlock(struct lane *l)
{
	if (l->config.lock)
		pthread_mutex_unlock(l->config.lock);
}

static void send_packet(struct lane *l, const struct pkt *p)
{
	struct udp_socket *main_socket = p->addr.family == ADDR_V6 ? l->config.udp6 : l->config.udp4;

	if (p->socket)
		shell_sockets_send(l->config.extra, p);
	else if (udp_is_open(main_socket))
		udp_send(main_socket, p);
}

static void drain_udp(struct lane *l)
{
	struct engine *e = l->config.engine;
	struct pkt_list out = e->udp_out;
	struct pkt *p;

	e->udp_out = (struct pkt_list) { 0 };
	while ((p = pkt_list_pop(&out))) {
		if (p->socket && !l->config.is_main) {
			pkt_list_push(&e->udp_out, p);
			continue;
		}
		send_packet(l, p);
		pkt_put(e->config.pool, p);
	}
}

/* What cannot be sent is lost, as on any network; udp and the device count it. */
bool lane_drain(struct lane *l)
{
	struct engine *e = l->config.engine;
	bool any = e->udp_out.head || e->tun_out.head;
	struct pkt *p;

	if (e->clock.last_ns <= e->clock.kept_ns)
		drain_udp(l);
	while ((p = pkt_list_pop(&e->tun_out))) {
		tun_write_packet(l->config.tun, l->config.queue, pkt_data(p), p->len);
		pkt_put(e->config.pool, p);
	}
	return any;
}
