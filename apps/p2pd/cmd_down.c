#include "apps/p2pd/commands.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "apps/p2pd/client.h"
#include "apps/p2pd/state.h"
#include "core/fail.h"
#include "core/options.h"

enum { PATIENCE_MS = 10000 };

static int forget_network(struct state *state)
{
	struct state_network known;
	int found = state_load_network(state, &known), ret = state_forget_network(state);

	state_wipe_network(&known);
	return !ret && found == -ENOENT ? -ENOENT : ret;
}

/* No daemon runs: what it would have forgotten is forgotten here. Asking does not make the folder. */
static int forget(const char *folder)
{
	struct state state;
	int ret = access(folder, F_OK) ? -errno : state_open(&state, folder);

	if (!ret) {
		ret = forget_network(&state);
		state_close(&state);
	}
	switch (ret) {
	case 0: return EXIT_OK;
	case -ENOENT: return fail_with(EXIT_NOT_JOINED, "%s knows of no network: nothing to forget", folder);
	case -EBUSY:
		return fail_with(EXIT_CONFLICT, "a daemon on another --socket uses %s: end that one first",
				 folder);
	case -EACCES:
	case -EPERM: return fail_with(EXIT_DENIED, "no right to the state folder %s: try sudo", folder);
	default: return fail_with(EXIT_FAILED, "cannot change %s: %s", folder, strerror(-ret));
	}
}

/* Until the device, the socket and the lock are gone. */
static int wait_for_end(const char *answer)
{
	json_t *json = json_loads(answer, 0, NULL);
	pid_t pid = (pid_t)json_integer_value(json_object_get(json, "pid"));
	int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
	int ended = 1;

	json_decref(json);
	if (fd >= 0) {
		ended = poll(&(struct pollfd) { .fd = fd, .events = POLLIN }, 1, PATIENCE_MS);
		close(fd);
	}
	return ended > 0 ? EXIT_OK
			 : fail_with(EXIT_TIMED_OUT, "the daemon (process %d) has not ended yet", (int)pid);
}

static int end_daemon(const char *socket, bool forgets)
{
	char *answer;
	int code = client_call(socket, "POST", "/v1/down", forgets ? "{\"forget\":true}" : "{}", &answer);

	if (code)
		return code;
	code = wait_for_end(answer);
	free(answer);
	return code;
}

int cmd_down(int argc, char **argv)
{
	const char *socket = CLIENT_SOCKET, *folder = CLIENT_STATE;
	bool forgets = false;
	const struct options_entry entries[] = {
		{ "forget", NULL, "leave the network for good: its keys are removed from the state folder",
		  .flag = &forgets },
		{ "state", "DIR", "state folder, for --forget without a daemon (" CLIENT_STATE ")",
		  .text = &folder },
		{ "socket", "PATH", "the daemon's socket (" CLIENT_SOCKET ")", .text = &socket },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2pd down [options]",
		.about = "Ends the daemon. The next `p2pd up` without options joins the same network again.",
		.entries = entries,
	};
	struct options_list args;
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = forgets && !client_is_alive(socket) ? forget(folder) : end_daemon(socket, forgets);
	if (!code && forgets)
		printf("the network is forgotten; this node's own keys and stock peers stay\n");
	return code;
}
