"""The folder of generated negatives: what it holds, shards, and a lock."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files
from tagsdc_jax.negative_files import records
from tagsdc_jax.runs import lock
from tagsdc_jax.runtime import distributed

NEGATIVES = 'negatives.jsonl'
PARTS, _LOCK = '.parts', '.generate.lock'
# Of a header: settings first, whose differences say most.
_GROUPS = ('settings', 'data', 'model', 'judge', 'start')
_REQUEST, _CALIBRATION = 'request.json', 'calibration.json'


@contextlib.contextmanager
def held(out: Path, facts: dict[str, Any]) -> Iterator[None]:
  """Creates and locks the folder, if it is new or holds the same request.

  Args:
    out: the folder.
    facts: what decides the bytes that are written.
  Raises:
    UserError: if the folder holds something else.
  """
  with contextlib.ExitStack() as stack:

    def hold() -> None:
      with errors.named(out):
        out.mkdir(parents=True, exist_ok=True)
      remedy = 'wait for it or stop it, or pass another folder'
      stack.enter_context(lock.Lock(out / _LOCK, remedy, option='OUT').held())
      _claim(out, facts)

    distributed.on_first(hold)
    yield


def _claim(out: Path, facts: dict[str, Any]) -> None:
  """Notes what is generated, or checks that it is the same.

  Raises:
    UserError: if the folder holds something else.
  """
  # As a header has it: numbers are rounded.
  now = json.loads(records.header_line(facts))
  before = _known(out)
  if before is None:
    others = sorted(
      name for name in os.listdir(out) if name not in (PARTS, _LOCK)
    )
    if others:
      raise errors.UserError(
        f'{out} is not empty and holds no negatives, but {others[0]}; pass a '
        'new folder'
      )
    with errors.named(out):
      (out / PARTS).mkdir(exist_ok=True)
    files.write_json(out / PARTS / _REQUEST, now)
    return
  changed = [
    f'{group}: {_shown(old)}, now {_shown(new)}'
    if name == 'hash'
    else f'{name}: {old!r}, now {new!r}'
    for group in _GROUPS
    for was, now_is in [(before.get(group) or {}, now.get(group) or {})]
    for name in sorted({*was, *now_is})
    for old, new in [(was.get(name), now_is.get(name))]
    if old != new
  ]
  if changed:
    raise errors.UserError(
      f'{out} holds negatives of another request ({"; ".join(changed[:3])}); '
      'pass a new folder, or the same arguments'
    )


def _shown(digest: str | None) -> str:
  return 'none' if digest is None else f'{digest[:8]}...'


def _known(out: Path) -> dict[str, Any] | None:
  """Returns the request that a folder belongs to; None if it is new."""
  if (out / NEGATIVES).is_file():
    return records.File(out / NEGATIVES).header
  try:
    return json.loads((out / PARTS / _REQUEST).read_text('utf-8'))
  except (OSError, ValueError):
    return None


def calibration(out: Path) -> Path:
  """Returns the path of the calibration, which is made once."""
  return out / PARTS / _CALIBRATION


def read_calibration(out: Path) -> dict[str, Any] | None:
  """Returns the calibration; None if there is none."""
  path = calibration(out)
  return json.loads(path.read_text('utf-8')) if path.is_file() else None


def part(out: Path, place: int) -> Path:
  """Returns the path of a shard."""
  return out / PARTS / f'{place:06d}.jsonl'
