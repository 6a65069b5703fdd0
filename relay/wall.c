#include "relay/wall.h"

#include "core/log.h"

void wall_init(struct wall *w, uint64_t unix_s, uint64_t known_s, uint64_t now_ms)
{
	bool unset = unix_s < WALL_LEAST && unix_s < known_s;

	*w = (struct wall) { .start_s = unset ? known_s : unix_s, .start_ms = now_ms };
}

uint64_t wall_at(struct wall *w, uint64_t unix_s, uint64_t now_ms)
{
	uint64_t least = w->start_s + (now_ms - w->start_ms) / 1000;
	bool behind = unix_s + WALL_TOLD_S < least;

	if (behind && !w->behind)
		log_warn("hub",
			 "the clock is %llu s behind what it was: set it right, or restart p2phub if it is "
			 "right "
			 "now",
			 (unsigned long long)(least - unix_s));
	w->behind = behind;
	return unix_s > least ? unix_s : least;
}
