/* Undoes all that the kernel's NAT of a TUN device has set up, whoever did and however it ended: what is to be undone
 * stands in our table itself. Linux only. */
#ifndef P2PD_TUN_NAT_SWEEP_H
#define P2PD_TUN_NAT_SWEEP_H

void nat_sweep(const char *tun);

#endif
