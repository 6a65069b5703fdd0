#include "apps/p2pd/shell_sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
	SLOTS_PER_GENERATION = 1024, /* see engine.h */
	CARRIES_DATA = 64,	     /* datagrams received: more than punching brings to one socket */
	AFFORDABLE_SHARE = 4,	     /* of the open files */
	FILES_WANTED = 2 * AFFORDABLE_SHARE * SHELL_SOCKETS_MAX,
};

struct shell_socket {
	uint32_t id;
	struct shell_sockets *table;
	struct udp_socket udp;
	bool carries_data;
	bool doomed; /* in no slot any more: closed at the end of its batch */
};

void shell_sockets_init(struct shell_sockets *t, struct loop *l, struct udp_slab *slab, enum udp_offload most,
			const struct shell_sockets_handler *handler, void *arg)
{
	*t = (struct shell_sockets) {
		.loop = l, .slab = slab, .most = most, .handler = *handler, .arg = arg
	};
}

/* The one of many that got through is a tunnel's way from then on. */
static void grow(struct shell_socket *s)
{
	s->carries_data = true;
	udp_set_buffer(&s->udp, UDP_BUFFER);
}

static void end(struct shell_socket *s)
{
	udp_close(&s->udp);
	free(s);
}

static void on_train(void *arg, const struct udp_train *t)
{
	struct shell_socket *s = arg;
	struct udp_train here = *t;

	s->table->delivering = s;
	if (!s->carries_data && s->udp.stats.rx >= CARRIES_DATA)
		grow(s);
	here.local = s->udp.local;
	s->table->handler.on_train(s->table->arg, s->id, &here);
}

static void on_batch(void *arg)
{
	struct shell_socket *s = arg;

	s->table->delivering = s;
	if (s->table->handler.on_batch)
		s->table->handler.on_batch(s->table->arg);
	s->table->delivering = NULL;
	if (s->doomed)
		end(s);
}

/* Who was given trains uses their memory until on_batch, which a closed socket would not call: the next system call would
 * write over what was found authentic. */
static void close_slot(struct shell_sockets *t, struct shell_socket **slot)
{
	struct shell_socket *s = *slot;

	*slot = NULL;
	if (s && s == t->delivering)
		s->doomed = true;
	else if (s)
		end(s);
}

static int open_slot(struct shell_sockets *t, struct shell_socket **slot, uint32_t id)
{
	static const struct udp_handler handler = { .on_train = on_train, .on_batch = on_batch };
	static const uint8_t any[4];
	struct addr local = addr_from_ip(ADDR_V4, any, 0);
	struct shell_socket *s = calloc(1, sizeof *s);
	int rc = s ? udp_open(&s->udp, t->loop, t->slab, t->most, &local, &handler, s) : -ENOMEM;

	if (rc) {
		free(s);
		return rc;
	}
	udp_set_buffer(&s->udp, UDP_BUFFER_SMALL);
	udp_want_local(&s->udp); /* the port that the system chose tells whether a NAT keeps it */
	s->id = id;
	s->table = t;
	*slot = s;
	return 0;
}

/* The number of the slot that an id is for; ENGINE_SOCKETS: none. */
static unsigned slot_of(uint32_t id)
{
	uint32_t slot = (id - 1) % SLOTS_PER_GENERATION;

	return id && slot < ENGINE_SOCKETS ? slot : ENGINE_SOCKETS;
}

static int lose(struct shell_sockets *t, int error)
{
	t->lost++;
	return error;
}

struct udp_socket *shell_sockets_find(struct shell_sockets *t, uint32_t id)
{
	unsigned number = slot_of(id);
	struct shell_socket *s = number == ENGINE_SOCKETS ? NULL : t->slots[number];

	return s && s->id == id ? &s->udp : NULL;
}

int shell_sockets_send(struct shell_sockets *t, const struct pkt *p)
{
	unsigned number = slot_of(p->socket);

	if (number == ENGINE_SOCKETS)
		return lose(t, -EINVAL);
	struct shell_socket **slot = &t->slots[number];
	if (*slot && (*slot)->id != p->socket)
		close_slot(t, slot);
	int rc = *slot ? 0 : open_slot(t, slot, p->socket);
	return rc ? lose(t, rc) : udp_send(&(*slot)->udp, p);
}

void shell_sockets_keep(struct shell_sockets *t, const uint32_t used[static ENGINE_SOCKETS])
{
	for (size_t i = 0; i < ENGINE_SOCKETS; i++)
		if (t->slots[i] && t->slots[i]->id != used[i])
			close_slot(t, &t->slots[i]);
}

void shell_sockets_close(struct shell_sockets *t)
{
	for (size_t i = 0; i < ENGINE_SOCKETS; i++)
		close_slot(t, &t->slots[i]);
}

uint16_t shell_sockets_affordable(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return 0;
	if (files.rlim_cur < FILES_WANTED && files.rlim_cur < files.rlim_max) {
		struct rlimit more = files;
		more.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			files = more;
	}
	rlim_t share = files.rlim_cur / AFFORDABLE_SHARE;
	return share < SHELL_SOCKETS_MAX ? (uint16_t)share : SHELL_SOCKETS_MAX;
}
