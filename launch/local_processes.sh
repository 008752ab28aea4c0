#!/usr/bin/env bash
# Runs a command as one run of N processes on this machine:
#   launch/local_processes.sh 2 --devices 2 -- tagsdc train --config world_tags \
#       --run-dir runs/two
# --dry-run prints the commands. See tagsdc_jax/runtime/launcher.py.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
export PATH="$VENV/bin:$PATH"
exec "$VENV/bin/python" -m tagsdc_jax.runtime.launcher "$@"
