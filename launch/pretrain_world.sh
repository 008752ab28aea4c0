#!/usr/bin/env bash
# Recreates the weights that come with the package: pretrains on the embedded
# world and writes tagsdc_jax/shipped/world_pretrain. The argument is the run
# folder (default runs/world_pretrain); an interrupted run is resumed there.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
cd -- "$ROOT"
run="${1:-runs/world_pretrain}"

# The first updates are logged individually, because a test repeats them.
first=(tagsdc train --config world_pretrain --run-dir "$run"
  --config.log_every=1 --config.stop_at_update=3)
rest=(tagsdc train --config world_pretrain --run-dir "$run")
"$VENV/bin/${first[0]}" "${first[@]:1}"
"$VENV/bin/${rest[0]}" "${rest[@]:1}"
"$VENV/bin/python" -m tagsdc_jax.runs.shipping "$run" \
  tagsdc_jax/shipped/world_pretrain "${first[*]}" "${rest[*]}"
