/* The subcommands of p2pd: each reads its own options and returns the exit code. */
#ifndef P2PD_APPS_P2PD_COMMANDS_H
#define P2PD_APPS_P2PD_COMMANDS_H

int cmd_up(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_down(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_portmap(int argc, char **argv);
int cmd_wg(int argc, char **argv);
int cmd_keygen(int argc, char **argv);

#endif
