#include "apps/p2pd/commands.h"

#include <stdio.h>

#include "core/crypto.h"
#include "core/fail.h"
#include "core/network.h"
#include "core/options.h"

int cmd_keygen(int argc, char **argv)
{
	static const struct options_entry none[] = { { 0 } };
	const struct options options = {
		.usage = "p2pd keygen",
		.about = "Prints a new secret for a network: 128 random bits that can be typed.\n"
			 "Whoever has it is a member and can let others in: guard it like a key.",
		.entries = none,
		.more = "example:\n  (umask 077; p2pd keygen > secret)\n  p2pd up --hub URL --network home "
			"--secret file:secret\n",
	};
	struct options_list args;
	struct rng rng;
	char secret[NETWORK_SECRET_TEXT];
	int code;

	if (!options_parse(&options, argc, argv, &args, &code))
		return code;
	rng_init_system(&rng);
	network_generate_secret(secret, &rng);
	printf("%s\n", secret);
	crypto_wipe(secret, sizeof secret);
	crypto_wipe(&rng, sizeof rng);
	return fflush(stdout) ? fail_with(EXIT_FAILED, "cannot write the secret") : EXIT_OK;
}
