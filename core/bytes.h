/* Bounds-checked reading and writing of byte strings. Both cursors are sticky: after the first access that does
 * not fit, `bad` is set, reads return zeros and writes are dropped, so that a codec checks once, at its end. */
#ifndef P2PD_CORE_BYTES_H
#define P2PD_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct reader {
	const uint8_t *p;
	size_t left;
	bool bad;
};

struct writer {
	uint8_t *base;
	size_t cap, len;
	bool bad;
};

/* Of structs, too: what is between their members may make equal ones look different. */
static inline bool bytes_same(const void *a, const void *b, size_t len)
{
	return memcmp(a, b, len) == 0;
}

static inline uint16_t load_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load_le64(const uint8_t *p)
{
	return (uint64_t)load_le32(p) | (uint64_t)load_le32(p + 4) << 32;
}

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline uint64_t load_be64(const uint8_t *p)
{
	return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

static inline void store_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void store_le32(uint8_t *p, uint32_t v)
{
	store_le16(p, (uint16_t)v);
	store_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void store_le64(uint8_t *p, uint64_t v)
{
	store_le32(p, (uint32_t)v);
	store_le32(p + 4, (uint32_t)(v >> 32));
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, (uint16_t)(v >> 16));
	store_be16(p + 2, (uint16_t)v);
}

static inline void store_be64(uint8_t *p, uint64_t v)
{
	store_be32(p, (uint32_t)(v >> 32));
	store_be32(p + 4, (uint32_t)v);
}

static inline struct reader reader_over(const void *data, size_t len)
{
	return (struct reader) { .p = data, .left = len };
}

/* The next `n` bytes in place, or NULL (and `bad`) when fewer are left. */
static inline const uint8_t *read_bytes(struct reader *r, size_t n)
{
	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += n;
	r->left -= n;
	return p;
}

/* Copies `n` bytes out; zeros when they are not there. */
static inline void read_into(struct reader *r, void *out, size_t n)
{
	const uint8_t *p = read_bytes(r, n);
	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

static inline uint8_t read_u8(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 1);
	return p ? *p : 0;
}

static inline uint16_t read_le16(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 2);
	return p ? load_le16(p) : 0;
}

static inline uint32_t read_le32(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 4);
	return p ? load_le32(p) : 0;
}

static inline uint64_t read_le64(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 8);
	return p ? load_le64(p) : 0;
}

static inline uint16_t read_be16(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 2);
	return p ? load_be16(p) : 0;
}

static inline uint32_t read_be32(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 4);
	return p ? load_be32(p) : 0;
}

/* True when every read fitted and nothing is left over. */
static inline bool reader_done(const struct reader *r)
{
	return !r->bad && r->left == 0;
}

static inline struct writer writer_over(void *buf, size_t cap)
{
	return (struct writer) { .base = buf, .cap = cap };
}

/* Room for `n` bytes to be filled by the caller, or NULL (and `bad`). */
static inline uint8_t *write_room(struct writer *w, size_t n)
{
	if (w->bad || n > w->cap - w->len) {
		w->bad = true;
		return NULL;
	}
	uint8_t *p = w->base + w->len;
	w->len += n;
	return p;
}

static inline void write_bytes(struct writer *w, const void *data, size_t n)
{
	uint8_t *p = write_room(w, n);
	if (p && n)
		memcpy(p, data, n);
}

static inline void write_zeros(struct writer *w, size_t n)
{
	uint8_t *p = write_room(w, n);
	if (p && n)
		memset(p, 0, n);
}

static inline void write_u8(struct writer *w, uint8_t v)
{
	write_bytes(w, &v, 1);
}

static inline void write_le16(struct writer *w, uint16_t v)
{
	uint8_t *p = write_room(w, 2);
	if (p)
		store_le16(p, v);
}

static inline void write_le32(struct writer *w, uint32_t v)
{
	uint8_t *p = write_room(w, 4);
	if (p)
		store_le32(p, v);
}

static inline void write_le64(struct writer *w, uint64_t v)
{
	uint8_t *p = write_room(w, 8);
	if (p)
		store_le64(p, v);
}

static inline void write_be16(struct writer *w, uint16_t v)
{
	uint8_t *p = write_room(w, 2);
	if (p)
		store_be16(p, v);
}

static inline void write_be32(struct writer *w, uint32_t v)
{
	uint8_t *p = write_room(w, 4);
	if (p)
		store_be32(p, v);
}

#endif
