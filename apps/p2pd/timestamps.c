#include "apps/p2pd/timestamps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/crypto.h"
#include "core/file.h"

static const char file_name[] = "timestamps";

/* Where wk is, or would have to be. */
static size_t place(const struct timestamps *t, const uint8_t *wk)
{
	size_t lo = 0, hi = t->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (memcmp(t->items[mid].wk, wk, 32) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int grow(struct timestamps *t)
{
	size_t cap = t->cap ? t->cap * 2 : 16;

	if (t->count < t->cap)
		return 0;
	if (t->count == TIMESTAMPS_MAX)
		return -ENOSPC;
	struct timestamp *items = realloc(t->items, cap * sizeof *items);
	if (!items)
		return -ENOMEM;
	t->items = items;
	t->cap = cap;
	return 0;
}

int timestamps_note(struct timestamps *t, const uint8_t wk[static 32],
		    const uint8_t ts[static NOISE_TIMESTAMP_LEN])
{
	size_t i = place(t, wk);
	bool known = i < t->count && !memcmp(t->items[i].wk, wk, 32);

	if (known ? memcmp(t->items[i].ts, ts, NOISE_TIMESTAMP_LEN) >= 0
		  : crypto_is_zero(ts, NOISE_TIMESTAMP_LEN))
		return 0;
	if (!known) {
		int ret = grow(t);
		if (ret)
			return ret;
		memmove(&t->items[i + 1], &t->items[i], (t->count - i) * sizeof *t->items);
		memcpy(t->items[i].wk, wk, 32);
		t->count++;
	}
	memcpy(t->items[i].ts, ts, NOISE_TIMESTAMP_LEN);
	t->changed = true;
	return 0;
}

void timestamps_free(struct timestamps *t)
{
	free(t->items);
	*t = (struct timestamps) { 0 };
}

static int note_all(struct timestamps *t, const struct timestamp *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int ret = timestamps_note(t, items[i].wk, items[i].ts);
		if (ret)
			return ret;
	}
	t->changed = false;
	return 0;
}

int timestamps_load(struct timestamps *t, int dir)
{
	size_t cap = TIMESTAMPS_MAX * sizeof(struct timestamp);
	struct timestamp *items = malloc(cap);

	*t = (struct timestamps) { 0 };
	if (!items)
		return -ENOMEM;
	ssize_t n = file_read(dir, file_name, items, cap);
	int ret = n == -ENOENT ? 0 : (int)n;
	if (n > 0)
		ret = n % (ssize_t)sizeof *items ? -EBADMSG : note_all(t, items, (size_t)n / sizeof *items);
	free(items);
	return ret < 0 ? ret : 0;
}

int timestamps_save(struct timestamps *t, int dir)
{
	int ret = t->changed ? file_write(dir, file_name, t->items, t->count * sizeof *t->items) : 0;

	if (!ret)
		t->changed = false;
	return ret;
}
