#!/bin/bash
# 1 GiB in each case of tests/lab/test_integrity.sh: never a wrong byte.
set -euo pipefail
cd "$(dirname "$0")/../.."
SIZE=${SIZE:-1G} tests/lab/run integrity
