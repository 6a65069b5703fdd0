#include "apps/natcheck/against.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/p2pd/client.h"
#include "core/fail.h"

/* Each type as it is met most often: home routers keep ports, carriers' symmetric NATs draw them at random. */
static const struct against types[] = {
	{ "nat1", { MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ENDPOINT_INDEPENDENT, ALLOCATION_PRESERVING } },
	{ "nat2", { MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ADDRESS_DEPENDENT, ALLOCATION_PRESERVING } },
	{ "nat3",
	  { MAPPING_ENDPOINT_INDEPENDENT, FILTERING_ADDRESS_AND_PORT_DEPENDENT, ALLOCATION_PRESERVING } },
	{ "nat4",
	  { MAPPING_ADDRESS_AND_PORT_DEPENDENT, FILTERING_ADDRESS_AND_PORT_DEPENDENT, ALLOCATION_RANDOM,
	    .confidence = 100 } },
	{ "open", { MAPPING_NONE, FILTERING_ENDPOINT_INDEPENDENT, ALLOCATION_PRESERVING } },
};

enum { LEAST_PORT = 1024, TYPES = sizeof types / sizeof types[0] };

void against_types(struct against out[static AGAINST_TYPES])
{
	memcpy(out, types, AGAINST_TYPES * sizeof *out);
}

struct technique_plan against_plan(const struct verdict *ours, const struct against *theirs)
{
	struct technique_side us = { *ours, TECHNIQUE_MAX_SOCKETS, false };
	struct technique_side them = { theirs->nat, TECHNIQUE_MAX_SOCKETS, false };

	return technique_choose(&us, &them, 0);
}

/* --- From JSON: p2pd's status has words where natcheck's report has objects. */

/* The value whose name it is; 0, which is "unknown" for all of them, when there is none. */
static uint8_t value_of(const json_t *text, const char *(*name)(int value), int last)
{
	const char *want = json_string_value(text);

	for (int i = 1; want && i <= last; i++) {
		if (!strcmp(name(i), want))
			return (uint8_t)i;
	}
	return 0;
}

static const char *mapping_name(int i)
{
	return nat_mapping_name((enum nat_mapping)i);
}

static const char *filtering_name(int i)
{
	return nat_filtering_name((enum nat_filtering)i);
}

static const char *allocation_name(int i)
{
	return nat_allocation_name((enum nat_allocation)i);
}

static const char *scope_name(int i)
{
	return nat_scope_name((enum nat_scope)i);
}

/* 0 for what is none, and outside of lo..hi. */
static double number_in(const json_t *object, const char *key, double lo, double hi)
{
	double n = json_number_value(json_object_get(object, key));

	return n >= lo && n <= hi ? n : 0;
}

/* {"lo": LO, "hi": HI} or [LO, HI]; zeros, or anything else, for none. */
static void read_block(struct verdict *v, const json_t *block)
{
	bool list = json_is_array(block);
	double lo = json_number_value(list ? json_array_get(block, 0) : json_object_get(block, "lo"));
	double hi = json_number_value(list ? json_array_get(block, 1) : json_object_get(block, "hi"));

	if (lo < LEAST_PORT || hi < lo || hi > UINT16_MAX)
		return;
	v->block_lo = (uint16_t)lo;
	v->block_hi = (uint16_t)hi;
}

static struct verdict from_json(const json_t *nat)
{
	const json_t *allocation = json_object_get(nat, "allocation");
	const json_t *details = json_is_object(allocation) ? allocation : nat;
	const json_t *pattern = json_is_object(allocation) ? json_object_get(allocation, "pattern")
							   : allocation;
	const json_t *type = json_object_get(nat, "type");
	struct verdict v = { 0 };

	v.mapping = value_of(json_object_get(nat, "mapping"), mapping_name, MAPPING_ENDPOINT_DEPENDENT);
	v.filtering = value_of(json_object_get(nat, "filtering"), filtering_name,
			       FILTERING_ADDRESS_AND_PORT_DEPENDENT);
	v.allocation = value_of(pattern, allocation_name, ALLOCATION_RANDOM);
	v.scope = value_of(json_object_get(details, "scope"), scope_name, SCOPE_SOCKET);
	v.step = (int16_t)number_in(details, "step", INT16_MIN, INT16_MAX);
	v.noise_per_10s = (uint16_t)(10 * number_in(details, "noise_per_s", 0, UINT16_MAX / 10));
	read_block(&v, json_object_get(details, "block"));
	v.confidence = v.allocation ? 100 : 0;
	v.udp_blocked = json_is_string(type) && !strcmp(json_string_value(type), "blocked");
	return v;
}

static int from_file(struct against *out, const char *path)
{
	json_error_t error;
	json_t *report = json_load_file(path, 0, &error);
	const char *schema = json_string_value(json_object_get(report, "schema"));

	if (!schema || strncmp(schema, "natcheck/", 9)) {
		json_decref(report);
		return fail_with(EXIT_FAILED, "%s is no report of `natcheck --json`%s%s", path,
				 report ? "" : ": ", report ? "" : error.text);
	}
	snprintf(out->name, sizeof out->name, "%.60s", path);
	out->nat = from_json(report);
	json_decref(report);
	return 0;
}

static const json_t *find_peer(const json_t *status, const char *name)
{
	size_t i;
	json_t *peer;

	json_array_foreach(json_object_get(status, "peers"), i, peer)
	{
		const char *its = json_string_value(json_object_get(peer, "name"));
		if (its && !strcmp(its, name))
			return peer;
	}
	return NULL;
}

int against_peer(struct against *out, const char *status, const char *name)
{
	json_t *json = status ? json_loads(status, 0, NULL) : NULL;
	const json_t *peer = find_peer(json, name), *nat = json_object_get(peer, "nat");
	int code = 0;

	*out = (struct against) { 0 };
	snprintf(out->name, sizeof out->name, "%s", name);
	if (!peer)
		code = fail_with(EXIT_NOT_FOUND, "the running p2pd knows no peer %s; see `p2pd status`",
				 name);
	else if (!json_is_object(nat))
		code = fail_with(EXIT_NOT_FOUND, "%s has not told what its NAT does", name);
	else
		out->nat = from_json(nat);
	json_decref(json);
	return code;
}

static int from_daemon(struct against *out, const char *name, const char *socket)
{
	char *status = NULL;
	int code;

	if (access(socket, F_OK))
		return fail_with(
			EXIT_NO_DAEMON,
			"--against takes nat1 to nat4, open or file:PATH; '%.40s' may be a peer, but no "
			"p2pd is running on %s to ask",
			name, socket);
	code = client_call(socket, "GET", "/v1/status", NULL, &status);

	if (!code)
		code = against_peer(out, status, name);
	free(status);
	return code;
}

int against_find(struct against *out, const char *what, const char *socket)
{
	static const char file[] = "file:";

	*out = (struct against) { 0 };
	for (int i = 0; i < TYPES; i++) {
		if (!strcmp(types[i].name, what)) {
			*out = types[i];
			return 0;
		}
	}
	if (!strncmp(what, file, sizeof file - 1))
		return from_file(out, what + sizeof file - 1);
	return from_daemon(out, what, socket);
}
