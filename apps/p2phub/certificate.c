#include "apps/p2phub/certificate.h"

#include <string.h>
#include <sys/stat.h>

static bool changed(struct certificate_stamp *known, const char *path)
{
	struct certificate_stamp now = { 0 };
	struct stat st;

	if (stat(path, &st) == 0)
		now = (struct certificate_stamp) { st.st_dev, st.st_ino, (uint64_t)st.st_size,
						   st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
	bool differs = memcmp(&now, known, sizeof now) != 0;
	*known = now;
	return differs;
}

bool certificate_changed(struct certificate *c, const char *cert_path, const char *key_path)
{
	bool cert = changed(&c->cert, cert_path), key = changed(&c->key, key_path);

	return cert || key;
}
