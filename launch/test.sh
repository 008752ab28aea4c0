#!/usr/bin/env bash
# Makes the environment if needed, then runs ruff, mypy and every test on the
# CPU, two processes; arguments go to pytest.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
export JAX_PLATFORMS=cpu
"$VENV/bin/python" -m ruff check --quiet
"$VENV/bin/python" -m ruff format --check --quiet
"$VENV/bin/python" -m mypy tagsdc_jax
# A test file stays in one process, for what its tests share.
exec "$VENV/bin/python" -m pytest -n 2 --dist loadfile "$@"
