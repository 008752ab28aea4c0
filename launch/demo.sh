#!/usr/bin/env bash
# Creates the environment if needed and runs the demo with the given arguments.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
exec "$VENV/bin/tagsdc" demo "$@"
