#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/loop.h"
#include "nat/lan_http.h"
#include "nat/natpmp.h"
#include "nat/portmap_run.h"
#include "nat/ssdp.h"
#include "nat/upnp.h"

static struct addr at(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, 0), 0);
	return a;
}

/* ---- What is read */

static void a_search_finds_where_the_description_is(void **state)
{
	(void)state;
	static const struct {
		const char *msg, *url; /* NULL: refused */
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1/d\r\n\r\n", "http://192.168.1.1/d" },
		{ "HTTP/1.1 200 OK\r\nST: x\r\nlocation:http://192.168.1.1/d \r\n\r\n",
		  "http://192.168.1.1/d" },
		{ "HTTP/1.0 200 OK\nLocation: x", "x" },
		{ "HTTP/1.1 404 Not Found\r\nLOCATION: http://192.168.1.1/d\r\n\r\n", NULL },
		{ "NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/d\r\n\r\n", NULL },
		{ "HTTP/1.1 200 OK\r\nLOCATION: \r\n\r\n", NULL },
		{ "HTTP/1.1 200 OK\r\nST: x\r\n\r\n", NULL },
		{ "HTTP/1.1 200", NULL },
		{ "", NULL },
	};
	char url[SSDP_URL_MAX], text[512];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool ok = ssdp_read_answer(url, (const uint8_t *)cases[i].msg, strlen(cases[i].msg));
		if (ok != !!cases[i].url || (ok && strcmp(url, cases[i].url)))
			fail_msg("%s", cases[i].msg);
	}
	size_t len = ssdp_search("urn:x", text, sizeof text);
	assert_int_equal(len, strlen(text));
	assert_non_null(strstr(text, "\r\nST: urn:x\r\n\r\n"));
	assert_int_equal(ssdp_search("urn:x", text, 20), 0);
}

static void urls_are_literal(void **state)
{
	(void)state;
	static const struct {
		const char *url, *addr, *path; /* NULL: refused */
	} cases[] = {
		{ "http://192.168.1.1:5000/d.xml", "192.168.1.1:5000", "/d.xml" },
		{ "HTTP://192.168.1.1", "192.168.1.1:80", "/" },
		{ "http://[fe80::1]:80/a?b=c", "[fe80::1]:80", "/a?b=c" },
		{ "http://router.lan/d.xml", NULL, NULL },
		{ "https://192.168.1.1/", NULL, NULL },
		{ "http://user@192.168.1.1/", NULL, NULL },
		{ "http://192.168.1.1:99999/", NULL, NULL },
		{ "http://192.168.1.1?x", NULL, NULL },
		{ "http://192.168.1.1/a b", NULL, NULL },
		{ "http://192.168.1.1/a\r\nX: y", NULL, NULL },
		{ "file:///etc/passwd", NULL, NULL },
		{ "http://", NULL, NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lan_http_url u;
		int ret = lan_http_parse_url(&u, cases[i].url);
		if (!cases[i].addr) {
			if (ret != -EINVAL)
				fail_msg("taken: %s", cases[i].url);
			continue;
		}
		struct addr want = at(cases[i].addr);
		if (ret || !addr_equal(&u.addr, &want) || strcmp(u.path, cases[i].path))
			fail_msg("%s", cases[i].url);
	}
}

static void http_answers_end_where_they_say(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool closed;
		int ret;
		const char *body;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodymore", false, 0, "body" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbod", false, -EAGAIN, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbod", true, -EBADMSG, NULL },
		{ "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", false, 0, "" },
		{ "HTTP/1.0 200 OK\r\n\r\nbody", false, -EAGAIN, NULL },
		{ "HTTP/1.0 200 OK\r\n\r\nbody", true, 0, "body" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4", false, -EAGAIN, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4", true, -EBADMSG, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, -EBADMSG, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", false, -EBADMSG, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n",
		  false, 0, "body" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\nd", false, -EAGAIN,
		  NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\nd", true, -EBADMSG,
		  NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", false,
		  -EBADMSG, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false, -EBADMSG, NULL },
		{ "HTTP/2 200\r\n\r\n", true, -EBADMSG, NULL },
		{ "HTTP/1.1 999 Odd\r\n\r\n", true, -EBADMSG, NULL },
		{ "\r\n\r\n", true, -EBADMSG, NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lan_http_answer a;
		char buf[256];

		strcpy(buf, cases[i].text);
		int ret = lan_http_parse(&a, buf, strlen(buf), cases[i].closed);
		if (ret != cases[i].ret)
			fail_msg("%d for %s", ret, cases[i].text);
		if (!ret && (a.len != strlen(cases[i].body) || memcmp(a.body, cases[i].body, a.len)))
			fail_msg("body of %s", cases[i].text);
	}
}

#define SERVICE(type, url)                                                                          \
	"<service><serviceType>urn:schemas-upnp-org:service:" type "</serviceType><controlURL>" url \
	"</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/s</SCPDURL></service>"
#define ROOT(base, services)                                                                    \
	"<?xml version=\"1.0\"?><root>" base "<device><deviceType>urn:schemas-upnp-org:device:" \
	"InternetGatewayDevice:1</deviceType><serviceList>" services "</serviceList></device></root>"

static void services_are_taken_only_at_the_device_itself(void **state)
{
	(void)state;
	static const struct {
		const char *what, *xml, *wan, *firewall; /* the paths; NULL: not taken */
	} cases[] = {
		{ "a path", ROOT("", SERVICE("WANIPConnection:1", "/ctl")), "/ctl", NULL },
		{ "a path without slash", ROOT("", SERVICE("WANIPConnection:2", "ctl")), "/ctl", NULL },
		{ "PPP", ROOT("", SERVICE("WANPPPConnection:1", "/ppp")), "/ppp", NULL },
		{ "a firewall, too",
		  ROOT("", SERVICE("WANIPConnection:1", "/a") SERVICE("WANIPv6FirewallControl:1", "/b")),
		  "/a", "/b" },
		{ "its own base",
		  ROOT("<URLBase>http://192.168.1.1:5000/</URLBase>", SERVICE("WANIPConnection:1", "/ctl")),
		  "/ctl", NULL },
		{ "its other port", ROOT("", SERVICE("WANIPConnection:1", "http://192.168.1.1:80/x")), "/x",
		  NULL },
		{ "another base",
		  ROOT("<URLBase>http://203.0.113.9/</URLBase>", SERVICE("WANIPConnection:1", "/ctl")), NULL,
		  NULL },
		{ "another host", ROOT("", SERVICE("WANIPConnection:1", "http://192.168.1.2:5000/ctl")), NULL,
		  NULL },
		{ "a name", ROOT("", SERVICE("WANIPConnection:1", "http://router/ctl")), NULL, NULL },
		{ "ourselves", ROOT("", SERVICE("WANIPConnection:1", "http://127.0.0.1/ctl")), NULL, NULL },
		{ "a type with more to it", ROOT("", SERVICE("WANIPConnection:1\r\nX: y", "/ctl")), NULL,
		  NULL },
		{ "an unknown version", ROOT("", SERVICE("WANIPConnection:9", "/ctl")), NULL, NULL },
		{ "a firewall alone", ROOT("", SERVICE("WANIPv6FirewallControl:1", "/b")), NULL, "/b" },
		{ "no service", ROOT("", ""), NULL, NULL },
		{ "no XML", "<<<<>>>&&&", NULL, NULL },
		{ "nothing", "", NULL, NULL },
	};
	struct addr base = at("192.168.1.1:5000");

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct upnp_igd igd = { 0 };
		bool ok = upnp_read_description(&igd, cases[i].xml, strlen(cases[i].xml), &base);
		const char *wan = igd.wan.type ? igd.wan.url.path : NULL;
		const char *firewall = igd.firewall.type ? igd.firewall.url.path : NULL;
		if (ok != !!cases[i].wan || !wan != !cases[i].wan || !firewall != !cases[i].firewall)
			fail_msg("%s: %s, %s", cases[i].what, wan ? wan : "-", firewall ? firewall : "-");
		if ((wan && strcmp(wan, cases[i].wan)) || (firewall && strcmp(firewall, cases[i].firewall)))
			fail_msg("%s: %s", cases[i].what, wan);
	}
}

static void only_addresses_of_the_lan_are_spoken_to(void **state)
{
	(void)state;
	static const struct {
		const char *addr;
		bool ok;
	} cases[] = {
		{ "192.168.1.1", true },  { "192.168.1.99", true }, { "192.168.1.20", false },
		{ "192.168.2.1", false }, { "127.0.0.1", false },   { "203.0.113.1", false },
		{ "10.0.0.1", false },	  { "fe80::1", false },
	};
	struct lan lan = { .local = at("192.168.1.20"), .bits = 24 },
		   wide = { .local = at("8.8.8.8"), .bits = 0 };
	struct addr public = at("203.0.113.1");

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a = at(cases[i].addr);
		if (gateway_is_on_lan(&lan, &a) != cases[i].ok)
			fail_msg("%s", cases[i].addr);
	}
	assert_false(gateway_is_on_lan(&wide, &public));
}

static void natpmp_answers_are_as_long_as_they_say(void **state)
{
	(void)state;
	static const struct {
		uint8_t msg[20];
		size_t len;
		bool address, mapping, announcement;
	} cases[] = {
		{ { 0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 5 }, 12, true, false, true },
		{ { 0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 5 }, 11, false, false, false },
		{ { 0, 129, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 0 }, 16, false, true, false },
		{ { 0, 129, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 0 }, 15, false, false, false },
		{ { 0, 129, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 0 }, 17, false, false, false },
		{ { 0, 129, 0, 2, 0, 0, 0, 9 }, 8, false, true, false }, /* refused */
		{ { 0, 129, 0, 2, 0, 0, 0, 9 }, 7, false, false, false },
		{ { 0, 129, 0, 1, 0, 0, 0, 9 }, 8, true, true, false }, /* the version is */
		{ { 2, 129, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 0 }, 16, false, false, false },
		{ { 0, 1, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 1, 0 }, 16, false, false, false },
		{ { 0 }, 0, false, false, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr external;
		uint32_t epoch;

		if (natpmp_is_answer(cases[i].msg, cases[i].len, 0) != cases[i].address ||
		    natpmp_is_answer(cases[i].msg, cases[i].len, 1) != cases[i].mapping ||
		    natpmp_is_announcement(cases[i].msg, cases[i].len, &epoch, &external) !=
			    cases[i].announcement)
			fail_msg("case %zu", i);
	}
}

/* ---- What is asked: a gateway on loopback that answers each action as the case says */

struct fake {
	int fd;
	struct addr addr;
	pthread_t thread;
	const char *wrong; /* the action that fails */
	unsigned code;	   /* with this */
	unsigned only;	   /* this many times */
	bool never;	   /* says nothing, but a byte now and then */
	char asked[1024];  /* the actions, and for AddPortMapping the lease */
	unsigned ports[8];
	unsigned port_count;
};

static unsigned number_after(const char *text, const char *what)
{
	const char *found = strstr(text, what);

	return found ? (unsigned)strtoul(found + strlen(what), NULL, 10) : 0;
}

static bool read_request(int c, char *buf, size_t cap)
{
	size_t len = 0;

	for (ssize_t n; (n = recv(c, buf + len, cap - 1 - len, 0)) > 0;) {
		buf[len += (size_t)n] = 0;
		char *body = strstr(buf, "\r\n\r\n");
		if (body && strlen(body + 4) >= number_after(buf, "Content-Length: "))
			return true;
	}
	return false;
}

static void note(struct fake *f, const char *request, const char *action)
{
	size_t len = strlen(f->asked);

	snprintf(f->asked + len, sizeof f->asked - len, "%.*s", (int)strcspn(action, "\""), action);
	if (strncmp(action, "AddPortMapping", 14) == 0) {
		len = strlen(f->asked);
		snprintf(f->asked + len, sizeof f->asked - len, "(%u)",
			 number_after(request, "<NewLeaseDuration>"));
		if (f->port_count < 8)
			f->ports[f->port_count++] = number_after(request, "<NewExternalPort>");
	}
	strncat(f->asked, " ", sizeof f->asked - strlen(f->asked) - 1);
}

static void answer(struct fake *f, int c, const char *action)
{
	bool fails = f->wrong && !strncmp(action, f->wrong, strlen(f->wrong)) && f->only;
	char body[512], text[1024];

	if (fails) {
		f->only--;
		snprintf(body, sizeof body, "<s:Fault><errorCode>%u</errorCode></s:Fault>", f->code);
	} else {
		snprintf(body, sizeof body,
			 "<r><NewExternalIPAddress>203.0.113.5</NewExternalIPAddress>"
			 "<UniqueID>77</UniqueID></r>");
	}
	int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
			 fails ? "500 Internal Server Error" : "200 OK", strlen(body), body);
	send(c, text, (size_t)n, MSG_NOSIGNAL);
}

/* Ends when the listening socket is shut down. */
static void *serve(void *arg)
{
	struct fake *f = arg;
	char buf[8192];
	int c;

	while ((c = accept(f->fd, NULL, NULL)) >= 0) {
		char *action = read_request(c, buf, sizeof buf) ? strchr(buf, '#') : NULL;
		if (action)
			note(f, buf, action + 1);
		if (action && !f->never)
			answer(f, c, action + 1);
		while (f->never && send(c, "H", 1, MSG_NOSIGNAL) == 1)
			usleep(1000);
		close(c);
	}
	return NULL;
}

static void fake_start(struct fake *f, struct upnp_igd *igd)
{
	struct sockaddr_storage ss;
	socklen_t size = sizeof ss;

	f->addr = at("127.0.0.1");
	f->fd = socket(AF_INET, SOCK_STREAM, 0);
	unsigned len = addr_to_sockaddr(&f->addr, &ss);
	assert_int_equal(bind(f->fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(f->fd, 8), 0);
	getsockname(f->fd, (struct sockaddr *)&ss, &size);
	f->addr = addr_from_sockaddr((struct sockaddr *)&ss);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);

	*igd = (struct upnp_igd) {
		.lan = { .gateway = at("127.0.0.1"), .local = at("127.0.0.1"), .bits = 8 },
		.wan = { .type = "urn:schemas-upnp-org:service:WANIPConnection:1",
			 .url = { .addr = f->addr, .path = "/ctl" } },
		.firewall = { .type = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",
			      .url = { .addr = f->addr, .path = "/6fc" } },
	};
}

static void fake_stop(struct fake *f)
{
	shutdown(f->fd, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->fd);
}

static struct gateway_limit soon(void)
{
	return (struct gateway_limit) { loop_now_ms() + 20000, -1 };
}

static struct gateway_job job_of(const struct upnp_igd *igd)
{
	return (struct gateway_job) { .protocol = GATEWAY_UPNP,
				      .lan = igd->lan,
				      .internal_port = 41000,
				      .suggested_port = 41000,
				      .lifetime_s = 7200 };
}

static void gateways_are_taken_as_they_are(void **state)
{
	(void)state;
	static const struct {
		const char *what, *wrong;
		unsigned code, times;
		int error;
		uint32_t lifetime_s;
		const char *asked;
	} cases[] = {
		{ "all is well", NULL, 0, 0, 0, 7200, "GetExternalIPAddress AddPortMapping(7200) " },
		{ "it knows no leases", "AddPortMapping", 725, 1, 0, 0,
		  "GetExternalIPAddress AddPortMapping(7200) AddPortMapping(0) " },
		{ "it takes the lease for a mistake", "AddPortMapping", 402, 1, 0, 0,
		  "GetExternalIPAddress AddPortMapping(7200) AddPortMapping(0) " },
		{ "the port is taken", "AddPortMapping", 718, 1, 0, 7200,
		  "GetExternalIPAddress AddPortMapping(7200) AddPortMapping(7200) " },
		{ "all ports are", "AddPortMapping", 718, 99, -EPERM, 7200,
		  "GetExternalIPAddress AddPortMapping(7200) AddPortMapping(7200) AddPortMapping(7200) "
		  "AddPortMapping(7200) " },
		{ "we may not", "AddPortMapping", 606, 99, -EPERM, 7200,
		  "GetExternalIPAddress AddPortMapping(7200) " },
		{ "it has no address", "GetExternalIPAddress", 501, 99, -EPERM, 0, "GetExternalIPAddress " },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake f = { .wrong = cases[i].wrong, .code = cases[i].code, .only = cases[i].times };
		struct gateway_limit limit = soon();
		struct gateway_result r;
		struct upnp_igd igd;

		fake_start(&f, &igd);
		struct gateway_job job = job_of(&igd);
		portmap_run(&igd, &job, &limit, &r);
		fake_stop(&f);
		if (r.error != cases[i].error || r.lifetime_s != cases[i].lifetime_s ||
		    strcmp(f.asked, cases[i].asked) || r.code != (r.error ? cases[i].code : 0))
			fail_msg("%s: error %d, code %u, %u s, asked %s", cases[i].what, r.error, r.code,
				 r.lifetime_s, f.asked);
		if (r.error)
			continue;
		struct addr external = at("203.0.113.5");
		assert_true(addr_same_ip(&r.external, &external));
		assert_int_equal(r.external.port, f.ports[f.port_count - 1]);
		assert_int_equal(f.ports[0], 41000);
		assert_true(cases[i].code != 718 || f.ports[1] != 41000);
	}
}

static void a_mapping_is_deleted_by_its_outer_port(void **state)
{
	(void)state;
	struct fake f = { 0 };
	struct gateway_limit limit = soon();
	struct gateway_result r;
	struct upnp_igd igd, none = { 0 };

	fake_start(&f, &igd);
	struct gateway_job job = job_of(&igd);
	job.unmap = true;
	portmap_run(&igd, &job, &limit, &r);
	assert_int_equal(r.error, 0);
	/* Where nothing was found nothing is searched at the end. */
	portmap_run(&none, &job, &limit, &r);
	assert_int_equal(r.error, -ENOENT);
	fake_stop(&f);
	assert_string_equal(f.asked, "DeletePortMapping ");
}

static void a_pinhole_is_renewed_by_its_id_and_made_anew_when_that_is_gone(void **state)
{
	(void)state;
	struct fake f = { .wrong = "UpdatePinhole", .code = 704, .only = 0 };
	struct gateway_limit limit = soon();
	struct gateway_result r;
	struct upnp_igd igd;

	fake_start(&f, &igd);
	struct gateway_job job = job_of(&igd);
	job.lan.gateway = at("fe80::1");
	job.lan.local = at("2001:db8::20");
	for (int i = 0; i < 3; i++) {
		f.only = i == 2;
		portmap_run(&igd, &job, &limit, &r);
		assert_int_equal(r.error, 0);
		assert_int_equal(igd.pinhole, 77);
		assert_int_equal(r.external.port, 41000);
		assert_true(addr_same_ip(&r.external, &job.lan.local));
	}
	job.unmap = true;
	portmap_run(&igd, &job, &limit, &r);
	portmap_run(&igd, &job, &limit, &r); /* there is none any more */
	fake_stop(&f);
	assert_string_equal(f.asked, "AddPinhole UpdatePinhole UpdatePinhole AddPinhole DeletePinhole ");
}

/* It would go on for ever: only the limit ends it. */
static void a_gateway_that_drips_is_left_in_time(void **state)
{
	(void)state;
	struct fake f = { .never = true };
	struct gateway_limit limit = { loop_now_ms() + 50, -1 };
	struct gateway_result r;
	struct upnp_igd igd;

	fake_start(&f, &igd);
	struct gateway_job job = job_of(&igd);
	job.unmap = true;
	portmap_run(&igd, &job, &limit, &r);
	assert_int_equal(r.error, -ETIMEDOUT);
	assert_true(loop_now_ms() >= limit.deadline_ms);
	fake_stop(&f);
}

static void a_job_ends_when_it_is_told_to(void **state)
{
	(void)state;
	int fd = eventfd(1, 0);
	struct gateway_limit limit = { loop_now_ms() + 600000, fd };
	struct gateway_result r;

	for (int i = 0; i < GATEWAY_PROTOCOLS; i++) {
		struct fake f = { .never = true };
		struct upnp_igd igd;

		fake_start(&f, &igd);
		struct gateway_job job = job_of(&igd);
		job.protocol = (enum gateway_protocol)i;
		portmap_run(&igd, &job, &limit, &r);
		fake_stop(&f);
		assert_int_equal(r.error, -ECANCELED);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_search_finds_where_the_description_is),
		cmocka_unit_test(urls_are_literal),
		cmocka_unit_test(http_answers_end_where_they_say),
		cmocka_unit_test(services_are_taken_only_at_the_device_itself),
		cmocka_unit_test(only_addresses_of_the_lan_are_spoken_to),
		cmocka_unit_test(natpmp_answers_are_as_long_as_they_say),
		cmocka_unit_test(gateways_are_taken_as_they_are),
		cmocka_unit_test(a_mapping_is_deleted_by_its_outer_port),
		cmocka_unit_test(a_pinhole_is_renewed_by_its_id_and_made_anew_when_that_is_gone),
		cmocka_unit_test(a_gateway_that_drips_is_left_in_time),
		cmocka_unit_test(a_job_ends_when_it_is_told_to),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
