/* The forwarder by its API, on loopback: our overlay address is one of 127.0.0.0/8 on the device lo, and the kernel's NAT is not
 * asked for. Include it after cmocka.h. */
#ifndef P2PD_TESTS_UNIT_FORWARD_DAEMON_H
#define P2PD_TESTS_UNIT_FORWARD_DAEMON_H

#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/made_node.h"

#include "apps/p2pd/forward/forward_api.h"
#include "core/file.h"
#include "relay/http_client.h"

static char dir_path[64], socket_path[96];
static char own_ip[ADDR_TEXT_MAX]; /* of this process alone: tests may run side by side */
static struct tun_device tun = { .name = "lo" };
static struct loop *loop;
static struct loop_wake *wake;
static struct forwarder *forwarder;
static struct forward_api *api;
static struct http_server *http;
static struct stream_listener *listener;
static struct engine_peer members[3];
static bool read_only;
static const struct gateway_config *as_gateway; /* NULL: it is none */
static int dir;
static void (*settle)(void *arg); /* the forwarder's, for who wants it */
static int service;		  /* listens at 127.0.0.1 */
static uint16_t service_port;

/* ---- The daemon */

static void on_request(void *arg, struct http_exchange *x)
{
	(void)arg;
	forward_api_handle(api, x, read_only);
}

static const struct http_route routes[] = { { "*", FORWARD_API_PATH, on_request } };

static void on_wake(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static inline void start_daemon(void)
{
	const struct forwarder_config config = { .loop = loop,
						 .engine = &engine,
						 .tun = &tun,
						 .state_dir = dir,
						 .gateway = as_gateway,
						 .settle = settle };
	char why[FILE_WHY];

	if (forwarder_start(&forwarder, &config, why))
		fail_msg("%s", why);
	api = forward_api_create(forwarder);
	http = http_server_create(loop, routes, 1, NULL);
	assert_int_equal(stream_listen_unix(&listener, loop, socket_path, http_server_accept, http), 0);
}

static inline void stop_daemon(void)
{
	stream_listener_close(listener);
	http_server_destroy(http);
	forward_api_destroy(api);
	forwarder_cancel(forwarder);
	loop_work_finish(loop);
	forwarder_stop(forwarder);
}

static inline void listen_service(void)
{
	struct addr a = at("127.0.0.1");
	struct sockaddr_storage sa;
	unsigned len = addr_to_sockaddr(&a, &sa);
	socklen_t size = sizeof sa;

	service = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(service, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(service, 8), 0);
	assert_int_equal(getsockname(service, (struct sockaddr *)&sa, &size), 0);
	service_port = addr_from_sockaddr((struct sockaddr *)&sa).port;
}

static inline int begin(void **state)
{
	if (make_node(state))
		return -1;
	engine.joined = true;
	snprintf(own_ip, sizeof own_ip, "127.%d.%d.77", getpid() >> 8 & 0x7f, getpid() & 0xff);
	engine.ip4 = at(own_ip);
	engine.ip6 = (struct addr) { 0 };
	memset(members, 0, sizeof members);
	tun.ifindex = if_nametoindex("lo");
	strcpy(dir_path, "/tmp/forward-api-XXXXXX");
	assert_non_null(mkdtemp(dir_path));
	snprintf(socket_path, sizeof socket_path, "%s/sock", dir_path);
	dir = file_open_dir(dir_path);
	loop = loop_create();
	wake = loop_wake_create(loop, on_wake, NULL);
	read_only = false;
	listen_service();
	start_daemon();
	return 0;
}

static inline int end(void **state)
{
	char command[128];

	stop_daemon();
	loop_wake_destroy(wake);
	loop_destroy(loop);
	close(service);
	close(dir);
	snprintf(command, sizeof command, "rm -r '%s'", dir_path);
	assert_int_equal(system(command), 0);
	return free_node(state);
}

/* ---- The person */

struct question {
	const char *method, *path, *body;
	struct http_reply reply;
	int error;
};

static inline void *ask_thread(void *arg)
{
	struct question *q = arg;

	q->error = http_client_request(socket_path, q->method, q->path, q->body, 10000, &q->reply);
	loop_wake(wake);
	return NULL;
}

/* The status; what was answered in *json, to be released. */
static inline int ask(const char *method, const char *path, const char *body, json_t **json)
{
	struct question q = { .method = method, .path = path, .body = body };
	pthread_t thread;

	pthread_create(&thread, NULL, ask_thread, &q);
	loop_run(loop);
	pthread_join(thread, NULL);
	assert_int_equal(q.error, 0);
	int status = q.reply.status;
	*json = json_loads(q.reply.body, 0, NULL);
	http_reply_free(&q.reply);
	assert_non_null(*json);
	return status;
}

static inline int status_of(const char *method, const char *path, const char *body)
{
	json_t *json;
	int status = ask(method, path, body, &json);

	json_decref(json);
	return status;
}

static inline const char *spec(const char *more)
{
	static char text[512];

	snprintf(text, sizeof text, "{\"local\": \"127.0.0.1:%u\", \"source_ip\": \"nat\"%s}", service_port,
		 more);
	return text;
}

/* Makes a rule; its id. */
static inline const char *add(const char *more)
{
	static char id[64];
	json_t *json;
	int status = ask("POST", "/api/v1/portmap", spec(more), &json);

	if (status != 201)
		fail_msg("%d %s", status, json_dumps(json, 0));
	snprintf(id, sizeof id, "%s", text_at(json, "forward_id"));
	json_decref(json);
	return id;
}

static inline const char *path_of(const char *id, const char *tail)
{
	static char path[160];

	snprintf(path, sizeof path, "/api/v1/portmap/%s%s", id, tail);
	return path;
}

static inline void state_is(const char *id, const char *wanted)
{
	json_t *json;

	assert_int_equal(ask("GET", path_of(id, ""), NULL, &json), 200);
	assert_string_equal(text_at(json, "state"), wanted);
	json_decref(json);
}

static inline int connect_to(uint16_t port)
{
	struct addr a = at(own_ip);
	struct sockaddr_storage sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.port = port;
	unsigned len = addr_to_sockaddr(&a, &sa);
	if (!connect(fd, (struct sockaddr *)&sa, len))
		return fd;
	close(fd);
	return -1;
}

static inline bool has_event(json_t *entries, const char *event, const char *outcome)
{
	json_t *entry;
	size_t i;

	json_array_foreach(entries, i, entry) if (!strcmp(text_at(entry, "event"), event) &&
						  !strcmp(text_at(entry, "outcome"), outcome) &&
						  !strncmp(text_at(entry, "actor"), "uid ", 4)) return true;
	return false;
}

#define with_daemon(test) cmocka_unit_test_setup_teardown(test, begin, end)

#endif
