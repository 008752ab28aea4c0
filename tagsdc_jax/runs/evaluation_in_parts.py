"""An evaluation that may be interrupted: finished parts are kept on disk."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files, settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import (evaluating, first_pass, matrix, protocols,
                                   ranking, tiles)
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runs import fingerprints, setup
from tagsdc_jax.runs.finished_parts import FinishedParts
from tagsdc_jax.runtime import memory, parallel, progress, watchdog
from tagsdc_jax.training import head_init

_JOINED = 'scores.npy'


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """What an evaluation found.

  Attributes:
    result: see `evaluating.rank`; with `seconds`, `pairs_per_second` and
      `pairs_found` (scored before an interruption), `padding` (see
      `tiles.Plan`), `precision`, and `first_pass` where there is one.
    scores: all of them; in a file of `parts`.
    parts: the folder; to be removed when nothing of it is needed.
  """
  result: dict[str, Any]
  scores: ranking.Scores
  parts: FinishedParts


def evaluate(model: RetrievalModel, parameters: Any,
             data: dataset.RetrievalDataset, config: settings.Settings,
             phase: str, work_dir: Path, *,
             chosen: dict[str, protocols.Protocol] | None = None,
             first: first_pass.FirstPass | None = None, process: int = 0,
             num_processes: int = 1,
             total: Callable[[int], int] = lambda number: number
             ) -> Evaluated | None:
  """Returns the result; continues where an equal evaluation was interrupted.

  Args:
    model: the network.
    parameters: in host memory.
    data: the split; its regions are read once, so they need not be cached.
    config: tile sizes, precision, devices and quirks are read.
    phase: which trained the parameters; decides the matching head.
    work_dir: where the folder of finished parts lies, for all processes the
      same.
    chosen: from `protocols.prepare`.
    first: the pairs to score; None for all.
    process: index of this process.
    num_processes: how many divide the parts.
    total: number -> its sum over the processes, once all have called it.
  Returns:
    what was found; in processes but the first None, after their share.
  Raises:
    UserError: if the split does not fit the network, the tiles memory, or the
      file system refuses.
  """
  setup.check_data(model.config, data)
  devices = parallel.local_devices(config.num_devices)
  parameters = head_init.matching_parameters(parameters, phase)
  plan = tiles.make_plan(data, config.evaluation, len(devices))
  parts = FinishedParts(
      work_dir, data.name.replace('/', '-'),
      fingerprints.of_evaluation(parameters, data, plan, config, first,
                                 devices),
      (plan.images[0].size, len(data.captions)))
  own = tiles.spread(len(plan.images))[process::num_processes]
  with parts.claimed(process), memory.explained(config, memory.SCORING,
                                                devices):
    missing = _missing(parts, own, process)
    counts = {part: _num_pairs(plan, part, data, first) for part in own}
    share = sum(counts.values())
    to_score = sum(counts[part] for part in missing)
    start = time.perf_counter()
    with progress.progress_bar(share, f'scoring {data.name}', 'pairs',
                               share - to_score, is_shown=not process) as bar, (
        watchdog.Watch(config.hang_seconds).during(watchdog.SCORING)) as go_on:
      def advance(pairs: int) -> None:
        go_on()
        bar.update(pairs)

      for part, block in matrix.score_parts(
          model, parallel.replicate(parameters, devices), data, plan, missing,
          devices=devices, wanted=None if first is None else first.wanted,
          progress=advance):
        parts.save(part, block)
    found = total(share - to_score)
    pace = evaluating.pace(total(to_score), time.perf_counter() - start)
    if process:
      return None
    scores = ranking.Scores(_joined(parts, plan, data),
                            None if first is None else first.scores)
    result = evaluating.rank(scores, data, config.quirks, chosen)
  facts: dict[str, Any] = (
      {'padding': plan.padding} if first is None
      else {'first_pass': first.about(data.captions_of_image)})
  facts |= {'pairs_found': found, 'precision': retrieval.precision(model)}
  return Evaluated(result | pace | facts, scores, parts)


def _missing(parts: FinishedParts, numbers: Sequence[int],
             process: int) -> list[int]:
  """Returns the parts still to be scored; the first process says of its own
  share what was found."""
  missing = [part for part in numbers if parts.load(part) is None]
  if process:
    return missing
  damaged = [part for part in missing if parts.has(part)]
  if damaged:
    _say(f'{len(damaged)} damaged parts in {parts.path} are scored again')
  if len(missing) < len(numbers):
    _say(f'continues the evaluation in {parts.path}: '
         f'{len(numbers) - len(missing)} of {len(numbers)} parts are there')
  return missing


def _num_pairs(plan: tiles.Plan, part: int, data: dataset.RetrievalDataset,
               first: first_pass.FirstPass | None) -> int:
  images = plan.images[part].reshape(-1)
  if first is None:
    return len(np.unique(images)) * len(data.captions)
  return sum(len(first.wanted(int(i))) for i in images)


def _joined(parts: FinishedParts, plan: tiles.Plan,
            data: dataset.RetrievalDataset) -> np.ndarray:
  """Returns all scores, float32 [captions, images], mapped from a file.

  The file lies image by image, so that every part is written in place.
  """
  path = parts.path / _JOINED
  shape = len(data.image_ids), len(data.captions)

  def write(file: Any) -> None:
    np.lib.format.write_array_header_1_0(
        file, {'descr': '<f4', 'fortran_order': False, 'shape': shape})
    start, size = file.tell(), 4 * len(data.captions)
    for part in range(len(plan.images)):
      scores = parts.load(part)
      if scores is None:
        raise errors.UserError(
            f'part {part} is missing or damaged in {parts.path}; give the '
            'same command again to have it scored')
      for image, row in zip(plan.images[part].reshape(-1), scores,
                            strict=True):
        file.seek(start + int(image) * size)
        file.write(row.astype('<f4', copy=False).tobytes())

  files.write_whole(path, write)
  return np.load(path, mmap_mode='r').T


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)
