#include "apps/p2pd/forward/gateway_internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/crypto.h"
#include "core/file.h"
#include "core/log.h"

static const char file_name[] = GATEWAY_FILE, schema[] = "p2pd.gateway/1";

/* --- Out. */

static const char *ip_text(const struct addr *a, char out[static ADDR_TEXT_MAX])
{
	out[0] = 0;
	return a->family == ADDR_NONE ? out : addr_format_ip(a, out);
}

static json_t *owner_json(const struct gateway_owner *o)
{
	char ik[CRYPTO_BASE64_TEXT(32)], ip4[ADDR_TEXT_MAX], ip6[ADDR_TEXT_MAX];

	crypto_base64url(ik, o->ik, sizeof o->ik);
	return json_pack("{s:s, s:s, s:b, s:s, s:s}", "ik", ik, "name", o->name, "sole", o->sole, "ip4",
			 ip_text(&o->ip4, ip4), "ip6", ip_text(&o->ip6, ip6));
}

static json_t *ports_json(const struct gateway_given *g)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < g->request.range_count; i++)
		json_array_append_new(array, json_integer(g->ports[i]));
	return array;
}

static json_t *visitors_json(const struct gateway_given *g)
{
	json_t *array = json_array();
	char ip[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < g->visitor_count; i++)
		json_array_append_new(array, json_pack("{s:s, s:I}", "ip", ip_text(&g->visitors[i].ip, ip),
						       "until", (json_int_t)g->visitors[i].until));
	return array;
}

static json_t *given_json(const struct gateway_given *g)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:s, s:o}", "owner", owner_json(&g->owner), "request",
			 lease_request_json(&g->request), "ports", ports_json(g), "kernel", g->kernel,
			 "mode_why", g->mode_why, "visitors", visitors_json(g));
}

bool gateway_given_equal(const struct gateway_given *a, const struct gateway_given *b)
{
	json_t *of_a = given_json(a), *of_b = given_json(b);
	bool equal = of_a && of_b && json_equal(of_a, of_b);

	json_decref(of_a);
	json_decref(of_b);
	return equal;
}

bool gateway_given_asked_same(const struct gateway_given *a, const struct gateway_given *b)
{
	json_t *of_a = lease_request_json(&a->request), *of_b = lease_request_json(&b->request);
	bool same = of_a && of_b && json_equal(of_a, of_b);

	json_decref(of_a);
	json_decref(of_b);
	return same;
}

/* NULL without memory: a lease that is missing would be lost without a word. */
static json_t *all_json(const struct gateway_given *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(array, given_json(&list[i])) != 0) {
			json_decref(array);
			return NULL;
		}
	return json_pack("{s:s, s:o}", "schema", schema, "leases", array);
}

int gateway_given_write(int dir, const struct gateway_given *list, size_t count)
{
	json_t *json = all_json(list, count);
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	int rc = text ? file_write(dir, file_name, text, strlen(text)) : -ENOMEM;

	free(text);
	json_decref(json);
	return rc;
}

/* --- In. */

static bool read_ip(struct addr *out, const char *text, bool may_be_none)
{
	if (*text)
		return addr_parse(out, text, 0) == 0 && out->port == 0;
	*out = (struct addr) { 0 };
	return may_be_none;
}

static bool read_owner(struct gateway_owner *o, json_t *json)
{
	const char *ik, *name, *ip4, *ip6;
	int sole;

	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s, s:b, s:s, s:s}", "ik", &ik, "name", &name,
			   "sole", &sole, "ip4", &ip4, "ip6", &ip6) != 0 ||
	    strlen(name) >= sizeof o->name)
		return false;
	strcpy(o->name, name);
	o->sole = sole;
	return crypto_base64url_decode(o->ik, sizeof o->ik, ik) == 0 && read_ip(&o->ip4, ip4, true) &&
	       read_ip(&o->ip6, ip6, true);
}

static bool read_ports(struct gateway_given *g, const json_t *array)
{
	if (json_array_size(array) != g->request.range_count)
		return false;
	for (unsigned i = 0; i < g->request.range_count; i++) {
		json_int_t port = json_integer_value(json_array_get(array, i));
		if (port < 1 || port + g->request.ranges[i].count > UINT16_MAX + 1)
			return false;
		g->ports[i] = (uint16_t)port;
	}
	return true;
}

static bool read_visitors(struct gateway_given *g, const json_t *array)
{
	if (!json_is_array(array) || json_array_size(array) > FORWARD_PREFIXES_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct gateway_visitor *v = &g->visitors[i];
		const char *ip;
		json_int_t until;
		if (json_unpack_ex(json_array_get(array, i), NULL, JSON_STRICT, "{s:s, s:I}", "ip", &ip,
				   "until", &until) != 0 ||
		    until < 0 || !read_ip(&v->ip, ip, false))
			return false;
		v->until = (uint64_t)until;
	}
	g->visitor_count = (unsigned)json_array_size(array);
	return true;
}

/* One that was written when more was allowed is no reason to lose them all. */
static void bound_rate(json_t *request)
{
	json_t *rate = json_object_get(request, "rate");

	if (json_integer_value(rate) > (json_int_t)RULE_RATE_MAX)
		json_integer_set(rate, (json_int_t)RULE_RATE_MAX);
}

static bool read_given(struct gateway_given *g, json_t *json)
{
	json_t *owner, *request, *ports, *visitors;
	const char *mode_why;
	char why[RULE_WHY];
	int kernel;

	*g = (struct gateway_given) { 0 };
	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:o, s:o, s:o, s:b, s:s, s:o}", "owner", &owner,
			   "request", &request, "ports", &ports, "kernel", &kernel, "mode_why", &mode_why,
			   "visitors", &visitors) != 0 ||
	    strlen(mode_why) >= sizeof g->mode_why)
		return false;
	g->kernel = kernel;
	strcpy(g->mode_why, mode_why);
	bound_rate(request);
	return read_owner(&g->owner, owner) && lease_request_read(&g->request, request, why) == 0 &&
	       read_ports(g, ports) && read_visitors(g, visitors);
}

/* What the file's text says. 0, -EBADMSG or -ENOMEM. */
static int read_all(const char *text, size_t len, struct gateway_given **out, size_t *count)
{
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL), *array;
	const char *said;
	int rc = -EBADMSG;

	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:o}", "schema", &said, "leases", &array) != 0 ||
	    strcmp(said, schema) != 0 || !json_is_array(array) || json_array_size(array) > GATEWAY_LEASES_MAX)
		goto out;
	size_t n = json_array_size(array);
	struct gateway_given *list = calloc(n + 1, sizeof *list);
	rc = list ? 0 : -ENOMEM;
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (!read_given(&list[i], json_array_get(array, i)))
			rc = -EBADMSG;
	if (rc) {
		free(list);
		goto out;
	}
	*out = list;
	*count = n;
out:
	json_decref(json);
	return rc;
}

int gateway_given_read(int dir, struct gateway_given **list, size_t *count)
{
	char *text = malloc(GATEWAY_FILE_MAX);

	*list = NULL;
	*count = 0;
	if (!text)
		return -ENOMEM;
	ssize_t len = file_read(dir, file_name, text, GATEWAY_FILE_MAX);
	int rc = len == -ENOENT ? 0 : len < 0 ? (int)len : read_all(text, (size_t)len, list, count);
	free(text);
	return rc;
}

void gateway_given_put_aside(int dir)
{
	char aside[FILE_NAME_CAP];
	int ret = file_put_aside(dir, file_name, aside);

	if (ret)
		log_warn("gateway", "%s is spoilt and cannot be put aside: %s", file_name, strerror(-ret));
	else
		log_warn("gateway",
			 "%s is spoilt and was put aside as %s: the leases in it are given anew as their "
			 "owners ask",
			 file_name, aside);
}
