#include "apps/p2pd/why_text.h"

#include <string.h>

#include "apps/p2pd/reason.h"

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_nats(json_t *nat, FILE *out)
{
	json_t *there = json_object_get(nat, "there");

	fprintf(out, "\nNAT here   %s\n", text_of(json_object_get(nat, "here"), "words"));
	if (json_is_object(there))
		fprintf(out, "NAT there  %s\n", text_of(there, "words"));
}

static void print_attempts(json_t *attempts, FILE *out)
{
	char span[REASON_SPAN], ago[REASON_SPAN + sizeof " ago"];
	json_t *a;
	size_t i;

	fprintf(out, "\nTried      %s", json_array_size(attempts) ? "" : "nothing so far\n");
	json_array_foreach(attempts, i, a)
	{
		reason_span((uint64_t)number_of(a, "ago_s") * 1000, span);
		snprintf(ago, sizeof ago, "%s ago", span);
		fprintf(out, "%*s%-9s ", i ? 11 : 0, "", ago);
		if (strcmp(text_of(a, "technique"), "none"))
			fprintf(out, "%s (%s), %lld packets: ", text_of(a, "words"), text_of(a, "technique"),
				(long long)number_of(a, "probes"));
		fprintf(out, "%s\n", text_of(a, "met"));
	}
}

static void print_advice(json_t *advice, FILE *out)
{
	json_t *a;
	size_t i;

	if (json_array_size(advice))
		fprintf(out, "\nWhat would make it direct%s\n",
			json_array_size(advice) > 1 ? ", one of these:" : ":");
	json_array_foreach(advice, i, a) fprintf(out, "  - %s\n", text_of(a, "text"));
}

void why_text_print(json_t *why, FILE *out)
{
	bool direct = !strcmp(text_of(json_object_get(why, "path"), "kind"), "direct");

	fprintf(out, "%s: %s\n", text_of(why, "peer"), text_of(why, "now"));
	if (*text_of(why, "because"))
		fprintf(out, "  %s\n", text_of(why, "because"));
	if (json_is_false(json_object_get(json_object_get(why, "path"), "trains")))
		fprintf(out, "  packets go one by one: in trains most were lost, which some kernels (Linux "
			     "7.0.0 to 7.1.4) do\n");
	print_nats(json_object_get(why, "nat"), out);
	print_attempts(json_object_get(why, "attempts"), out);
	if (direct) {
		fprintf(out, "\nIt is direct: there is nothing to change.\n");
		return;
	}
	fprintf(out, "Next       %s\n", text_of(json_object_get(why, "next"), "words"));
	print_advice(json_object_get(why, "advice"), out);
}
