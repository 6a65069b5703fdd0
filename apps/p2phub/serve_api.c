/* The REST API: joins HTTP, over TLS and on the control socket, to relay/rest; makes backups on another thread. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "apps/p2phub/hub_data.h"
#include "apps/p2phub/serve_internal.h"
#include "core/log.h"
#include "relay/rest.h"

/* At most one at a time. */
struct backup {
	struct serve_api *api;	 /* NULL: the hub ends */
	struct http_exchange *x; /* NULL: none waits for it */
	struct rest_answer answer;
	char store[HUB_DATA_PATH], folder[HUB_DATA_PATH], to[HUB_DATA_PATH + 40], file[40];
	int error;
	char why[STORE_WHY];
	uint64_t bytes;
};

struct serve_api {
	struct serve *serve;
	struct rest *rest;
	struct http_server *control_http;
	struct stream_listener *control;
	struct backup *backup; /* under way */
	char data[HUB_DATA_PATH];
};

extern const char serve_openapi[];

static void send_answer(struct http_exchange *x, struct rest_answer *a)
{
	char *text = a->json ? json_dumps(a->json, JSON_COMPACT) : NULL;
	const char *body = text ? text : a->text ? a->text : "";

	http_answer_with(x, a->status, a->type, a->headers, body, strlen(body));
	free(text);
	json_decref(a->json);
	a->json = NULL;
}

/* --- Backups */

static void backup_work(void *arg)
{
	struct backup *b = arg;
	struct stat st = { 0 };

	if (mkdir(b->folder, 0700) != 0 && errno != EEXIST) {
		b->error = -errno;
		snprintf(b->why, sizeof b->why, "the folder for backups cannot be made: %s", strerror(errno));
		return;
	}
	b->error = store_backup(b->store, b->to, 0, b->why);
	if (!b->error && stat(b->to, &st) == 0)
		b->bytes = (uint64_t)st.st_size;
}

static void backup_done(void *arg, int error)
{
	struct backup *b = arg;

	if (b->api) {
		b->api->backup = NULL;
		if (error)
			snprintf(b->why, sizeof b->why, "the hub ends");
		rest_on_backup(b->api->rest, &b->answer, error ? error : b->error, b->why, b->file, b->bytes,
			       serve_unix_s(b->api->serve));
		serve_store_soon(b->api->serve);
		if (b->x)
			send_answer(b->x, &b->answer);
		json_decref(b->answer.json);
	}
	free(b);
}

static void backup_gone(void *arg)
{
	((struct backup *)arg)->x = NULL;
}

static void backup_refuse(struct serve_api *api, struct http_exchange *x, struct rest_answer *answer,
			  int error, const char *why)
{
	rest_on_backup(api->rest, answer, error, why, "", 0, serve_unix_s(api->serve));
	send_answer(x, answer);
}

static void backup_name(struct backup *b, const struct serve_api *api)
{
	time_t now = time(NULL);
	char stamp[24];
	struct tm tm;

	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	snprintf(b->file, sizeof b->file, "hub-%s.db", stamp);
	/* Both fit: serve_open_api() has tried a longer name. */
	hub_data_path(b->store, api->data, HUB_DATA_STORE);
	hub_data_path(b->folder, api->data, HUB_DATA_BACKUPS);
	snprintf(b->to, sizeof b->to, "%s/%s", b->folder, b->file);
}

static void backup_begin(struct serve_api *api, struct http_exchange *x, struct rest_answer *answer)
{
	if (api->backup) {
		backup_refuse(api, x, answer, -EBUSY, "a backup is being made already");
		return;
	}
	struct backup *b = calloc(1, sizeof *b);
	if (b) {
		*b = (struct backup) { .api = api, .x = x, .answer = *answer };
		backup_name(b, api);
	}
	int rc = b ? loop_work(api->serve->loop, backup_work, backup_done, b) : -ENOMEM;
	if (rc) {
		free(b);
		backup_refuse(api, x, answer, rc, "the hub has no memory left for it");
		return;
	}
	api->backup = b;
	http_on_gone(x, backup_gone, b);
}

/* --- Requests */

static struct rest_request request_of(struct serve *s, struct http_exchange *x)
{
	return (struct rest_request) {
		.http = http_request(x),
		.from = http_remote(x),
		.at = http_local(x),
		.now_ms = loop_now_ms(),
		.unix_s = serve_unix_s(s),
	};
}

static void handle(struct serve_api *api, struct http_exchange *x, bool local)
{
	struct rest_request request = request_of(api->serve, x);
	struct rest_answer answer;

	request.path = request.http->path + strlen("/api/v1");
	request.local = local;
	rest_handle(api->rest, &request, &answer);
	serve_store_soon(api->serve);
	if (answer.backup)
		backup_begin(api, x, &answer);
	else
		send_answer(x, &answer);
}

bool serve_api_admits(struct serve *s, struct http_exchange *x, const struct rest_route *route)
{
	struct rest_request request = request_of(s, x);
	struct rest_answer answer;

	if (rest_admit(s->api->rest, &request, route, &answer))
		return true;
	serve_store_soon(s);
	send_answer(x, &answer);
	return false;
}

void serve_on_api(void *arg, struct http_exchange *x)
{
	struct serve *s = arg;

	if (s->api)
		handle(s->api, x, false);
	else
		http_answer_error(x, 404, "not_found", "this hub keeps no data, and so has no API");
}

static void on_control(void *arg, struct http_exchange *x)
{
	handle(arg, x, true);
}

static void on_control_metrics(void *arg, struct http_exchange *x)
{
	serve_on_metrics(((struct serve_api *)arg)->serve, x);
}

static void quota_get(void *arg, struct quota_limits *out)
{
	*out = ((struct serve *)arg)->limits.quota;
}

static void quota_set(void *arg, const struct quota_limits *limits)
{
	struct serve *s = arg;
	struct serve_limits all = s->limits;

	all.quota = *limits;
	serve_set_limits(s, &all);
}

/* --- Life */

static const struct http_route control_routes[] = { { "*", "/api/v1/*", on_control },
						    { "GET", "/metrics", on_control_metrics } };

/* The hub serves its nodes without it, too. */
static void open_control(struct serve_api *api)
{
	char path[HUB_DATA_PATH];
	int rc = hub_data_path(path, api->data, HUB_DATA_SOCKET);

	if (!rc)
		rc = stream_listen_unix(&api->control, api->serve->loop, path, http_server_accept,
					api->control_http);
	if (rc)
		log_warn("hub", "`p2phub status` will not work: no socket %s: %s", path, strerror(-rc));
}

int serve_open_api(struct serve *s, const struct serve_config *config)
{
	struct rest_config rest = {
		.coord = s->coord,
		.relay = s->relay,
		.rng = &s->rng,
		.url_host = config->url_host ? config->url_host : "",
		.url_port = config->url_port,
		.openapi = serve_openapi,
		.started_ms = loop_now_ms(),
		.quota_get = quota_get,
		.quota_set = quota_set,
		.arg = s,
	};

	if (!s->store)
		return 0;
	rest.store = s->store;
	struct serve_api *api = s->api = calloc(1, sizeof *api);
	if (!api || strlen(config->data) + 64 > sizeof api->data)
		return api ? -ENAMETOOLONG : -ENOMEM;
	api->serve = s;
	strcpy(api->data, config->data);
	api->rest = rest_create(&rest);
	api->control_http = http_server_create(s->loop, control_routes,
					       sizeof control_routes / sizeof *control_routes, api);
	if (!api->rest || !api->control_http)
		return -ENOMEM;
	open_control(api);
	return 0;
}

void serve_close_api(struct serve *s)
{
	struct serve_api *api = s->api;

	if (!api)
		return;
	stream_listener_close(api->control);
	http_server_destroy(api->control_http);
	if (api->backup)
		api->backup->api = NULL;
	rest_destroy(api->rest);
	free(api);
	s->api = NULL;
}
