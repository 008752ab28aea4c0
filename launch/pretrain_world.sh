#!/usr/bin/env bash
# Recreates the weights that come with the package: pretrains on the embedded
# world, relations first, and writes tagsdc_jax/shipped/world_pretrain. The
# argument is the folder of the two runs (default runs/world); interrupted runs
# are resumed there.
set -euo pipefail
# shellcheck source=/dev/null
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
cd -- "$ROOT"
runs="${1:-runs/world}"

# The first updates are logged individually, because a test repeats them.
first=(tagsdc train --config world_relations --run-dir "$runs/relations"
  --config.log_every=1 --config.stop_at_update=3)
relations=(tagsdc train --config world_relations --run-dir "$runs/relations")
pretrain=(tagsdc train --config world_pretrain --run-dir "$runs/pretrain"
  --config.init_from="$runs/relations")
"$VENV/bin/${first[0]}" "${first[@]:1}"
"$VENV/bin/${relations[0]}" "${relations[@]:1}"
"$VENV/bin/${pretrain[0]}" "${pretrain[@]:1}"
"$VENV/bin/python" -m tagsdc_jax.runs.shipping \
  "$runs/relations" "$runs/pretrain" tagsdc_jax/shipped/world_pretrain \
  "${first[*]}" "${relations[*]}" "${pretrain[*]}"
