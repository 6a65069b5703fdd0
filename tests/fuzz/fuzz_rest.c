/* Requests to the hub's API: path, query, headers, body, by strangers and by an administrator. Input: who(1), then the text
 * of a request from its path on. What is answered must be JSON with a status that is one of the API's. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/api_token.h"
#include "relay/rest.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { UNIX_S = 1700000000, FOLDER = 40 };

static struct rng rng;
static struct relay_server *relay;
static struct coord *coord;
static struct store *store;
static struct quota_limits limits;
static char token[API_TOKEN_LEN + 1], folder[FOLDER] = "/tmp/p2pd-fuzz-XXXXXX";

static void quota_get(void *arg, struct quota_limits *out)
{
	(void)arg;
	*out = limits;
}

static void quota_set(void *arg, const struct quota_limits *q)
{
	(void)arg;
	limits = *q;
}

static void clean(void)
{
	char command[FOLDER + 16];

	store_close(store);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	if (system(command) != 0)
		abort();
}

static void fill(void)
{
	struct store_token t = { .name = "fuzz", .scope = STORE_SCOPE_ADMIN };
	struct store_node node = { .last_s = UNIX_S };

	api_token_make(token, &rng);
	api_token_hash(t.hash, token);
	if (store_token_add(store, &t))
		abort();
	for (uint8_t i = 0; i < 4; i++) {
		node.netid[0] = i % 2;
		node.ik[0] = i;
		store_node_seen(store, &node);
	}
	if (store_flush(store))
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[FOLDER + 16], why[STORE_WHY];
	struct coord_config config = { .rng = &rng, .max_nodes = 4 };

	(void)argc;
	(void)argv;
	if (crypto_init() || !mkdtemp(folder))
		return -1;
	rng_init_seed(&rng, 1);
	relay = config.relay = relay_server_create(4, 4, &rng);
	coord = coord_create(&config);
	snprintf(path, sizeof path, "%s/hub.db", folder);
	if (store_open(&store, path, why))
		abort();
	fill();
	atexit(clean);
	return 0;
}

static void check(struct rest *r, struct rest_answer *a)
{
	if (a->backup)
		rest_on_backup(r, a, -5, "no", "", 0, UNIX_S);
	if (a->status < 200 || a->status > 507 || !a->type || (!a->json && !a->text))
		abort();
	size_t len = strlen(a->headers);
	if (len && (len < 4 || memcmp(a->headers + len - 2, "\r\n", 2) != 0))
		abort();
	char *text = a->json ? json_dumps(a->json, 0) : NULL;
	if (a->json && !text)
		abort();
	free(text);
	json_decref(a->json);
}

static void handle(const struct http_message *m, uint8_t who)
{
	struct rest_config config = { .coord = coord,
				      .relay = relay,
				      .store = store,
				      .rng = &rng,
				      .url_host = "hub.example",
				      .url_port = 443,
				      .openapi = "{}",
				      .quota_get = quota_get,
				      .quota_set = quota_set };
	struct rest *r = rest_create(&config);
	struct rest_request request = { .http = m, .path = m->path, .local = who & 1, .unix_s = UNIX_S };
	struct rest_answer answer;

	addr_parse(&request.from, "203.0.113.1:1", 0);
	addr_parse(&request.at, "198.51.100.1:443", 0);
	rest_handle(r, &request, &answer);
	check(r, &answer);
	rest_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const methods[] = { "GET", "PUT", "POST", "DELETE" };
	static char text[HTTP_HEAD_MAX + HTTP_BODY_MAX];
	size_t used;

	if (size < 1 || size > HTTP_HEAD_MAX)
		return 0;
	int n = snprintf(text, sizeof text, "%s /", methods[data[0] >> 1 & 3]);
	if (data[0] & 8)
		n = snprintf(text, sizeof text,
			     "%s /quota HTTP/1.1\r\nHost: hub.example\r\nAuthorization: Bearer %s\r\n"
			     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			     methods[data[0] >> 1 & 3], token, size - 1);
	memcpy(text + n, data + 1, size - 1);
	size_t len = (size_t)n + size - 1;
	if (!(data[0] & 8)) {
		static const char tail[] = " HTTP/1.1\r\nHost: hub.example\r\n\r\n";
		memcpy(text + len, tail, sizeof tail - 1);
		len += sizeof tail - 1;
	}
	struct http_parse *p = http_parse_create(HTTP_IS_REQUEST, HTTP_BODY_MAX, NULL, NULL);
	if (http_parse_feed(p, text, len, &used) == 1)
		handle(http_parse_message(p), data[0]);
	http_parse_destroy(p);
	return 0;
}
