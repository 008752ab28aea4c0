"""Writes the metrics of a run as JSON lines and for TensorBoard."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from tagsdc_jax import errors, files
from tagsdc_jax.runtime import watchdog


class Metrics(Protocol):
  """A destination of metrics."""

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Writes scalars; see `MetricsWriter.write`."""

  def close(self) -> None:
    """Closes it."""


class NoMetrics:
  """For processes that write no files."""

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


class MetricsWriter:
  """Appends to `metrics.jsonl` and to TensorBoard's event files.

  Each kind of line is written once per update, even if a resumed run repeats
  work, e.g. a validation that the checkpoint precedes.

  Not tensorboardX's SummaryWriter: it writes in a thread, which dies on a
  full disk and leaves the caller waiting forever.
  """

  def __init__(
    self,
    run_dir: Path,
    first_update: int = 0,
    watch: watchdog.Watch = watchdog.UNWATCHED,
    check: Callable[[], None] = lambda: None,
    about: Mapping[str, str] = MappingProxyType({}),
  ) -> None:
    """Opens both.

    Args:
      run_dir: the run's folder.
      first_update: where the run resumes; lines of later updates, left by a
        killed run, are removed, since they will be written again.
      watch: stops a distributed process that hangs here.
      check: raises if another run has taken over the folder.
      about: added to every line of `metrics.jsonl`.
    """
    self._path, board = run_dir / 'metrics.jsonl', run_dir / 'tensorboard'
    self._watch, self._check, self._about = watch, check, about
    with errors.named(self._path):
      self._written = _keep_until(self._path, first_update)
      self._lines = open(self._path, 'a', encoding='utf-8')
      board.mkdir(exist_ok=True)
      is_resumed = any(board.iterdir())
      self._board = event_file_writer.EventsWriter(str(board / 'events'))
      if is_resumed:  # TensorBoard then drops later steps of other files.
        self._board.write_event(
          event_pb2.Event(
            wall_time=time.time(),
            step=first_update + 1,
            session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START),
          )
        )
      self._board.flush()

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Writes scalars.

    Args:
      update: updates done.
      kind: "train" or "validation"; nothing is written if the update already
        has a line of this kind.
      values: name -> number.
    Raises:
      UserError: if a file cannot be written.
    """
    self._check()
    if (update, kind) in self._written:
      return
    self._written.add((update, kind))
    line = {'update': update, 'kind': kind, **values, **self._about}
    with self._watch.during(watchdog.WRITING), errors.named(self._path):
      self._lines.write(json.dumps(line) + '\n')
      self._lines.flush()
      for name, value in values.items():
        self._board.write_event(
          event_pb2.Event(
            wall_time=time.time(),
            step=update,
            summary=summary.scalar(f'{kind}/{name}', value),
          )
        )
      self._board.flush()

  def close(self) -> None:
    """Flushes and closes both; raises as `write`."""
    with self._watch.during(watchdog.WRITING), errors.named(self._path):
      self._lines.close()
      self._board.close()


def _keep_until(path: Path, update: int) -> set[tuple[int, str]]:
  """Removes lines of later updates, truncated lines, and repetitions.

  Returns:
    the update and kind of each remaining line.
  """
  if not path.exists():
    return set()
  lines = path.read_bytes().splitlines(keepends=True)
  kept: dict[tuple[int, str], bytes] = {}
  for line in lines:
    key = _key(line)
    if key is not None and key[0] <= update:
      kept.setdefault(key, line)
  if list(kept.values()) != lines:
    files.write_whole(path, lambda file: file.writelines(kept.values()))
  return set(kept)


def _key(line: bytes) -> tuple[int, str] | None:
  """Returns the update and kind of a line, or None if it is truncated."""
  try:
    content: Any = json.loads(line)
    return (
      (int(content['update']), str(content['kind']))
      if line.endswith(b'\n')
      else None
    )
  except (ValueError, TypeError, KeyError):
    return None
