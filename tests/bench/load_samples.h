/* Times that were measured, and their quantiles; CPU and memory of another process. For the load generators. */
#ifndef P2PD_TESTS_LOAD_SAMPLES_H
#define P2PD_TESTS_LOAD_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct samples {
	float *ms;
	size_t count, room;
};

static inline uint64_t load_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static inline void samples_add(struct samples *s, double ms)
{
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 4096;
		s->ms = realloc(s->ms, s->room * sizeof *s->ms);
		if (!s->ms)
			abort();
	}
	s->ms[s->count++] = (float)ms;
}

static inline int samples_order(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Of what was added; 0 of nothing. */
static inline double samples_quantile(struct samples *s, double q)
{
	if (!s->count)
		return 0;
	qsort(s->ms, s->count, sizeof *s->ms, samples_order);
	return (double)s->ms[(size_t)(q * (double)(s->count - 1))];
}

/* Seconds of CPU that a process has used; -1 when it is not there. */
static inline double load_cpu_s(int pid)
{
	char path[64], text[1024];
	unsigned long user = 0, system = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	const char *rest = strrchr(text, ')');
	if (!rest ||
	    sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		return -1;
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* One line of a process's status in KiB, as "VmRSS"; -1 when it is not there. */
static inline long load_memory_kib(int pid, const char *key)
{
	char path[64], line[256];
	size_t len = strlen(key);
	long kib = -1;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *f = fopen(path, "r");
	while (f && kib < 0 && fgets(line, sizeof line, f))
		if (!strncmp(line, key, len) && line[len] == ':')
			kib = strtol(line + len + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

#endif
