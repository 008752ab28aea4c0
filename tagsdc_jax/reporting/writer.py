"""Metrics of a run: JSON lines and TensorBoard."""

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
  """Where metrics go."""

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Takes scalars; see `MetricsWriter.write`."""

  def close(self) -> None:
    """Ends it."""


class NoMetrics:
  """For processes that write no files."""

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


class MetricsWriter:
  """Appends to `metrics.jsonl` and to TensorBoard's event files.

  Each kind of line stands once for an update, also where a run that goes on
  does work again, as a validation whose state was saved before it.

  Not tensorboardX's SummaryWriter: it writes in a thread, which dies on a
  full disk and leaves the caller waiting for ever.
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
      first_update: where the run goes on; what a killed run has written of
        later updates is dropped, since it will be written again.
      watch: ends a process of several that hangs here.
      check: raises if the folder is another run's by now.
      about: stands in every line of `metrics.jsonl`.
    """
    self._path, board = run_dir / 'metrics.jsonl', run_dir / 'tensorboard'
    self._watch, self._check, self._about = watch, check, about
    with errors.named(self._path):
      self._written = _keep_until(self._path, first_update)
      self._lines = open(self._path, 'a', encoding='utf-8')
      board.mkdir(exist_ok=True)
      goes_on = any(board.iterdir())
      self._board = event_file_writer.EventsWriter(str(board / 'events'))
      if goes_on:  # TensorBoard then drops what comes later in other files.
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
      kind: "train" or "validation"; nothing is written if the update has
        one already.
      values: name -> number.
    Raises:
      UserError: if the file system refuses.
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
  """Removes lines of later updates, those that were cut, and repetitions.

  Returns:
    the update and kind of each line that is left.
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
  """Returns the update and kind of a line, None if it was cut."""
  try:
    content: Any = json.loads(line)
    return (
      (int(content['update']), str(content['kind']))
      if line.endswith(b'\n')
      else None
    )
  except (ValueError, TypeError, KeyError):
    return None
