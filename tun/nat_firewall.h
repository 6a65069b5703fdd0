/* Firewalls of others that drop what they do not know (ufw, Docker, firewalld, a hand-made one): one rule at the top of
 * each such chain lets pass what bears our mark. It carries a comment, by which it is found and removed again. iptables'
 * chains get it by iptables, which could not read another's rule. Linux only. */
#ifndef P2PD_TUN_NAT_FIREWALL_H
#define P2PD_TUN_NAT_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether there is any that would drop what comes to this host. */
bool nat_firewall_drops(void);
/* Makes the rules that are missing. `comment` is the name of our table, whose chains are passed over. `hold` as in run.h.
 * 0 or a negative errno with `why`. */
int nat_firewall_open(const char *comment, uint32_t mark, uint32_t mask, int hold, char *why, size_t cap);
void nat_firewall_close(const char *comment, uint32_t mark, uint32_t mask);

#endif
