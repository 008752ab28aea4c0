"""Metrics of a run: JSON lines and TensorBoard."""

import json
from pathlib import Path

import tensorboardX


class MetricsWriter:
  """Appends to `metrics.jsonl` and to TensorBoard's event files."""

  def __init__(self, run_dir: Path) -> None:
    self._lines = open(run_dir / 'metrics.jsonl', 'a', encoding='utf-8')
    self._board = tensorboardX.SummaryWriter(str(run_dir / 'tensorboard'))

  def write(self, update: int, kind: str, values: dict[str, float]) -> None:
    """Writes scalars.

    Args:
      update: updates done.
      kind: "train" or "validation".
      values: name -> number.
    """
    line = {'update': update, 'kind': kind, **values}
    self._lines.write(json.dumps(line) + '\n')
    self._lines.flush()
    for name, value in values.items():
      self._board.add_scalar(f'{kind}/{name}', value, update)

  def close(self) -> None:
    """Flushes and closes both."""
    self._lines.close()
    self._board.close()
