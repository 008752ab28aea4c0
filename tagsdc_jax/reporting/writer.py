"""Metrics of a run: JSON lines and TensorBoard."""

import json
import time
from pathlib import Path

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from tagsdc_jax import errors


class MetricsWriter:
  """Appends to `metrics.jsonl` and to TensorBoard's event files.

  Not tensorboardX's SummaryWriter: it writes in a thread, which dies on a
  full disk and leaves the caller waiting for ever.
  """

  def __init__(self, run_dir: Path) -> None:
    self._path, board = run_dir / 'metrics.jsonl', run_dir / 'tensorboard'
    with errors.named(self._path):
      is_cut = self._path.exists() and not self._path.read_bytes().endswith(
          b'\n')
      self._lines = open(self._path, 'a', encoding='utf-8')
      if is_cut:  # A killed run, or a full disk, has left half a line.
        self._lines.write('\n')
      board.mkdir(exist_ok=True)
      self._board = event_file_writer.EventsWriter(str(board / 'events'))
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
    with errors.named(self._path):
      self._lines.write(json.dumps(line) + '\n')
      self._lines.flush()
      for name, value in values.items():
        self._board.write_event(event_pb2.Event(
            wall_time=time.time(), step=update,
            summary=summary.scalar(f'{kind}/{name}', value)))
      self._board.flush()

  def close(self) -> None:
    """Flushes and closes both; raises as `write`."""
    with errors.named(self._path):
      self._lines.close()
      self._board.close()
