#include "apps/p2pd/reason.h"

#include <stdio.h>
#include <string.h>

const char *reason_span(uint64_t ms, char out[static REASON_SPAN])
{
	static const struct {
		unsigned s;
		const char *name;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
	unsigned long long s = (ms + 999) / 1000;
	size_t i = 0;

	while (i < 3 && s < 2ull * units[i].s)
		i++;
	snprintf(out, REASON_SPAN, "%llu %s", s / units[i].s, units[i].name);
	return out;
}

/* --- NATs */

static const char *doorman(const struct verdict *v)
{
	static const char *const words[] = {
		[FILTERING_UNKNOWN] = "",
		[FILTERING_ENDPOINT_INDEPENDENT] = ", which everybody may send to",
		[FILTERING_ADDRESS_DEPENDENT] = ", which only machines may send to that were sent to",
		[FILTERING_ADDRESS_AND_PORT_DEPENDENT] = ", which only answers may come to",
	};

	return words[v->filtering];
}

static void hard_nat(const struct verdict *v, char out[static REASON_MAX])
{
	static const char other[] = "hard: another port for each destination";

	if (v->allocation == ALLOCATION_SEQUENTIAL)
		snprintf(out, REASON_MAX, "%s, the next in a row", other);
	else if (v->block_lo)
		snprintf(out, REASON_MAX, "%s, out of a block of %d", other, v->block_hi - v->block_lo + 1);
	else
		snprintf(out, REASON_MAX, "%s%s", other,
			 v->allocation == ALLOCATION_RANDOM ? ", at random" : "");
}

const char *reason_nat(const struct verdict *v, bool ours, char out[static REASON_MAX])
{
	if (v->udp_blocked)
		return strcpy(out, "UDP does not get out");
	if (v->mapping == MAPPING_UNKNOWN)
		return strcpy(out,
			      ours ? "not known: not measured yet, or the hub serves too few ports to tell"
				   : "not known: it has not said");
	if (v->mapping == MAPPING_NONE)
		strcpy(out, verdict_type(v) == NAT_TYPE_FIREWALL
				    ? "no NAT, but a firewall that lets in only answers"
				    : "no NAT");
	else if (verdict_is_easy(v))
		snprintf(out, REASON_MAX, "easy: one port for all destinations%s", doorman(v));
	else
		hard_nat(v, out);
	if (v->cgnat)
		strcat(out, "; the provider has a NAT, too");
	return out;
}

/* --- Attempts */

const char *reason_technique(enum technique t)
{
	switch (t) {
	case TECHNIQUE_SIMULTANEOUS_OPEN: return "both send at once";
	case TECHNIQUE_BIRTHDAY: return "one opens many ports, the other tries many";
	case TECHNIQUE_SEQUENTIAL: return "one opens ports in a row, the other tries the next ones";
	case TECHNIQUE_RENDEZVOUS: return "both meet at the ports that come next";
	case TECHNIQUE_HARD_BIRTHDAY: return "both try many ports";
	case TECHNIQUE_NONE: break;
	}
	return "nothing";
}

const char *reason_outcome(enum engine_outcome outcome)
{
	switch (outcome) {
	case OUTCOME_DIRECT: return "opened a direct path";
	case OUTCOME_FAILED: return "nothing answered";
	case OUTCOME_NO_OFFER: return "the peer did not say what it can do";
	case OUTCOME_NO_STUN: return "the hub did not answer, so our own port is not known";
	case OUTCOME_NO_PLAN: return "the two NATs together leave nothing to try";
	case OUTCOME_OVERTAKEN: break;
	}
	return "a direct path was found otherwise meanwhile";
}

const char *reason_next(const struct engine_next *next, uint64_t now_ms, char out[static REASON_MAX])
{
	const char *what = reason_technique(next->technique);
	uint64_t ms = next->at_ms - now_ms;
	char span[REASON_SPAN];

	reason_span(ms, span);
	switch (next->wait) {
	case ENGINE_WAIT_NOTHING: return strcpy(out, "none");
	case ENGINE_WAIT_END: snprintf(out, REASON_MAX, "now: %s", what); break;
	case ENGINE_WAIT_TIME:
		snprintf(out, REASON_MAX, "%s%s, while traffic flows: %s", ms ? "in " : "at once",
			 ms ? span : "", what);
		break;
	case ENGINE_WAIT_TRAFFIC:
		snprintf(out, REASON_MAX, "when traffic flows%s%s: %s", ms ? ", after " : "", ms ? span : "",
			 what);
		break;
	case ENGINE_WAIT_HUB: return strcpy(out, "when the hub is connected: it introduces the two");
	case ENGINE_WAIT_PEER: return strcpy(out, "when the peer is online");
	case ENGINE_WAIT_BUDGET:
		snprintf(out, REASON_MAX, "in %s: more unanswered packets at a time could fill the router",
			 span);
		break;
	}
	return out;
}

/* --- Paths */

const char *reason_outcome_word(enum engine_outcome outcome)
{
	static const char *const words[] = {
		[OUTCOME_DIRECT] = "direct",	 [OUTCOME_FAILED] = "failed",
		[OUTCOME_NO_OFFER] = "no-offer", [OUTCOME_NO_STUN] = "no-stun",
		[OUTCOME_NO_PLAN] = "no-plan",	 [OUTCOME_OVERTAKEN] = "overtaken",
	};

	return words[outcome];
}

const char *reason_opener(unsigned opened_by)
{
	switch (opened_by) {
	case OPENED_UNPROVEN: return technique_name(TECHNIQUE_SIMULTANEOUS_OPEN);
	case OPENED_LAN: return "lan";
	case OPENED_IPV6: return "ipv6";
	case OPENED_PUBLIC: return "public";
	case OPENED_MAPPED: return "mapped";
	default: return technique_name(opened_by - OPENED_TECHNIQUE);
	}
}

const char *reason_opened_by(const struct engine *e, const struct engine_peer *ep)
{
	switch (engine_way(ep, e)) {
	case ENGINE_WAY_NONE: return NULL;
	case ENGINE_WAY_RELAY: return "relay";
	case ENGINE_WAY_DIRECT: break;
	}
	return ep->peer.best ? reason_opener(ep->peer.best->opened_by) : "configured";
}

static const char *opened_how(const struct engine_peer *ep)
{
	if (!ep->peer.best)
		return "as set by hand, or as it called";
	switch (ep->peer.best->opened_by) {
	case OPENED_LAN: return "in the same local network";
	case OPENED_IPV6: return "by IPv6";
	case OPENED_PUBLIC: return "one of the two has a public address";
	case OPENED_MAPPED: return "by a port that a router forwards";
	case OPENED_UNPROVEN:
	case OPENED_TECHNIQUE + TECHNIQUE_SIMULTANEOUS_OPEN: return "both sent at once";
	case OPENED_TECHNIQUE + TECHNIQUE_SEQUENTIAL:
		return "the ports of a NAT come in a row, so that the next was known";
	case OPENED_TECHNIQUE + TECHNIQUE_RENDEZVOUS:
		return "the ports of both NATs come in a row, so that the next were known";
	default: return "among many ports one was met";
	}
}

const char *reason_relay(const struct engine *e, const struct engine_peer *ep)
{
	return e->by_link && engine_way(ep, e) == ENGINE_WAY_RELAY ? "UDP to the hub does not get through"
								   : NULL;
}

static bool is_idle(const struct engine *e, const struct engine_peer *ep)
{
	return ep->online && e->welcomed && !e->verdict.udp_blocked && !ep->nat.udp_blocked;
}

const char *reason_now(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms,
		       char out[static REASON_MAX])
{
	char at[ADDR_TEXT_MAX], span[REASON_SPAN];
	const struct addr *direct = ep->peer.best ? &ep->peer.best->addr : &ep->peer.endpoint;

	reason_span(now_ms - ep->way_since_ms, span);
	switch (engine_way(ep, e)) {
	case ENGINE_WAY_NONE: strcpy(out, is_idle(e, ep) ? "no way yet" : "no way"); break;
	case ENGINE_WAY_RELAY:
		if (engine_away_is_used(ep)) {
			snprintf(out, REASON_MAX, "relayed by its home relay %s for %s",
				 addr_format(&ep->away.at, at), span);
			break;
		}
		snprintf(out, REASON_MAX, "relayed by the hub%s for %s%s%s", e->by_link ? " over TLS" : "",
			 span, e->by_link ? ": " : "", e->by_link ? reason_relay(e, ep) : "");
		break;
	case ENGINE_WAY_DIRECT:
		snprintf(out, REASON_MAX, "direct to %s for %s: %s", addr_format(direct, at), span,
			 opened_how(ep));
	}
	return out;
}

static const char *after(enum engine_outcome last, const struct technique_plan *plan)
{
	if (last == OUTCOME_NO_OFFER)
		return "the peer did not say what it can do; tried again while traffic flows";
	if (last == OUTCOME_NO_STUN)
		return "the hub did not answer, so our own port is not known; tried again while traffic "
		       "flows";
	if (last == OUTCOME_NO_PLAN && plan->technique == TECHNIQUE_HARD_BIRTHDAY)
		return "both NATs give each destination another port, and trying for those is off there "
		       "(`p2pd up --hard-nat`)";
	if (plan->technique != TECHNIQUE_SIMULTANEOUS_OPEN)
		return plan->why;
	return "no address of the peer answered; tried again while traffic flows";
}

const char *reason_path(const struct engine *e, const struct engine_peer *ep, uint64_t now_ms)
{
	struct technique_plan plan = engine_expected(e, ep);
	struct engine_next next = engine_next_attempt(e, ep, now_ms);

	if (engine_way(ep, e) == ENGINE_WAY_DIRECT)
		return NULL;
	if (!ep->peer.own_kind)
		return "no endpoint yet: waits for the peer to call";
	if (!ep->online)
		return "the peer is offline";
	if (!e->welcomed)
		return "the hub is not connected, so nobody can introduce us";
	if (e->verdict.udp_blocked || ep->nat.udp_blocked)
		return plan.why;
	if (!ep->remote.count)
		return "the peer has told no address where it can be reached";
	if (ep->flaps > 1)
		return "direct paths came up and died again within seconds, so they are sought less often";
	if (engine_last_failed(ep))
		return after(ep->attempts[(ep->attempt_count - 1) % ENGINE_ATTEMPTS].outcome, &plan);
	if (next.wait == ENGINE_WAIT_END)
		return "looking for a direct path now";
	if (next.wait == ENGINE_WAIT_TRAFFIC)
		return "idle: a direct path is sought when traffic flows";
	return "a direct path is about to be sought";
}
