#include "apps/p2phub/hub_store.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int hub_store_fail(int error, const char *why)
{
	switch (error) {
	case -EACCES:
	case -EPERM: return fail_with(EXIT_DENIED, "%s", why);
	case -EBUSY:
	case -EEXIST: return fail_with(EXIT_CONFLICT, "%s", why);
	case -ENOENT: return fail_with(EXIT_NOT_FOUND, "%s", why);
	default: return fail_with(EXIT_FAILED, "%s", why);
	}
}

int hub_store_open(struct store **out, const char *data)
{
	char path[HUB_DATA_PATH], why[STORE_WHY];

	if (hub_data_path(path, data, HUB_DATA_STORE) != 0)
		return fail_with(EXIT_USAGE, "--data: the path is too long");
	if (access(path, F_OK) != 0 && errno == ENOENT)
		return fail_with(
			EXIT_NOT_FOUND,
			"no hub has kept anything in %s yet: give --data, or run `p2phub serve` first", data);
	int rc = store_open(out, path, why);
	return rc ? hub_store_fail(rc, why) : EXIT_OK;
}

void hub_store_audit(struct store *s, const char *action, const char *object)
{
	struct store_audit e = { .time_s = (uint64_t)time(NULL), .actor = "local", .outcome = "ok" };

	snprintf(e.action, sizeof e.action, "%s", action);
	snprintf(e.object, sizeof e.object, "%s", object);
	if (store_audit_add(s, &e) || store_flush(s))
		fprintf(stderr, "p2phub: it is done, but could not be written to the audit log\n");
}
