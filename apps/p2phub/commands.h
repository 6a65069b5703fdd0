/* The subcommands of p2phub: each reads its own options and returns the exit code. */
#ifndef P2PD_APPS_P2PHUB_COMMANDS_H
#define P2PD_APPS_P2PHUB_COMMANDS_H

#include "apps/p2phub/hub_settings.h"

#define HUB_DATA HUB_SETTINGS_DATA

int cmd_config(int argc, char **argv);
int cmd_apikey(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_url(int argc, char **argv);

#endif
