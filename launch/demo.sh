#!/usr/bin/env bash
# Makes the environment if needed and runs the demo; arguments go to it.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
exec "$VENV/bin/tagsdc" demo "$@"
