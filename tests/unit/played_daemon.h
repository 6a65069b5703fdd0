/* The commands of `p2pd portmap` against a daemon that is played: what they ask, print and end with. Include it after
 * cmocka.h. */
#ifndef P2PD_TESTS_UNIT_PLAYED_DAEMON_H
#define P2PD_TESTS_UNIT_PLAYED_DAEMON_H

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "apps/p2pd/commands.h"
#include "core/fail.h"

enum { CALLS_MAX = 16, TEXT_MAX = 65536, ARGS_MAX = 32 };

#define ID_1 "0198c0de-0000-7000-8000-000000000001"
#define ID_2 "0198c0de-0000-7000-8000-000000000002"
#define ID_3 "0198c0de-0000-7000-8000-000000000003"

/* --- The daemon: one call after the other gets the answers in their order */

struct call {
	char line[512]; /* "POST /api/v1/portmap" */
	char *body;
};

static struct {
	char path[64];
	int fd;
	pthread_t thread;
	struct {
		int status;
		const char *body;
	} answers[CALLS_MAX];
	struct call calls[CALLS_MAX];
	unsigned answer_count, call_count;
} played;

static inline char *header(char *text, const char *name)
{
	char *at = strcasestr(text, name);

	return at ? at + strlen(name) : NULL;
}

static inline void read_call(int fd, struct call *c)
{
	char text[TEXT_MAX];
	size_t len = 0;
	char *body = NULL, *length = NULL;

	do {
		ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		text[len] = 0;
		body = strstr(text, "\r\n\r\n");
		length = header(text, "content-length:");
	} while (!body || len < (size_t)(body + 4 - text) + (length ? strtoul(length, NULL, 10) : 0));
	snprintf(c->line, sizeof c->line, "%.*s", (int)(strstr(text, " HTTP/1.1") - text), text);
	c->body = strdup(body ? body + 4 : "");
}

static inline void *play(void *arg)
{
	int fd;

	while ((fd = accept(played.fd, NULL, NULL)) >= 0) {
		unsigned i = played.call_count;
		if (i < CALLS_MAX && i < played.answer_count) {
			read_call(fd, &played.calls[i]);
			played.call_count++;
			dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s",
				played.answers[i].status, strlen(played.answers[i].body),
				played.answers[i].body);
		}
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return arg;
}

static inline int start(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	memset(&played, 0, sizeof played);
	snprintf(played.path, sizeof played.path, "/tmp/portmap-%d.sock", (int)getpid());
	strcpy(sa.sun_path, played.path);
	unlink(played.path);
	played.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(played.fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(played.fd, 8), 0);
	return pthread_create(&played.thread, NULL, play, NULL);
}

static inline int stop(void **state)
{
	(void)state;
	shutdown(played.fd, SHUT_RDWR);
	pthread_join(played.thread, NULL);
	close(played.fd);
	unlink(played.path);
	for (unsigned i = 0; i < played.call_count; i++)
		free(played.calls[i].body);
	return 0;
}

static inline void answer(int status, const char *body)
{
	unsigned i = played.answer_count++;

	assert_true(i < CALLS_MAX);
	played.answers[i].status = status;
	played.answers[i].body = body;
}

/* --- The person */

static char out[TEXT_MAX], err[TEXT_MAX];

static inline void read_back(FILE *f, char *text)
{
	rewind(f);
	text[fread(text, 1, TEXT_MAX - 1, f)] = 0;
	fclose(f);
}

/* Runs `portmap LINE --socket ...` with `input` on stdin; the exit code, `out` and `err`. */
static inline int run_with(const char *input, const char *line)
{
	FILE *in_file = tmpfile(), *out_file = tmpfile(), *err_file = tmpfile();
	char *argv[ARGS_MAX] = { "portmap" }, *words = strdup(line), *rest = words, *word;
	int argc = 1, code, real_out = dup(STDOUT_FILENO), real_in = dup(STDIN_FILENO);

	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc++] = "--socket";
	argv[argc++] = played.path;
	fputs(input, in_file);
	rewind(in_file);
	fflush(stdout);
	dup2(fileno(in_file), STDIN_FILENO);
	dup2(fileno(out_file), STDOUT_FILENO);
	fail_to(fileno(err_file));
	__fpurge(stdin); /* what the test before did not read */
	clearerr(stdin);
	code = cmd_portmap(argc, argv);
	fflush(stdout);
	fail_to(STDERR_FILENO);
	dup2(real_out, STDOUT_FILENO);
	dup2(real_in, STDIN_FILENO);
	close(real_out);
	close(real_in);
	fclose(in_file);
	read_back(out_file, out);
	read_back(err_file, err);
	free(words);
	return code;
}

static inline int run(const char *line)
{
	return run_with("", line);
}

static inline void expect_call(unsigned i, const char *line)
{
	assert_true(i < played.call_count);
	assert_string_equal(played.calls[i].line, line);
}

static inline void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in:\n%s", part, text);
}

#define RULE_OF(id, name, state, more)                                                                   \
	"{\"forward_id\":\"" id "\",\"name\":\"" name                                                    \
	"\",\"local\":\"192.168.50.10:3306\",\"proto\":\"tcp\",\"scope\":\"public\",\"to\":[],"          \
	"\"via\":\"gw1\",\"allow\":[\"198.51.100.0/24\"],\"max_conn\":200,\"idle_s\":90,\"rate\":"       \
	"1250000,\"expires_at\":1893456000,\"source_ip\":\"kernel\",\"state\":\"" state "\",\"mode\":"   \
	"\"user\",\"mode_why\":\"no nft here\",\"addresses\":[\"203.0.113.5:3306/tcp\",\"[2001:db8::5]:" \
	"3306/tcp\"],\"created_at\":1700000000,\"changed_at\":1700000060" more "}"
#define RULE_1 RULE_OF(ID_1, "till-lyon-3306", "active", "")
#define RULE_2 RULE_OF(ID_2, "nas-home-8080", "pending", ",\"why\":\"gw1 is \\u009b2Joffline\\u001b[2J\"")
#define LIST   "{\"schema\":\"p2pd.portmap/1\",\"forwards\":[" RULE_1 "," RULE_2 "]}"

#endif
