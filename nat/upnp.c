#include "nat/upnp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpreplyparse.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/crypto.h"
#include "core/loop.h"
#include "nat/ssdp.h"

enum {
	SEARCH_MS = SSDP_MX_S * 1000 + 200,
	SEARCH_AGAIN_MS = 300,
	DESCRIPTION_MS = 1200, /* of one device, so that it cannot use up what is the next one's */
	REQUEST_MAX = 3072,
	BODY_MAX = 2048,
	OTHER_PORTS = 3, /* tried when the one that is wished for is taken */
	/* Errors: UPnP Device Architecture, WANIPConnection:1 section 2.4.16. */
	INVALID_ARGS = 402,
	ACTION_FAILED = 501,
	CONFLICT = 718,
	ONLY_PERMANENT = 725,
};

/* What we ask of a service, and what its type must be: our own words for it go into requests, never the device's. */
static const char *const wan_types[] = {
	"urn:schemas-upnp-org:service:WANIPConnection:1",
	"urn:schemas-upnp-org:service:WANIPConnection:2",
	"urn:schemas-upnp-org:service:WANPPPConnection:1",
};
static const char *const firewall_types[] = { "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1" };

/* ---- XML */

static void take_service(struct upnp_service *out, const struct IGDdatas_service *s, const char *url,
			 const char *const *types, size_t count, const struct addr *base)
{
	struct lan_http_url parsed;

	if (out->type || !url || lan_http_parse_url(&parsed, url) || !addr_same_ip(&parsed.addr, base))
		return;
	for (size_t i = 0; i < count; i++)
		if (!strcmp(s->servicetype, types[i]))
			*out = (struct upnp_service) { .type = types[i], .url = parsed };
}

bool upnp_read_description(struct upnp_igd *igd, const char *xml, size_t len, const struct addr *base)
{
	char url[ADDR_TEXT_MAX + 16], host[ADDR_TEXT_MAX];
	struct IGDdatas data = { 0 };
	struct UPNPUrls first = { 0 }, second = { 0 };

	if (len > UPNP_REPLY_MAX)
		return false;
	parserootdesc(xml, (int)len, &data);
	snprintf(url, sizeof url, "http://%s/", addr_format(base, host));
	GetUPNPUrls(&first, &data, url, 0);
	take_service(&igd->wan, &data.first, first.controlURL, wan_types, 3, base);
	take_service(&igd->firewall, &data.IPv6FC, first.controlURL_6FC, firewall_types, 1, base);
	struct IGDdatas_service other = data.second;
	data.first = other;
	GetUPNPUrls(&second, &data, url, 0);
	take_service(&igd->wan, &other, second.controlURL, wan_types, 3, base);
	FreeUPNPUrls(&first);
	FreeUPNPUrls(&second);
	return igd->wan.type;
}

int upnp_read_answer(const char *xml, size_t len, const char *name, char *value, size_t cap, unsigned *code)
{
	struct NameValueParserData data = { 0 };

	if (len > UPNP_REPLY_MAX)
		return -EBADMSG;
	ParseNameValue(xml, (int)len, &data);
	const char *error = GetValueFromNameValueList(&data, "errorCode");
	*code = error ? (unsigned)strtoul(error, NULL, 10) : 0;
	const char *found = name ? GetValueFromNameValueList(&data, name) : NULL;
	if (name)
		snprintf(value, cap, "%s", found ? found : "");
	ClearNameValueList(&data);
	return error ? -EPERM : 0;
}

/* ---- Search */

static int open_search(const struct lan *lan)
{
	struct sockaddr_storage ss;
	unsigned size = addr_to_sockaddr(&lan->local, &ss);
	struct in_addr via;
	uint8_t ttl = 2; /* section 1.3.2 */
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(&via, lan->local.ip, sizeof via);
	if (bind(fd, (struct sockaddr *)&ss, size) == 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &via, sizeof via) == 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl) == 0)
		return fd;
	int ret = -errno;
	close(fd);
	return ret;
}

/* An IGD 2 answers to the search for an IGD 1, but some do not know. */
static void send_search(int fd)
{
	static const char *const targets[] = {
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
		"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
	};
	struct sockaddr_in group = { .sin_family = AF_INET, .sin_port = htons(SSDP_PORT) };
	char text[512];

	inet_pton(AF_INET, SSDP_GROUP, &group.sin_addr);
	for (size_t i = 0; i < 2; i++) {
		size_t len = ssdp_search(targets[i], text, sizeof text);
		sendto(fd, text, len, 0, (struct sockaddr *)&group, sizeof group);
	}
}

static bool read_device(int fd, const struct lan *lan, struct lan_http_url *out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t size = sizeof ss;
	uint8_t msg[SSDP_MAX];
	char url[SSDP_URL_MAX];
	ssize_t n = recvfrom(fd, msg, sizeof msg, 0, (struct sockaddr *)&ss, &size);

	if (n < 0 || !ssdp_read_answer(url, msg, (size_t)n) || lan_http_parse_url(out, url))
		return false;
	struct addr from = addr_from_sockaddr((struct sockaddr *)&ss);
	return addr_same_ip(&out->addr, &from) && gateway_is_on_lan(lan, &from);
}

static bool is_gateways(const struct lan *lan, const struct lan_http_url *url)
{
	return addr_same_ip(&url->addr, &lan->gateway);
}

/* The default gateway comes first, and ends the search. Nobody can keep it out by answering often. */
static size_t add_device(struct lan_http_url *list, size_t count, const struct lan_http_url *url,
			 const struct lan *lan)
{
	for (size_t i = 0; i < count; i++)
		if (addr_same_ip(&list[i].addr, &url->addr))
			return count;
	if (count == UPNP_DEVICES && !is_gateways(lan, url))
		return count;
	size_t at = count < UPNP_DEVICES ? count : UPNP_DEVICES - 1;
	list[at] = list[0];
	list[0] = *url;
	return at + 1;
}

static int search(const struct lan *lan, const struct gateway_limit *limit, struct lan_http_url *list)
{
	uint64_t start = loop_now_ms(), again = start;
	size_t count = 0;
	int fd = open_search(lan), ret = 0;

	if (fd < 0)
		return fd;
	while (ret != -ECANCELED && loop_now_ms() < limit->deadline_ms && loop_now_ms() < start + SEARCH_MS &&
	       !(count && is_gateways(lan, &list[0]))) {
		struct lan_http_url url;
		if (again <= loop_now_ms()) {
			send_search(fd);
			again = again == start ? start + SEARCH_AGAIN_MS : UINT64_MAX;
		}
		ret = gateway_wait(limit, fd, POLLIN, again < start + SEARCH_MS ? again : start + SEARCH_MS);
		if (ret == 0 && read_device(fd, lan, &url))
			count = add_device(list, count, &url, lan);
	}
	close(fd);
	return ret == -ECANCELED ? ret : (int)count;
}

static int fetch(struct upnp_igd *igd, const struct lan *lan, const struct lan_http_url *url,
		 const struct gateway_limit *limit, char *buf)
{
	struct gateway_limit own = *limit;
	struct lan_http_answer answer;
	char request[REQUEST_MAX], host[ADDR_TEXT_MAX];
	uint64_t end = loop_now_ms() + DESCRIPTION_MS;

	own.deadline_ms = end < own.deadline_ms ? end : own.deadline_ms;
	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
		 url->path, addr_format(&url->addr, host));
	int ret = lan_http_exchange(&answer, lan, &url->addr, request, &own, buf, UPNP_REPLY_MAX);
	if (ret)
		return ret;
	*igd = (struct upnp_igd) { .lan = *lan };
	return answer.status == 200 && upnp_read_description(igd, answer.body, answer.len, &url->addr)
		       ? 0
		       : -ENOENT;
}

static int find(struct upnp_igd *igd, const struct lan *lan, const struct gateway_limit *limit, char *buf)
{
	struct lan_http_url list[UPNP_DEVICES];
	int count = search(lan, limit, list), ret = count < 0 ? count : -ENOENT;

	for (int i = 0; i < count && ret && ret != -ECANCELED; i++)
		ret = fetch(igd, lan, &list[i], limit, buf);
	if (ret)
		*igd = (struct upnp_igd) { 0 };
	return ret == -ECANCELED ? ret : ret ? -ENOENT : 0;
}

/* ---- Actions */

/* One action on a service. `args` is XML of ours. */
struct action {
	const char *name, *args;
	const char *wanted; /* the element of the answer to be read, or NULL */
	char value[64];
	unsigned code;
};

struct call {
	const struct lan *lan;
	const struct gateway_limit *limit;
	char *buf;
};

static int act(const struct call *c, const struct upnp_service *s, struct action *a)
{
	char request[REQUEST_MAX], body[BODY_MAX], host[ADDR_TEXT_MAX];
	struct lan_http_answer answer;

	int len = snprintf(body, sizeof body,
			   "<?xml version=\"1.0\"?>\r\n"
			   "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
			   "s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
			   "<u:%s xmlns:u=\"%s\">%s</u:%s></s:Body></s:Envelope>\r\n",
			   a->name, s->type, a->args, a->name);
	int n = snprintf(request, sizeof request,
			 "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n"
			 "SOAPAction: \"%s#%s\"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			 s->url.path, addr_format(&s->url.addr, host), s->type, a->name, len, body);
	if (len >= BODY_MAX || n >= REQUEST_MAX)
		return -EINVAL;
	int ret = lan_http_exchange(&answer, c->lan, &s->url.addr, request, c->limit, c->buf, UPNP_REPLY_MAX);
	if (ret)
		return ret;
	ret = upnp_read_answer(answer.body, answer.len, a->wanted, a->value, sizeof a->value, &a->code);
	if (ret || answer.status == 200)
		return ret;
	return -EBADMSG;
}

static int ask_external(const struct call *c, const struct upnp_igd *igd, struct gateway_result *out)
{
	struct action a = { .name = "GetExternalIPAddress", .args = "", .wanted = "NewExternalIPAddress" };
	int ret = act(c, &igd->wan, &a);

	out->code = a.code;
	if (ret)
		return ret;
	return addr_parse(&out->external, a.value, 0) || out->external.family != ADDR_V4 ? -EBADMSG : 0;
}

static int add_mapping(const struct call *c, const struct upnp_igd *igd, const struct gateway_job *job,
		       uint16_t port, struct gateway_result *out)
{
	char args[768], client[ADDR_TEXT_MAX];
	struct action a = { .name = "AddPortMapping", .args = args };

	snprintf(args, sizeof args,
		 "<NewRemoteHost></NewRemoteHost><NewExternalPort>%u</NewExternalPort>"
		 "<NewProtocol>UDP</NewProtocol><NewInternalPort>%u</NewInternalPort>"
		 "<NewInternalClient>%s</NewInternalClient><NewEnabled>1</NewEnabled>"
		 "<NewPortMappingDescription>p2pd</NewPortMappingDescription>"
		 "<NewLeaseDuration>%u</NewLeaseDuration>",
		 port, job->internal_port, addr_format_ip(&job->lan.local, client), out->lifetime_s);
	int ret = act(c, &igd->wan, &a);
	out->external.port = port;
	out->code = a.code;
	return ret;
}

/* Some gateways know no leases and say so, or take the lease for a mistake. */
static int add_with_any_lease(const struct call *c, const struct upnp_igd *igd, const struct gateway_job *job,
			      uint16_t port, struct gateway_result *out)
{
	out->lifetime_s = job->lifetime_s;
	int ret = add_mapping(c, igd, job, port, out);
	if (ret != -EPERM || (out->code != ONLY_PERMANENT && out->code != INVALID_ARGS))
		return ret;
	out->lifetime_s = 0;
	return add_mapping(c, igd, job, port, out);
}

static int map4(const struct call *c, const struct upnp_igd *igd, const struct gateway_job *job,
		struct gateway_result *out)
{
	struct rng rng;
	int ret = ask_external(c, igd, out);

	if (!ret)
		ret = add_with_any_lease(c, igd, job, job->suggested_port, out);
	rng_init_system(&rng);
	for (int i = 0; i < OTHER_PORTS && ret == -EPERM && out->code == CONFLICT; i++)
		ret = add_with_any_lease(c, igd, job, (uint16_t)(1024 + rng_below(&rng, 64512)), out);
	if (!ret && addr_is_unusable(&out->external))
		ret = -EBADMSG;
	return ret;
}

static int unmap4(const struct call *c, const struct upnp_igd *igd, const struct gateway_job *job,
		  struct gateway_result *out)
{
	char args[256];
	struct action a = { .name = "DeletePortMapping", .args = args };

	snprintf(args, sizeof args,
		 "<NewRemoteHost></NewRemoteHost><NewExternalPort>%u</NewExternalPort>"
		 "<NewProtocol>UDP</NewProtocol>",
		 job->suggested_port);
	int ret = act(c, &igd->wan, &a);
	out->code = a.code;
	return ret;
}

/* ---- Pinholes (WANIPv6FirewallControl:1) */

static int update_pinhole(const struct call *c, const struct upnp_igd *igd, const struct gateway_job *job)
{
	char args[128];
	struct action a = { .name = "UpdatePinhole", .args = args };

	snprintf(args, sizeof args, "<UniqueID>%u</UniqueID><NewLeaseTime>%u</NewLeaseTime>", igd->pinhole,
		 job->lifetime_s);
	return act(c, &igd->firewall, &a);
}

static int add_pinhole(const struct call *c, struct upnp_igd *igd, const struct gateway_job *job,
		       struct gateway_result *out)
{
	char args[512], client[ADDR_TEXT_MAX];
	struct action a = { .name = "AddPinhole", .args = args, .wanted = "UniqueID" };

	snprintf(args, sizeof args,
		 "<RemoteHost></RemoteHost><RemotePort>0</RemotePort><InternalClient>%s</InternalClient>"
		 "<InternalPort>%u</InternalPort><Protocol>17</Protocol><LeaseTime>%u</LeaseTime>",
		 addr_format_ip(&job->lan.local, client), job->internal_port, job->lifetime_s);
	int ret = act(c, &igd->firewall, &a);
	out->code = a.code;
	igd->has_pinhole = !ret;
	igd->pinhole = (unsigned)strtoul(a.value, NULL, 10);
	return ret;
}

static int map6(const struct call *c, struct upnp_igd *igd, const struct gateway_job *job,
		struct gateway_result *out)
{
	int ret = igd->has_pinhole ? update_pinhole(c, igd, job) : -ENOENT;

	if (ret && ret != -ECANCELED)
		ret = add_pinhole(c, igd, job, out);
	out->lifetime_s = job->lifetime_s;
	out->external = job->lan.local;
	out->external.port = job->internal_port;
	return ret;
}

static int unmap6(const struct call *c, struct upnp_igd *igd, struct gateway_result *out)
{
	char args[64];
	struct action a = { .name = "DeletePinhole", .args = args };

	snprintf(args, sizeof args, "<UniqueID>%u</UniqueID>", igd->pinhole);
	int ret = igd->has_pinhole ? act(c, &igd->firewall, &a) : 0;
	igd->has_pinhole = false;
	out->code = a.code;
	return ret;
}

/* ---- Jobs */

static bool same_lan(const struct lan *a, const struct lan *b)
{
	return addr_same_ip(&a->local, &b->local) && addr_same_ip(&a->gateway, &b->gateway);
}

static int do_pinhole(struct upnp_igd *igd, const struct gateway_job *job, const struct gateway_limit *limit,
		      char *buf, struct gateway_result *out)
{
	struct call c = { &igd->lan, limit, buf };

	if (!igd->firewall.type)
		return -ENOENT;
	return job->unmap ? unmap6(&c, igd, out) : map6(&c, igd, job, out);
}

static int do_mapping(struct upnp_igd *igd, const struct gateway_job *job, const struct gateway_limit *limit,
		      char *buf, struct gateway_result *out)
{
	struct call c = { &job->lan, limit, buf };
	bool known = igd->wan.type && same_lan(&igd->lan, &job->lan);
	int ret = known ? 0 : job->unmap ? -ENOENT : find(igd, &job->lan, limit, buf);

	if (!ret)
		ret = job->unmap ? unmap4(&c, igd, job, out) : map4(&c, igd, job, out);
	/* It may have come back at another port, or another is there now. */
	if (known && ret && ret != -EPERM && ret != -ECANCELED && !job->unmap) {
		ret = find(igd, &job->lan, limit, buf);
		ret = ret ? ret : map4(&c, igd, job, out);
	}
	return ret;
}

void upnp_run(struct upnp_igd *igd, const struct gateway_job *job, const struct gateway_limit *limit,
	      struct gateway_result *out)
{
	char *buf = malloc(UPNP_REPLY_MAX);

	*out = (struct gateway_result) { .error = -ENOMEM };
	if (!buf)
		return;
	out->error = job->lan.local.family == ADDR_V6 ? do_pinhole(igd, job, limit, buf, out)
						      : do_mapping(igd, job, limit, buf, out);
	free(buf);
}
