#include "nat/lifetime.h"
void lifetime_start(struct lifetime *l, const struct lifetime_config *config, struct rng *rng,
		    uint64_t now_ms)
{
	(void)rng;
	(void)now_ms;
	l->config = *config;
	l->unknown = true;
}
void lifetime_stop(struct lifetime *l)
{
	l->running = false;
}
bool lifetime_next(struct lifetime *l, struct rng *rng, uint64_t now_ms, struct lifetime_out *out)
{
	(void)l;
	(void)rng;
	(void)now_ms;
	(void)out;
	return false;
}
bool lifetime_on_message(struct lifetime *l, unsigned socket, const struct addr *from, const uint8_t *msg,
			 size_t len, uint64_t now_ms)
{
	(void)l;
	(void)socket;
	(void)from;
	(void)msg;
	(void)len;
	(void)now_ms;
	return false;
}
uint64_t lifetime_deadline(const struct lifetime *l)
{
	(void)l;
	return UINT64_MAX;
}
uint32_t lifetime_keepalive_ms(const struct lifetime *l, uint32_t fallback_ms)
{
	(void)l;
	return fallback_ms;
}
