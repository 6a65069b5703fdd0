/* Numbers of port forwarding for Prometheus: a few series for each rule. */
#ifndef P2PD_APPS_P2PD_FORWARD_FORWARD_METRICS_H
#define P2PD_APPS_P2PD_FORWARD_FORWARD_METRICS_H

#include "apps/p2pd/forward/forwarder.h"
#include "relay/metrics.h"

void forward_metrics_write(struct metrics *m, struct forwarder *f);

#endif
