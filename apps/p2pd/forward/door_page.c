#include "apps/p2pd/forward/door_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODY_MAX = 4096, ESCAPED_MAX = RULE_NAME * 6, TIME_TEXT = 40 };

static const struct {
	int status;
	const char *title, *body;
} fixed[DOOR_PAGES] = {
	[DOOR_PAGE_ASK] = { 200, "May this address in?", NULL },
	[DOOR_PAGE_ADMITTED] = { 200, "Your address may in", NULL },
	[DOOR_PAGE_FULL] = { 503, "No place is free just now", NULL },
	[DOOR_PAGE_WRONG] = { 404, "This link is not valid",
			      "<p>It may have been used already, have expired or been taken back, or a part "
			      "of it "
			      "is missing.</p><p>Ask the person who gave it to you for a new one. Your "
			      "address was "
			      "not let in.</p>" },
	[DOOR_PAGE_LIMITED] = { 429, "Too many attempts",
				"<p>Too many attempts came from your address. Wait a few minutes, then open "
				"the link "
				"again.</p>" },
	[DOOR_PAGE_BUSY] = { 503, "Not just now",
			     "<p>The place where the service is cannot be reached at the moment.</p><p>Open "
			     "the "
			     "link again in a minute: for your address it stays as good as it was.</p>" },
	[DOOR_PAGE_OTHER] = { 404, "There is nothing here",
			      "<p>Links that let you in are longer than this one. Copy yours again, with all "
			      "of "
			      "it.</p>" },
};

static const char style[] =
	"body{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:8vh auto;padding:0 "
	"1.2em;color:#1a1a1a;"
	"background:#fff}h1{font-size:1.5em}b{overflow-wrap:anywhere}button{font:inherit;font-weight:600;"
	"padding:.6em 1.4em;border:0;border-radius:.4em;background:#0a58ca;color:#fff;cursor:pointer}"
	"small{color:#555}@media(prefers-color-scheme:dark){body{color:#eee;background:#181818}small{color:#"
	"aaa}}";

int door_page_status(enum door_page page)
{
	return fixed[page].status;
}

const char *door_page_span(uint32_t seconds, char out[static DOOR_SPAN])
{
	static const struct {
		uint32_t s;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
	unsigned i = 0;

	while (i < 3 && seconds < units[i].s)
		i++;
	uint32_t n = seconds / units[i].s, rest = seconds % units[i].s;
	uint32_t m = i < 3 ? rest / units[i + 1].s : 0;
	int len = snprintf(out, DOOR_SPAN, "%u %s%s", n, units[i].name, n == 1 ? "" : "s");
	if (m)
		snprintf(out + len, DOOR_SPAN - (size_t)len, " and %u %s%s", m, units[i + 1].name,
			 m == 1 ? "" : "s");
	return out;
}

static const char *escape(const char *text, char out[static ESCAPED_MAX])
{
	static const char special[] = "<>&\"'";
	size_t len = 0;

	for (; *text && len + 6 < ESCAPED_MAX; text++)
		if (strchr(special, *text))
			len += (size_t)snprintf(out + len, ESCAPED_MAX - len, "&#%d;", *text);
		else
			out[len++] = *text;
	out[len] = 0;
	return out;
}

static const char *time_text(uint64_t unix_s, char out[static TIME_TEXT])
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	out[0] = 0;
	if (gmtime_r(&t, &tm))
		strftime(out, TIME_TEXT, "%Y-%m-%d %H:%M UTC", &tm);
	return out;
}

static void write_ask(char out[static BODY_MAX], const char *ip, const char *name, const char *span)
{
	snprintf(out, BODY_MAX,
		 "<p>If you press the button, the internet address <b>%s</b>, from which you see this page, "
		 "may "
		 "reach <b>%s</b> for <b>%s</b>.</p>"
		 "<form method=\"post\"><button>Let this address in</button></form>"
		 "<p>Who shares that address with you, as all do in one home or office, may reach it then, "
		 "too. "
		 "Nothing is installed on your device, and it is no login: the service may still ask you for "
		 "one.</p>"
		 "<p><small>Does the name above mean nothing to you, or do you not know who sent you the "
		 "link? Then "
		 "close this page: nothing has happened yet.</small></p>",
		 ip, name, span);
}

static void write_full(char out[static BODY_MAX], const char *name, uint64_t until)
{
	char at[TIME_TEXT];

	snprintf(out, BODY_MAX,
		 "<p>As many visitors as <b>%s</b> can have at a time are let in. Your address was not, and "
		 "your link is as good as it was.</p>"
		 "<p>The next place is free after <b>%s</b>: open the link again then.</p>",
		 name, time_text(until, at));
}

static void write_admitted(char out[static BODY_MAX], const char *ip, const char *name, uint64_t until)
{
	char at[TIME_TEXT];

	snprintf(out, BODY_MAX,
		 "<p>From the internet address <b>%s</b>, <b>%s</b> can be reached until <b>%s</b>.</p>"
		 "<p>You can close this page. If your internet address changes, as it does when you go to "
		 "another "
		 "network, the link may be used up: ask for another one then.</p>",
		 ip, name, time_text(until, at));
}

static void write_body(char out[static BODY_MAX], enum door_page page, const struct door_page_facts *f)
{
	char ip[ADDR_TEXT_MAX], name[ESCAPED_MAX], span[DOOR_SPAN];

	addr_format_ip(&f->visitor, ip);
	escape(f->grant.name, name);
	if (page == DOOR_PAGE_ASK)
		write_ask(out, ip, name, door_page_span(f->grant.for_s, span));
	else if (page == DOOR_PAGE_ADMITTED)
		write_admitted(out, ip, name, f->grant.until);
	else if (page == DOOR_PAGE_FULL)
		write_full(out, name, f->grant.until);
	else
		snprintf(out, BODY_MAX, "%s", fixed[page].body);
}

char *door_page_text(enum door_page page, const struct door_page_facts *f)
{
	char body[BODY_MAX], *text = NULL;

	write_body(body, page, f);
	int n = asprintf(&text,
			 "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
			 "<meta name=\"viewport\" content=\"width=device-width\"><title>%s</title>"
			 "<style nonce=\"%s\">%s</style></head>\n<body><h1>%s</h1>%s</body></html>\n",
			 fixed[page].title, f->nonce, style, fixed[page].title, body);
	return n < 0 ? NULL : text;
}
