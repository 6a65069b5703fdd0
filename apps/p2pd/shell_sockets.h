/* The extra UDP sockets that punching through address-dependent NATs needs: IPv4, on ports that the system chooses. The
 * engine names them by ids (see engine.h) and sends by them; here each is opened when it is first sent by, and closed
 * once its id is out of use. */
#ifndef P2PD_APPS_P2PD_SHELL_SOCKETS_H
#define P2PD_APPS_P2PD_SHELL_SOCKETS_H

#include <stdint.h>

#include "apps/p2pd/engine.h"
#include "core/udp.h"

enum { SHELL_SOCKETS_MAX = 256 }; /* B2 of the birthday: more sockets gain little */

struct shell_sockets_handler {
	/* By the socket `id`; t->local has its port. */
	void (*on_train)(void *arg, uint32_t id, const struct udp_train *t);
	/* As struct udp_handler's, but it always comes: a socket that is closed meanwhile lasts until then. May be NULL. */
	void (*on_batch)(void *arg);
};

struct shell_sockets {
	struct loop *loop;
	struct udp_slab *slab;
	enum udp_offload most;
	struct shell_sockets_handler handler;
	void *arg;
	struct shell_socket *slots[ENGINE_SOCKETS]; /* NULL: closed */
	struct shell_socket *delivering;	    /* its batch is not over */
	uint64_t lost;				    /* packets out: no socket could be opened for them */
};

/* `handler` gets what arrives by any of them. */
void shell_sockets_init(struct shell_sockets *t, struct loop *l, struct udp_slab *slab, enum udp_offload most,
			const struct shell_sockets_handler *handler, void *arg);
/* The socket `id` (not 0), or NULL if it is not open. */
struct udp_socket *shell_sockets_find(struct shell_sockets *t, uint32_t id);
/* Sends p by the socket p->socket (not 0), opened now if it was not; the packet stays the caller's. As udp_send(), or the
 * errno of a socket that does not open; -EINVAL for what is no id. */
int shell_sockets_send(struct shell_sockets *t, const struct pkt *p);
/* Closes all whose id is not in `used`. May be called from the handler. */
void shell_sockets_keep(struct shell_sockets *t, const uint32_t used[static ENGINE_SOCKETS]);
void shell_sockets_close(struct shell_sockets *t);
/* Raises the process's limit of open files as far as that is of use. How many extra sockets it then affords. */
uint16_t shell_sockets_affordable(void);

#endif
