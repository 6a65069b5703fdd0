/* The real p2phub on loopback, told by SIGHUP to read its settings again. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/crypto.h"
#include "core/stream.h"

enum { GUARD_S = 30 };

struct hub {
	char dir[32], said[4096];
	uint16_t tls_port, udp_port;
	pid_t pid;
	FILE *out; /* stdout and stderr */
	struct loop *loop;
};

struct caller {
	struct loop *loop;
	struct tls_config *tls;
	struct stream *stream;
	bool up;
	int error;
	char answer[64];
};

/* --- The hub and its files */

static void put(const struct hub *h, const char *name, const void *data, size_t len)
{
	char path[64], temporary[72];

	snprintf(path, sizeof path, "%s/%s", h->dir, name);
	snprintf(temporary, sizeof temporary, "%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	assert_int_equal(rename(temporary, path), 0);
}

static void put_settings(const struct hub *h, const char *more)
{
	char text[1024];

	snprintf(text, sizeof text,
		 "data: %s/data\nlisten:\n  tls: 127.0.0.1:%u\n  udp:\n    - 127.0.0.1:%u\n"
		 "certificate:\n  cert: %s/fullchain.pem\n  key: %s/privkey.pem\n%s",
		 h->dir, h->tls_port, h->udp_port, h->dir, h->dir, more);
	put(h, "p2phub.yaml", text, strlen(text));
}

/* As the hook of a client of certificate authorities does: certificate first, then key. */
static void put_key(const struct hub *h, const struct tls_key *k)
{
	put(h, "fullchain.pem", k->cert, k->cert_len);
	put(h, "privkey.pem", k->key, k->key_len);
}

/* Reads what the hub says until a line has `needle`; that line stays in h->said. */
static void await_line(struct hub *h, const char *needle)
{
	alarm(GUARD_S);
	do
		if (!fgets(h->said, sizeof h->said, h->out))
			fail_msg("the hub ended and has not said '%s'", needle);
	while (!strstr(h->said, needle));
	alarm(0);
}

static void refuse_stream(void *arg, struct stream *s)
{
	(void)arg;
	stream_close(s);
}

/* Ports that are free: the system gave them, and got them back. */
static void choose_ports(struct hub *h)
{
	struct stream_listener *listener;
	struct addr any;

	assert_int_equal(addr_parse(&any, "127.0.0.1", 1), 0);
	any.port = 0;
	assert_int_equal(stream_listen(&listener, h->loop, &any, NULL, refuse_stream, NULL), 0);
	h->tls_port = h->udp_port = stream_listener_addr(listener).port;
	stream_listener_close(listener);
}

static void exec_hub(const struct hub *h, int out)
{
	char program[4096], config[64];
	ssize_t len = readlink("/proc/self/exe", program, sizeof program - 16);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	program[len > 0 ? len : 0] = 0;
	strcpy(strrchr(program, '/'), "/p2phub");
	snprintf(config, sizeof config, "%s/p2phub.yaml", h->dir);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execl(program, program, "serve", "--config", config, (char *)NULL);
	_exit(127);
}

static void start_hub(struct hub *h)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	h->pid = fork();
	assert_true(h->pid >= 0);
	if (h->pid == 0)
		exec_hub(h, ends[1]);
	close(ends[1]);
	h->out = fdopen(ends[0], "r");
	await_line(h, "ready");
}

static void begin(struct hub *h, const struct tls_key *key)
{
	*h = (struct hub) { .dir = "/tmp/test_reload.XXXXXX", .loop = loop_create() };
	assert_non_null(mkdtemp(h->dir));
	choose_ports(h);
	put_key(h, key);
	put_settings(h, "");
	start_hub(h);
}

static void end(struct hub *h)
{
	char command[64];
	int status;

	kill(h->pid, SIGTERM);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	assert_int_equal(status, 0);
	fclose(h->out);
	loop_destroy(h->loop);
	snprintf(command, sizeof command, "rm -r %s", h->dir);
	assert_int_equal(system(command), 0);
}

/* --- Who connects to it */

static void on_up(void *arg)
{
	struct caller *c = arg;

	c->up = true;
	loop_stop(c->loop);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
	struct caller *c = arg;

	snprintf(c->answer, sizeof c->answer, "%.*s", (int)len, (const char *)data);
	loop_stop(c->loop);
}

static void on_close(void *arg, int error)
{
	struct caller *c = arg;

	c->stream = NULL;
	c->error = error;
	loop_stop(c->loop);
}

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("waited in vain");
}

static void run(struct loop *l)
{
	struct loop_timer *guard = loop_timer_create(l, too_late, NULL);

	loop_timer_set(guard, loop_now_ms() + GUARD_S * 1000);
	loop_run(l);
	loop_timer_destroy(guard);
}

/* Connects, believing the key of `k` only. */
static void call(struct caller *c, const struct hub *h, const struct tls_key *k)
{
	static const struct stream_handler handler = { on_up, on_data, on_close, NULL };
	uint8_t pin[TLS_PIN];

	*c = (struct caller) { .loop = h->loop };
	assert_int_equal(tls_pin_of_cert(pin, k->cert, k->cert_len), 0);
	assert_int_equal(tls_client_config(&c->tls, pin), 0);
	assert_int_equal(stream_connect(&c->stream, h->loop, "127.0.0.1", h->tls_port, c->tls, &handler, c),
			 0);
	run(h->loop);
}

static void hang_up(struct caller *c)
{
	stream_close(c->stream);
	tls_config_destroy(c->tls);
}

static void expect_key(const struct hub *h, const struct tls_key *right, const struct tls_key *wrong)
{
	struct caller c;

	call(&c, h, right);
	assert_true(c.up);
	hang_up(&c);
	call(&c, h, wrong);
	assert_false(c.up);
	assert_int_equal(c.error, -EKEYREJECTED);
	hang_up(&c);
}

static void expect_answer(struct caller *c)
{
	static const char request[] = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

	assert_int_equal(stream_write(c->stream, request, sizeof request - 1), 0);
	run(c->loop);
	assert_non_null(strstr(c->answer, "HTTP/1.1 200"));
}

/* --- */

static struct tls_key first, second;
static struct hub hub;

static void a_new_certificate_is_for_new_connections_and_old_ones_live_on(void **state)
{
	(void)state;
	struct caller old;

	begin(&hub, &first);
	call(&old, &hub, &first);
	assert_true(old.up);
	expect_key(&hub, &first, &second);
	put_key(&hub, &second);
	kill(hub.pid, SIGHUP);
	await_line(&hub, "took the new certificate");
	expect_key(&hub, &second, &first);
	expect_answer(&old);
	hang_up(&old);
	end(&hub);
}

/* With the hook that is installed beside the example file; the files are noticed without a signal. */
static void a_renewal_by_certbots_hook_is_noticed(void **state)
{
	(void)state;
	char hook[4096], command[8192], live[64];
	const char *root = __FILE__;

	snprintf(hook, sizeof hook, "%.*s/apps/p2phub/certbot-hook",
		 (int)(sizeof __FILE__ - sizeof "/tests/unit/test_reload.c"), root);
	begin(&hub, &first);
	snprintf(live, sizeof live, "%s/live", hub.dir);
	assert_int_equal(mkdir(live, 0700), 0);
	put(&hub, "live/fullchain.pem", second.cert, second.cert_len);
	put(&hub, "live/privkey.pem", second.key, second.key_len);
	snprintf(command, sizeof command, "RENEWED_LINEAGE=%s/live P2PHUB_DATA=%s '%s'", hub.dir, hub.dir,
		 hook);
	assert_int_equal(system(command), 0);
	await_line(&hub, "took the new certificate");
	expect_key(&hub, &second, &first);
	end(&hub);
}

/* A hook that replaced but one of them, or is half-way. */
static void a_certificate_without_its_key_is_left_alone_until_the_key_is_there(void **state)
{
	(void)state;
	begin(&hub, &first);
	put(&hub, "fullchain.pem", second.cert, second.cert_len);
	kill(hub.pid, SIGHUP);
	await_line(&hub, "do not belong together; the hub goes on with the certificate it has");
	expect_key(&hub, &first, &second);
	put(&hub, "privkey.pem", second.key, second.key_len);
	kill(hub.pid, SIGHUP);
	await_line(&hub, "took the new certificate");
	expect_key(&hub, &second, &first);
	end(&hub);
}

static void a_bad_file_changes_nothing_and_all_that_is_wrong_is_said(void **state)
{
	(void)state;
	begin(&hub, &first);
	put_settings(&hub, "log:\n  level: debug\nlimits:\n  nodes: many\nurl-host: x\n");
	kill(hub.pid, SIGHUP);
	await_line(&hub, "p2phub.yaml:12:10: limits.nodes takes a number from 1 to ");
	await_line(&hub, "p2phub.yaml:13:1: unknown key 'url-host'");
	await_line(&hub, "nothing was changed");
	put_settings(&hub, "certificate:\n");
	kill(hub.pid, SIGHUP);
	await_line(&hub, "certificate is given twice");
	await_line(&hub, "nothing was changed");
	/* The file is good, but what it names is not there. */
	put(&hub, "p2phub.yaml", "certificate: {cert: /nowhere/a, key: /nowhere/b}\n", 49);
	kill(hub.pid, SIGHUP);
	await_line(&hub, "cannot read /nowhere/a: No such file or directory; nothing was changed");
	put_settings(&hub, "");
	kill(hub.pid, SIGHUP);
	await_line(&hub, "");
	assert_non_null(strstr(hub.said, "no setting has changed"));
	expect_key(&hub, &first, &second);
	end(&hub);
}

static void what_changed_is_said_and_what_needs_a_restart(void **state)
{
	(void)state;
	begin(&hub, &first);
	put_settings(&hub, "log:\n  level: debug\nrelay: {quota: {node_rate: 10mbit}}\n");
	kill(hub.pid, SIGHUP);
	await_line(&hub, "log.level: info -> debug\n");
	await_line(&hub, "relay.quota.node_rate: unlimited -> 10mbit\n");
	uint16_t port = hub.tls_port;
	hub.tls_port = 1;
	put_settings(&hub, "log: {format: json}\n");
	hub.tls_port = port;
	for (int i = 0; i < 2; i++) { /* it stays undone, and is said each time */
		kill(hub.pid, SIGHUP);
		await_line(&hub, "127.0.0.1:1, after a restart");
	}
	assert_true(hub.said[0] == '{');
	expect_key(&hub, &first, &second);
	end(&hub);
}

static void too_late_for_the_hub(int signum)
{
	(void)signum;
	static const char text[] = "the hub has not said what it was to say\n";

	if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
		_exit(1);
}

static int setup(void **state)
{
	(void)state;
	signal(SIGALRM, too_late_for_the_hub);
	return crypto_init() || tls_key_make(&first) || tls_key_make(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_certificate_is_for_new_connections_and_old_ones_live_on),
		cmocka_unit_test(a_renewal_by_certbots_hook_is_noticed),
		cmocka_unit_test(a_certificate_without_its_key_is_left_alone_until_the_key_is_there),
		cmocka_unit_test(a_bad_file_changes_nothing_and_all_that_is_wrong_is_said),
		cmocka_unit_test(what_changed_is_said_and_what_needs_a_restart),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
