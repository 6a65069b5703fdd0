/* process_*, named as all of Prometheus's client libraries name them (prometheus.io/docs/instrumenting/writing_clientlibs,
 * "Process metrics"). What /proc does not tell is left out. */
#include "relay/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct process {
	double cpu_s, resident, virtual, start_s; /* start_s: since the machine was started */
	double threads;
};

/* proc(5): the fields behind the program's name, which is in brackets and may hold anything. */
static bool read_stat(struct process *p)
{
	char text[1024];
	unsigned long long user, system, start, size;
	long threads, pages;
	double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/stat", "re");

	if (!f)
		return false;
	size_t len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[len] = 0;
	const char *rest = strrchr(text, ')');
	if (!rest ||
	    sscanf(rest + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld %*d %llu "
		   "%llu %ld",
		   &user, &system, &threads, &start, &size, &pages) != 6)
		return false;
	*p = (struct process) { .cpu_s = (double)(user + system) / ticks,
				.resident = (double)pages * page,
				.virtual = (double)size,
				.start_s = (double)start / ticks,
				.threads = (double)threads };
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
