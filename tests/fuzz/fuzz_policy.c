/* A file of rules: what is taken holds by itself and beside the others; an error has its place. */
#include <stdlib.h>

#include "apps/p2pd/forward/policy.h"

static void holds(const struct policy *p)
{
	char why[RULE_WHY];

	for (size_t i = 0; i < p->count; i++) {
		if (rule_check(&p->rules[i].rule, why) || !*p->rules[i].rule.name || !p->rules[i].line)
			abort();
		for (size_t j = 0; j < i; j++)
			if (rule_overlap(&p->rules[i].rule, &p->rules[j].rule))
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int file = POLICY_RULES; file <= POLICY_SETTINGS; file++) {
		struct policy p;
		struct policy_error e;
		if (policy_read(&p, (enum policy_file)file, (const char *)data, size, &e)) {
			if (p.rules || !e.line || !e.column || !*e.why)
				abort();
			continue;
		}
		holds(&p);
		policy_free(&p);
	}
	return 0;
}
