#include "apps/natcheck/natcheck.h"

int main(int argc, char **argv)
{
	return natcheck(argc, argv);
}
