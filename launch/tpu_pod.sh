#!/usr/bin/env bash
# Trains on a TPU pod slice: creates the slice if it is missing, installs the
# package on every worker, runs the command on all of them, and starts over if
# the slice is preempted. The run folder must be on storage that all workers
# share: a mounted bucket, or Filestore.
#
#   launch/tpu_pod.sh NAME --zone us-central2-b --type v4-32 --spot -- \
#       tagsdc train --config coco_base_tags --run-dir /mnt/runs/tags \
#       --config.data.root=/mnt/data --config.init_from=/mnt/weights/uniter
#
#   --version IMAGE   the slice's software (default tpu-ubuntu2204-base)
#   --project ID      the project (default: gcloud's)
#   --tries N         how many times to restart (default 20)
#   --delete          delete the slice at the end
#   --dry-run         print all commands without running them
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

die() {
  echo "tpu_pod.sh: $1; see launch/tpu_pod.sh --help" >&2
  exit 2
}

name="" zone="" type="" version="tpu-ubuntu2204-base" project="" tries=20
spot=() delete="" dry_run="" command=()
while (($#)); do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --zone | --type | --version | --project | --tries)
      (($# > 1)) || die "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    --spot) spot=(--spot); shift ;;
    --delete) delete=yes; shift ;;
    --dry-run) dry_run=yes; shift ;;
    --) shift; command=("$@"); break ;;
    -*) die "unknown option $1" ;;
    *) [[ -z "$name" ]] || die "two names: $name and $1"; name="$1"; shift ;;
  esac
done
[[ -n "$name" ]] || die "the slice needs a name"
[[ -n "$zone" ]] || die "--zone is missing"
[[ -n "$type" ]] || die "--type is missing"
[[ "$tries" =~ ^[0-9]+$ ]] || die "--tries must be a number, got $tries"
((${#command[@]})) || die "the command is missing, after --"

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
where=(--zone "$zone")
[[ -z "$project" ]] || where+=(--project "$project")
tpu=(gcloud compute tpus tpu-vm)

# Runs a command, or prints it.
run() {
  if [[ -n "$dry_run" ]]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

state() {
  "${tpu[@]}" describe "$name" "${where[@]}" --format='value(state)' \
    2>/dev/null || true
}

# Creates the slice unless it exists and is ready.
make_slice() {
  local now=""
  [[ -n "$dry_run" ]] || now="$(state)"
  [[ "$now" == READY ]] && return
  if [[ -n "$now" ]]; then
    echo "slice $name is $now: recreating it"
    run "${tpu[@]}" delete "$name" "${where[@]}" --quiet
  fi
  run "${tpu[@]}" create "$name" "${where[@]}" --accelerator-type "$type" \
    --version "$version" "${spot[@]}"
}

on_all() {
  run "${tpu[@]}" ssh "$name" "${where[@]}" --worker=all --command="$1"
}

# Installs the committed tree. The workers expand what is in single quotes.
# shellcheck disable=SC2016
install_package() {
  local archive
  archive="${TMPDIR:-/tmp}/tagsdc_jax_$name.tar.gz"
  run git -C "$root" archive --format=tar.gz --output="$archive" HEAD
  run "${tpu[@]}" scp "$archive" "$name:tagsdc_jax.tar.gz" "${where[@]}" \
    --worker=all
  on_all 'set -e; rm -rf tagsdc_jax && mkdir tagsdc_jax &&
    tar -xzf tagsdc_jax.tar.gz -C tagsdc_jax &&
    if command -v python3.11 >/dev/null; then python=python3.11;
    else sudo apt-get -qq update &&
      sudo apt-get -qq install -y software-properties-common &&
      sudo add-apt-repository -y ppa:deadsnakes/ppa &&
      sudo apt-get -qq install -y python3.11-venv; python=python3.11; fi &&
    "$python" -m venv venv &&
    venv/bin/pip install --quiet "jax[tpu]" ./tagsdc_jax'
}

words="$(printf '%q ' "${command[@]}")"
for ((try = 0; ; try++)); do
  make_slice
  install_package
  if on_all "PATH=\"\$HOME/venv/bin:\$PATH\" TAGSDC_CLUSTER=gcetpu \
TAGSDC_STOPPED_CODE=75 $words"; then
    break
  fi
  # The processes exit some time before the slice is gone.
  for _ in 1 2 3 4 5 6 7 8; do
    now="$(state)"
    [[ "$now" == READY ]] || break
    sleep 10
  done
  # A run that failed on a healthy slice would fail again.
  if [[ "$now" == READY ]]; then
    echo "tpu_pod.sh: the command failed on a healthy slice $name; see above" \
      >&2
    exit 1
  fi
  if ((try >= tries)); then
    echo "tpu_pod.sh: slice $name was preempted $((try + 1)) times" >&2
    exit 1
  fi
  echo "slice $name is ${now:-gone}: restarting from the last checkpoint"
done
[[ -z "$delete" ]] || run "${tpu[@]}" delete "$name" "${where[@]}" --quiet
