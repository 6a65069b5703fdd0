/* The subcommands of `p2pd portmap`: each reads its own options and returns the exit code. */
#ifndef P2PD_APPS_P2PD_CMD_PORTMAP_H
#define P2PD_APPS_P2PD_CMD_PORTMAP_H

int cmd_portmap_add(int argc, char **argv);
int cmd_portmap_set(int argc, char **argv);
int cmd_portmap_ls(int argc, char **argv);
int cmd_portmap_show(int argc, char **argv);
int cmd_portmap_pause(int argc, char **argv);
int cmd_portmap_resume(int argc, char **argv);
int cmd_portmap_rm(int argc, char **argv);
int cmd_portmap_restore(int argc, char **argv);
int cmd_portmap_ping(int argc, char **argv);
int cmd_portmap_stats(int argc, char **argv);
int cmd_portmap_apply(int argc, char **argv);
int cmd_portmap_token(int argc, char **argv);
int cmd_portmap_audit(int argc, char **argv);
int cmd_portmap_api_token(int argc, char **argv);

#endif
