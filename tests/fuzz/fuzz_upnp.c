/* What a device on the LAN says: its answer to the search, HTTP, its description and the answers of its actions, through
 * our checks and libminiupnpc's parsers. The first byte chooses. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nat/lan_http.h"
#include "nat/ssdp.h"
#include "nat/upnp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_url(const struct lan_http_url *u)
{
	check(u->addr.family != ADDR_NONE && u->path[0] == '/' && strlen(u->path) < LAN_HTTP_PATH_MAX);
	for (const char *p = u->path; *p; p++)
		check(*p > ' ' && *p <= '~');
}

static void fuzz_search(const uint8_t *data, size_t size)
{
	struct lan_http_url parsed;
	char url[SSDP_URL_MAX];

	if (!ssdp_read_answer(url, data, size))
		return;
	check(memchr(url, 0, sizeof url) && *url);
	if (!lan_http_parse_url(&parsed, url))
		check_url(&parsed);
}

/* The whole answer says the same as its pieces did: nothing before it was complete. */
static void fuzz_http(const uint8_t *data, size_t size)
{
	struct lan_http_answer a;
	char *buf = malloc(size + 1);

	memcpy(buf, data, size);
	int ret = lan_http_parse(&a, buf, size, false);
	if (ret == -EAGAIN)
		ret = lan_http_parse(&a, buf, size, true);
	if (!ret)
		check(a.body >= buf && a.body + a.len <= buf + size && a.status >= 100 && a.status <= 599);
	free(buf);
}

static void check_service(const struct upnp_service *s, const struct addr *base)
{
	if (!s->type)
		return;
	check_url(&s->url);
	check(addr_same_ip(&s->url.addr, base));
}

static void fuzz_description(const char *xml, size_t size)
{
	static const uint8_t ip[] = { 192, 168, 1, 1 };
	struct addr base = addr_from_ip(ADDR_V4, ip, 5000);
	struct upnp_igd igd = { 0 };

	if (upnp_read_description(&igd, xml, size, &base))
		check(igd.wan.type);
	check_service(&igd.wan, &base);
	check_service(&igd.firewall, &base);
}

static void fuzz_answer(const char *xml, size_t size)
{
	char value[16] = "";
	unsigned code;

	upnp_read_answer(xml, size, "NewExternalIPAddress", value, sizeof value, &code);
	check(memchr(value, 0, sizeof value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	/* Exactly as long as it is, so that a byte read beyond shows. */
	uint8_t *copy = malloc(size - 1);
	memcpy(copy, data + 1, size - 1);
	switch (data[0] % 4) {
	case 0: fuzz_search(copy, size - 1); break;
	case 1: fuzz_http(copy, size - 1); break;
	case 2: fuzz_description((char *)copy, size - 1); break;
	case 3: fuzz_answer((char *)copy, size - 1); break;
	}
	free(copy);
	return 0;
}
