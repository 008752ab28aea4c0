#!/usr/bin/env bash
# Benchmarks training and scoring against eager PyTorch; see --help. `gpu` uses
# the current interpreter (set PYTHON to choose another), which only needs jax,
# flax, optax and numpy; `cpu` uses the project's environment.
set -euo pipefail
ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ "${1:-}" == gpu ]]; then
  python="${PYTHON:-python3}"
else
  # shellcheck source=/dev/null
  source "$ROOT/launch/environment.sh"
  python="$VENV/bin/python"
  export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
  # One device per core: some operations keep only a single core busy.
  cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
  # Flags that are already set come last, so they take precedence.
  export XLA_FLAGS="--xla_force_host_platform_device_count=$cores ${XLA_FLAGS:-}"
fi
cd "$ROOT"
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$python" launch/bench "$@"
