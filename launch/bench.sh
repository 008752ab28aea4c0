#!/usr/bin/env bash
# Measures training and scoring beside eager PyTorch; see --help. `gpu` takes
# the interpreter at hand (PYTHON chooses another), which needs jax, flax, optax
# and numpy only; `cpu` takes the project's environment.
set -euo pipefail
ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ "${1:-}" == gpu ]]; then
  python="${PYTHON:-python3}"
else
  # shellcheck source=/dev/null
  source "$ROOT/launch/environment.sh"
  python="$VENV/bin/python"
  export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
  # A device per core: one works where another's operation keeps a single core.
  cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
  # What is set already comes later and wins.
  export XLA_FLAGS="--xla_force_host_platform_device_count=$cores ${XLA_FLAGS:-}"
fi
cd "$ROOT"
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$python" launch/bench "$@"
