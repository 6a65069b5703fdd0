/* Undoes all that the kernel's NAT of a TUN device has set up, whoever did and however it ended: what is to be undone
 * stands in our table itself. Linux only. */
#ifndef P2PD_TUN_NAT_SWEEP_H
#define P2PD_TUN_NAT_SWEEP_H

void nat_sweep(const char *tun);
/* The same for all devices that are no more. */
void nat_sweep_others(void);

#endif
