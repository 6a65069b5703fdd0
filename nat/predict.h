/* From where a NAT put our last mappings to where it will put the next: step, noise, scope, port block (technique B3, B4
 * of the traversal notes). A confidence decides what is tried. Pure. */
#ifndef P2PD_NAT_PREDICT_H
#define P2PD_NAT_PREDICT_H

#include <stddef.h>

#include "core/verdict.h"

enum {
	PREDICT_SAMPLES = 64,
	PREDICT_FRESH_SOCKETS = 16, /* asked for a verdict, interleaved to two servers */
	PREDICT_MIN_SAMPLES = 6,    /* fewer tell nothing */
};

/* One new mapping: which request made it, and where it came to lie. In the order of sending. */
struct predict_sample {
	uint64_t sent_ms;
	uint16_t socket;     /* any number that tells sockets apart */
	uint16_t local_port; /* 0: unknown */
	struct addr server, mapped;
};

struct prediction {
	enum nat_allocation allocation;
	enum nat_scope scope;
	int step;	     /* mode of the differences, any size, either sign; 0 unless sequential */
	double noise_per_s;  /* foreign allocations */
	uint16_t lo, hi;     /* of the estimated port block, aligned; 1024, 65535 when there is none */
	bool block;	     /* lo..hi is an estimate */
	bool pooling;	     /* more than one public address was seen */
	bool keeps_parity;   /* RFC 4787 section 4.2.2 */
	unsigned confidence; /* per cent */
};

struct prediction predict(const struct predict_sample *samples, size_t count);
/* The port that the `ahead`th allocation after the one at `base` gets; wraps within lo..hi (1024..65535). */
uint16_t predict_port(const struct prediction *p, uint16_t base, int ahead);
/* How far ahead a rendezvous port must lie for `wait_ms` of foreign allocations:
 * m = ceil(lambda T + 4 sqrt(lambda T)) + 4; and how many sockets reach it: s = ceil(1.33 m). */
unsigned predict_rendezvous_ahead(double noise_per_s, uint32_t wait_ms);
unsigned predict_rendezvous_sockets(unsigned ahead);
/* Takes what it says of allocations over into `v`, and back. */
void predict_to_verdict(const struct prediction *p, struct verdict *v);
struct prediction predict_from_verdict(const struct verdict *v);

#endif
