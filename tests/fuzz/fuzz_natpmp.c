/* What stands before libnatpmp, and libnatpmp behind it: the answers reach it through a socket as a gateway's would. */
#include <arpa/inet.h>
#include <natpmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bytes.h"
#include "nat/natpmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static int gateway = -1, client = -1;

static void open_sockets(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, b;
	socklen_t len = sizeof b;

	gateway = socket(AF_INET, SOCK_DGRAM, 0);
	client = socket(AF_INET, SOCK_DGRAM, 0);
	check(bind(gateway, (struct sockaddr *)&a, sizeof a) == 0 &&
	      bind(client, (struct sockaddr *)&a, sizeof a) == 0);
	getsockname(client, (struct sockaddr *)&b, &len);
	check(connect(gateway, (struct sockaddr *)&b, sizeof b) == 0);
	getsockname(gateway, (struct sockaddr *)&b, &len);
	check(connect(client, (struct sockaddr *)&b, sizeof b) == 0);
}

/* Whatever it makes of the answer must stand in the answer. */
static void fuzz_library(const uint8_t *data, size_t size, unsigned opcode)
{
	natpmp_t n = { .s = client,
		       .gateway = htonl(INADDR_LOOPBACK),
		       .has_pending_request = 1,
		       .try_number = 1,
		       .pending_request_len = 2 };
	natpmpresp_t r = { 0 };

	gettimeofday(&n.retry_time, NULL);
	n.retry_time.tv_sec += 10;
	check(send(gateway, data, size, 0) == (ssize_t)size);
	int rc = readnatpmpresponseorretry(&n, &r);
	if (rc != 0)
		return;
	check(r.type == opcode && r.epoch == load_be32(data + 4) && load_be16(data + 2) == 0);
	if (opcode == NATPMP_RESPTYPE_UDPPORTMAPPING)
		check(r.pnu.newportmapping.lifetime == load_be32(data + 12));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr external;
	uint32_t epoch;

	if (client < 0)
		open_sockets();
	if (natpmp_is_announcement(data, size, &epoch, &external))
		check(natpmp_is_answer(data, size, NATPMP_RESPTYPE_PUBLICADDRESS));
	for (unsigned opcode = 0; opcode < 2; opcode++)
		if (natpmp_is_answer(data, size, opcode))
			fuzz_library(data, size, opcode);
	return 0;
}
