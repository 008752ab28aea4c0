"""Metrics of a run: JSON lines and TensorBoard."""

import json
import time
from pathlib import Path
from typing import Any, Protocol

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from tagsdc_jax import errors, files, hanging


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

  Not tensorboardX's SummaryWriter: it writes in a thread, which dies on a
  full disk and leaves the caller waiting for ever.
  """

  def __init__(self, run_dir: Path, first_update: int = 0,
               watch: hanging.Watch = hanging.UNWATCHED) -> None:
    """Opens both.

    Args:
      run_dir: the run's folder.
      first_update: where the run goes on; what a killed run has written of
        later updates is dropped, since it will be written again.
      watch: ends a process of several that hangs here.
    """
    self._path, board = run_dir / 'metrics.jsonl', run_dir / 'tensorboard'
    self._watch = watch
    with errors.named(self._path):
      _drop_after(self._path, first_update)
      self._lines = open(self._path, 'a', encoding='utf-8')
      board.mkdir(exist_ok=True)
      self._board = event_file_writer.EventsWriter(str(board / 'events'))
      if first_update:
        self._board.write_event(event_pb2.Event(
            wall_time=time.time(), step=first_update + 1,
            session_log=event_pb2.SessionLog(
                status=event_pb2.SessionLog.START)))
      self._board.flush()

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Writes scalars.

    Args:
      update: updates done.
      kind: "train" or "validation".
      values: name -> number.
    Raises:
      UserError: if the file system refuses.
    """
    line = {'update': update, 'kind': kind, **values}
    with self._watch.during(hanging.WRITING), errors.named(self._path):
      self._lines.write(json.dumps(line) + '\n')
      self._lines.flush()
      for name, value in values.items():
        self._board.write_event(event_pb2.Event(
            wall_time=time.time(), step=update,
            summary=summary.scalar(f'{kind}/{name}', value)))
      self._board.flush()

  def close(self) -> None:
    """Flushes and closes both; raises as `write`."""
    with self._watch.during(hanging.WRITING), errors.named(self._path):
      self._lines.close()
      self._board.close()


def _drop_after(path: Path, update: int) -> None:
  """Removes lines of later updates, and those that were cut."""
  if not path.exists():
    return
  lines = path.read_bytes().splitlines(keepends=True)
  kept = [line for line in lines if _is_kept(line, update)]
  if kept != lines:
    files.write_whole(path, lambda file: file.writelines(kept))


def _is_kept(line: bytes, update: int) -> bool:
  try:
    content: Any = json.loads(line)
    return line.endswith(b'\n') and content['update'] <= update
  except (ValueError, TypeError, KeyError):
    return False
