#!/usr/bin/env bash
# Makes the environment if needed, then runs flake8, mypy and every test on the
# CPU; arguments go to pytest.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
export JAX_PLATFORMS=cpu
"$VENV/bin/python" -m flake8
"$VENV/bin/python" -m mypy tagsdc_jax
exec "$VENV/bin/python" -m pytest "$@"
