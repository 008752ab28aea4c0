#!/usr/bin/env bash
# Creates the environment if needed, then runs ruff, mypy and all tests on the
# CPU in two processes; arguments are passed to pytest.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
export JAX_PLATFORMS=cpu
"$VENV/bin/python" -m ruff check --quiet
"$VENV/bin/python" -m ruff format --check --quiet
"$VENV/bin/python" -m mypy tagsdc_jax
# All tests of a file run in one process, because they share fixtures; the
# longest files first, see tests/conftest.py.
exec "$VENV/bin/python" -m pytest -n 2 --dist loadfile \
  --no-loadscope-reorder "$@"
