/* process_*, named as all of Prometheus's client libraries name them (prometheus.io/docs/instrumenting/writing_clientlibs,
 * "Process metrics"). What /proc does not tell is left out. */
#include "relay/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct process {
	double cpu_s, resident, virtual, start_s; /* start_s: since the machine was started */
	double threads;
};

/* Numbers of the fields of proc(5), from 1 on. */
enum {
	FIELD_STATE = 3,
	FIELD_USER = 14,
	FIELD_SYSTEM,
	FIELD_THREADS = 20,
	FIELD_START = 22,
	FIELD_SIZE,
	FIELD_RSS,
	FIELDS
};

/* False when there are fewer. The program's name, in brackets, may hold anything. */
static bool read_fields(char *text, double fields[static FIELDS])
{
	char *rest = strrchr(text, ')'), *word = rest ? strtok_r(rest + 1, " ", &rest) : NULL;

	for (int i = FIELD_STATE; i < FIELDS; i++, word = strtok_r(NULL, " ", &rest)) {
		if (!word)
			return false;
		fields[i] = strtod(word, NULL);
	}
	return true;
}

static bool read_stat(struct process *p)
{
	const double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
	double fields[FIELDS] = { 0 };
	char text[1024];
	FILE *f = fopen("/proc/self/stat", "re");

	if (!f)
		return false;
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	if (!read_fields(text, fields))
		return false;
	*p = (struct process) { .cpu_s = (fields[FIELD_USER] + fields[FIELD_SYSTEM]) / ticks,
				.resident = fields[FIELD_RSS] * page,
				.virtual = fields[FIELD_SIZE],
				.start_s = fields[FIELD_START] / ticks,
				.threads = fields[FIELD_THREADS] };
	return true;
}

static double clock_s(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The one that reads the folder is not counted. */
static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = -1;

	if (!dir)
		return -1;
	for (const struct dirent *d; (d = readdir(dir));)
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void write_fds(struct metrics *m)
{
	struct rlimit limit;
	int fds = count_fds();

	if (fds >= 0)
		metrics_gauge(m, "process_open_fds", "Open file descriptors.", fds);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metrics_gauge(m, "process_max_fds", "Most file descriptors that may be open.",
			      (double)limit.rlim_cur);
}

void metrics_process(struct metrics *m, const char *program)
{
	const struct metrics_label build[] = { { "program", program }, { "version", P2PD_VERSION } };
	struct process p;

	metrics_begin(m, "p2pd_build_info", METRICS_GAUGE, "Always 1; the labels tell program and version.");
	metrics_sample(m, build, 2, 1);
	write_fds(m);
	if (!read_stat(&p))
		return;
	metrics_counter(m, "process_cpu_seconds_total", "Processor time used, user and system.", p.cpu_s);
	metrics_gauge(m, "process_resident_memory_bytes", "Memory in use (RSS).", p.resident);
	metrics_gauge(m, "process_virtual_memory_bytes", "Address space in use.", p.virtual);
	metrics_gauge(m, "process_threads", "Threads.", p.threads);
	metrics_gauge(m, "process_start_time_seconds", "When the program was started, Unix time.",
		      clock_s(CLOCK_REALTIME) - clock_s(CLOCK_BOOTTIME) + p.start_s);
}
