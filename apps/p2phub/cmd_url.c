#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/p2phub/commands.h"
#include "apps/p2phub/hub_data.h"
#include "core/fail.h"
#include "core/options.h"

static int read_url(const char *data, struct hub_url *url)
{
	int rc = hub_data_url(data, url);

	if (rc == 0)
		return EXIT_OK;
	if (rc == -ENOENT)
		return fail_with(EXIT_NOT_FOUND,
				 "no hub was served from %s yet: run `p2phub serve --data %s` first", data,
				 data);
	if (rc == -EACCES || rc == -EPERM)
		return fail_with(EXIT_DENIED, "no right to read %s: run as the hub's user", data);
	return fail_with(EXIT_FAILED, "cannot read %s: %s", data, strerror(-rc));
}

int cmd_url(int argc, char **argv)
{
	const char *data = HUB_DATA, *host = NULL;
	const struct options_entry entries[] = {
		{ "data", "DIR", "the hub's data folder (" HUB_DATA ")", .text = &data },
		{ "host", "HOST", "name or address under which nodes reach this machine", .text = &host },
		{ 0 },
	};
	const struct options options = {
		.usage = "p2phub url [options]",
		.about = "Prints the hub's URL with its pin: what `p2pd up --hub` takes.",
		.entries = entries,
	};
	struct options_list args;
	struct hub_url url = { 0 };
	char text[HUB_URL_TEXT];
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	code = read_url(data, &url);
	if (code)
		return code;
	if (host && (!*host || strlen(host) > HUB_URL_HOST_MAX))
		return fail_with(EXIT_USAGE, "--host takes a name or an address, not '%.80s'", host);
	if (host)
		strcpy(url.host, host);
	if (!*url.host) {
		if (hub_data_first_address(url.host) != 0)
			return fail_with(EXIT_FAILED,
					 "this machine has no address that others could reach: give --host");
		fprintf(stderr, "p2phub: took the first address of this machine; give --host if nodes reach "
				"it by another\n");
	}
	if (hub_url_parse(&url, hub_url_format(&url, text)) != 0)
		return fail_with(EXIT_USAGE, "--host takes a name or an address, not '%.80s'",
				 host ? host : url.host);
	printf("%s\n", text);
	return EXIT_OK;
}
