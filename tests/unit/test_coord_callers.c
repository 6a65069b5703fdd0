/* Each message of a link by each who may send it: what it does to him, and what the members of a network notice. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/coord_bench.h"

enum { ANN = 1, BOB = 2, CALLER = 3, AGAIN = 4 };
enum caller { STRANGER, REFUSED, EXPIRED, REPLACED, OTHER_NETWORK, MEMBER, CALLERS };
enum message { EMPTY, LOGIN, PUBLISH, INTRODUCE, RELAY_OPEN, PING, PONG, MESSAGES };

/* Of the caller: he is closed, he is answered. Of ann and bob: one of them hears something. */
enum { NOTHING = 0, CLOSED = 1, ANSWERED = 2, HEARD = 4 };

static const char *const callers[] = { "a stranger",	   "who was refused",	       "who is expired",
				       "who was replaced", "another network's member", "a member" };
static const char *const messages[] = { "nothing",   "a login", "a record", "an introduction",
					"a session", "a ping",	"a pong" };

static const int expected[CALLERS][MESSAGES] = {
	[STRANGER] = { CLOSED, ANSWERED | HEARD, CLOSED, CLOSED, CLOSED, CLOSED, CLOSED },
	[REFUSED] = { 0 },
	[EXPIRED] = { 0 },
	[REPLACED] = { 0 },
	[OTHER_NETWORK] = { NOTHING, CLOSED, NOTHING, NOTHING, ANSWERED, ANSWERED, NOTHING },
	[MEMBER] = { NOTHING, CLOSED, HEARD, ANSWERED | HEARD, ANSWERED | HEARD, ANSWERED, NOTHING },
};

static const struct node *make_caller(struct hub *h, enum caller who)
{
	const struct node *n = who == OTHER_NETWORK ? &eve : &cid;

	open_conn(h, CALLER);
	if (who == REFUSED)
		login_wrong(h, CALLER, n, &(struct wrong) { .pass_of = &net_b });
	else if (who == EXPIRED)
		login_wrong(h, CALLER, n, &(struct wrong) { .expires_in = -100000 });
	else if (who != STRANGER)
		login_wrong(h, CALLER, n, &(struct wrong) { 0 });
	if (who == REPLACED)
		join(h, AGAIN, n);
	return n;
}

static void say_what(struct hub *h, enum message what, const struct node *n)
{
	Link__Ping ping = LINK__PING__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	switch (what) {
	case LOGIN: login_wrong(h, CALLER, n, &(struct wrong) { 0 }); return;
	case PUBLISH: publish(h, CALLER, 1, "record", 6); return;
	case INTRODUCE: introduce(h, CALLER, &bob); return;
	case RELAY_OPEN: relay_open(h, CALLER, &bob); return;
	case PONG: pong(h, CALLER, 1); return;
	case PING:
		m.body_case = LINK__TO_HUB__BODY_PING;
		m.ping = &ping;
		break;
	default: break;
	}
	say(h, CALLER, &m);
}

static int outcome(const struct hub *h)
{
	int seen = NOTHING;

	for (size_t i = 0; i < h->count; i++) {
		if (h->said[i].conn == CALLER)
			seen |= h->said[i].close ? CLOSED : ANSWERED;
		else if (h->said[i].conn == ANN || h->said[i].conn == BOB)
			seen |= HEARD;
	}
	return seen;
}

/* Another network's member is told that there is no such session. */
static bool got_session(const struct hub *h)
{
	const Link__ToNode *m = heard(h, CALLER, LINK__TO_NODE__BODY_RELAY_SESSION);

	return m && m->relay_session->session;
}

static void each_message_by_each_caller_does_what_it_should(void **state)
{
	(void)state;

	for (enum caller who = 0; who < CALLERS; who++)
		for (enum message what = 0; what < MESSAGES; what++) {
			struct hub h;
			hub_start(&h);
			join(&h, ANN, &ann);
			join(&h, BOB, &bob);
			const struct node *n = make_caller(&h, who);
			forget_said(&h);
			uint64_t malformed = coord_stats(h.c).malformed;
			say_what(&h, what, n);
			int seen = outcome(&h);
			if (seen != expected[who][what])
				fail_msg("%s by %s: %d, not %d", messages[what], callers[who], seen,
					 expected[who][what]);
			if (coord_stats(h.c).malformed - malformed != (unsigned)(seen & CLOSED))
				fail_msg("%s by %s is not counted", messages[what], callers[who]);
			assert_int_equal(got_session(&h), who == MEMBER && what == RELAY_OPEN);
			introduce(&h, ANN, &bob); /* the others go on */
			assert_non_null(heard(&h, BOB, LINK__TO_NODE__BODY_INTRODUCTION));
			hub_stop(&h);
		}
}

/* ---- by a member, in each wrong form */

static size_t encode(uint8_t *out, enum message what, size_t len)
{
	static const uint8_t bytes[COORD_RECORD_MAX + 1];
	Link__Publish p = LINK__PUBLISH__INIT;
	Link__Introduce i = LINK__INTRODUCE__INIT;
	Link__RelayOpen r = LINK__RELAY_OPEN__INIT;
	Link__ToHub m = LINK__TO_HUB__INIT;

	p.seq = 1;
	p.record = i.ik = r.ik = bin(bytes, len);
	if (what == PUBLISH) {
		m.body_case = LINK__TO_HUB__BODY_PUBLISH;
		m.publish = &p;
	} else if (what == INTRODUCE) {
		m.body_case = LINK__TO_HUB__BODY_INTRODUCE;
		m.introduce = &i;
	} else {
		m.body_case = LINK__TO_HUB__BODY_RELAY_OPEN;
		m.relay_open = &r;
	}
	return link__to_hub__pack(&m, out);
}

static void a_malformed_message_ends_its_link_alone_and_is_counted(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		enum message message; /* EMPTY: the bytes */
		size_t len;	      /* of the message's field, or of the bytes */
		const char *bytes;
	} cases[] = {
		{ "a record of nothing", PUBLISH, 0, NULL },
		{ "a record too long", PUBLISH, COORD_RECORD_MAX + 1, NULL },
		{ "an introduction to nobody", INTRODUCE, 0, NULL },
		{ "half a key", INTRODUCE, 31, NULL },
		{ "a key and more", INTRODUCE, 33, NULL },
		{ "a session with nobody", RELAY_OPEN, 0, NULL },
		{ "a session with half a key", RELAY_OPEN, 31, NULL },
		{ "a session with a key and more", RELAY_OPEN, 33, NULL },
		{ "a length that is cut off", EMPTY, 2, "\x0a\xff" },
		{ "a length beyond the end", EMPTY, 4, "\x12\x7f\x08\x01" },
		{ "field 0", EMPTY, 2, "\x00\x00" },
		{ "a wire type that there is not", EMPTY, 2, "\x0f\x00" },
		{ "a number that does not end", EMPTY, 12,
		  "\x2a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff" },
		{ "a record that is a number", EMPTY, 4, "\x12\x02\x10\x01" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t buf[COORD_MESSAGE_MAX];
		size_t len = cases[i].len;
		struct hub h;
		hub_start(&h);
		join(&h, ANN, &ann);
		join(&h, BOB, &bob);
		join(&h, CALLER, &cid);
		if (cases[i].message == EMPTY)
			memcpy(buf, cases[i].bytes, len);
		else
			len = encode(buf, cases[i].message, len);
		coord_on_message(h.c, CALLER, buf, len, h.now, UNIX_S);
		listen_to(&h);
		if (outcome(&h) != CLOSED || coord_stats(h.c).malformed != 1)
			fail_msg("%s: %d, %llu counted", cases[i].what, outcome(&h),
				 (unsigned long long)coord_stats(h.c).malformed);
		introduce(&h, ANN, &bob);
		assert_non_null(heard(&h, BOB, LINK__TO_NODE__BODY_INTRODUCTION));
		hub_stop(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_by_each_caller_does_what_it_should),
		cmocka_unit_test(a_malformed_message_ends_its_link_alone_and_is_counted),
	};

	return cmocka_run_group_tests(tests, bench_setup, NULL);
}
