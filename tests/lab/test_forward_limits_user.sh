#!/bin/bash
# The limits of rules that our own sockets carry.
# Timeout: 240 s
export MODES=user
exec "$(dirname "$0")/test_forward_limits.sh"
