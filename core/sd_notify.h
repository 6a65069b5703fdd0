/* Tells a service manager how we are: sd_notify(3), without its library. */
#ifndef P2PD_CORE_SD_NOTIFY_H
#define P2PD_CORE_SD_NOTIFY_H

/* "READY=1", "STOPPING=1" ... Does nothing when no manager listens ($NOTIFY_SOCKET). */
void sd_notify_send(const char *state);

#endif
