# shellcheck shell=bash
# Sourced by the other scripts: creates .venv in the repository root if it is
# missing, installs the package with its test tools into it, and sets ROOT and
# VENV. PYTHON chooses the interpreter for a new .venv.

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

# Prints a hash of what the installation depends on, such as the folder's path.
wanted_stamp() {
  "$VENV/bin/python" - "$ROOT" <<'PYTHON'
import hashlib
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
parts = [(root / name).read_bytes() for name in ('setup.cfg', 'pyproject.toml')]
parts += [sys.version.encode(), str(root).encode()]
print(hashlib.sha256(b'\0'.join(parts)).hexdigest())
PYTHON
}

make_environment() {
  local python="${PYTHON:-python3}" stamp="$VENV/installed.sha256" wanted
  if [[ ! -x "$VENV/bin/python" ]]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python" >&2
      return 1
    fi
    echo "Creating $VENV with $("$python" --version)"
    "$python" -m venv "$VENV" || return 1
  fi
  wanted="$(wanted_stamp)" || return 1
  if [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then
    return 0
  fi
  echo "Installing tagsdc_jax and its dependencies into $VENV (takes minutes)"
  # If creating the environment was interrupted, pip is missing.
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$VENV/bin/python" -m ensurepip || return 1
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "${ROOT}[test]" || return 1
  echo "$wanted" >"$stamp"
}

make_environment
