"""Evaluates parameters on a split: recalls, scores and timings."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import (
  first_pass,
  matrix,
  protocols,
  recall,
  score_cache,
  tiles,
)
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runs import lock, setup
from tagsdc_jax.runtime import distributed, memory, parallel, progress, watchdog
from tagsdc_jax.training import head_init


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """The results of an evaluation.

  Attributes:
    result: see `protocols.count`; also `seconds`, including compilation,
      `pairs_per_second`, `pairs_found` (scored before an interruption),
      `precision`, see `retrieval.precision`, and `padding`, see `tiles.Plan`,
      or `first_pass`, see `first_pass.FirstPass.about`.
    scores: all scores, as computed; with a cache they are in its file.
    cache: the finished parts, if they were stored; to be removed when they are
      no longer needed.
  """

  result: dict[str, Any]
  scores: recall.Scores
  cache: score_cache.ScoreCache | None


def evaluate(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  config: settings.Settings,
  phase: str,
  devices: list[jax.Device],
  *,
  work_dir: Path | None = None,
  chosen: Mapping[str, protocols.Protocol] | None = None,
  first: first_pass.FirstPass | None = None,
  watch: watchdog.Watch = watchdog.UNWATCHED,
) -> Evaluated:
  """Scores all pairs, or those of a first pass, and ranks in both directions.

  All processes must call it with the same arguments; they share the pairs.

  Args:
    model: the network.
    params: parameters replicated over the devices.
    data: the split.
    config: all settings; tile sizes, precision and quirks are used.
    phase: the phase that trained the parameters; decides the matching head.
    devices: this process's.
    work_dir: folder for finished parts, the same for all processes; an equal
      evaluation resumes from them. None: they are kept in memory.
    chosen: from `protocols.prepare`.
    first: the pairs to score; None for all.
    watch: ends a process of a multi-process run that hangs; one per split,
      because each split compiles again.
  Returns:
    the results; with `work_dir`, all processes but the first get an empty
    result and no scores.
  Raises:
    UserError: if the split does not fit the network, the tiles do not fit in
      memory, or the file system refuses.
  """
  setup.check_data(model.config, data)
  params = head_init.matching_parameters(params, phase)
  plan = tiles.make_plan(data, config.evaluation, len(devices))
  counts = _pair_counts(plan, data, first)
  own_parts = missing = matrix.own_parts(plan)
  with contextlib.ExitStack() as stack:
    cache = None
    if work_dir is not None:
      cache = score_cache.ScoreCache(
        work_dir,
        data.name.replace('/', '-'),
        score_cache.facts(
          parallel.first(params), data, plan, config, first, devices
        ),
        plan.images,
        len(data.captions),
      )
      stack.enter_context(_claimed(cache))
      missing = cache.missing(own_parts, is_verbose=distributed.is_first())
    stack.enter_context(memory.explained(config, memory.SCORING, devices))
    store: matrix.Store = cache or matrix.InMemory(plan, len(data.captions))
    start = time.perf_counter()
    with _progress(data, counts, own_parts, missing) as advance:
      matrix.fill(
        store,
        model,
        params,
        data,
        plan,
        missing,
        devices=devices,
        wanted=None if first is None else first.wanted,
        progress=advance,
        watch=watch,
      )
    seconds = time.perf_counter() - start
    scored = sum(counts[part] for part in missing)
    with watch.waiting():
      # Over all processes, which have saved their shares once this is known.
      scored = sum(counts) if cache is None else distributed.total(scored)
      if cache is not None and not distributed.is_first():
        return Evaluated({}, recall.Scores(np.zeros((0, 0))), cache)
      scores = recall.Scores(
        store.joined(), None if first is None else first.scores
      )
    result = protocols.count(scores, data, config.quirks, chosen or {})
  result |= {
    'seconds': seconds,
    'pairs_per_second': scored / max(seconds, 1e-9),
    'pairs_found': sum(counts) - scored,
    'precision': retrieval.precision(model),
  }
  result |= (
    {'padding': plan.padding}
    if first is None
    else {'first_pass': first.about(data.captions_of_image)}
  )
  return Evaluated(result, scores, cache)


def _pair_counts(
  plan: tiles.Plan,
  data: dataset.RetrievalDataset,
  first: first_pass.FirstPass | None,
) -> list[int]:
  """Returns the number of pairs to score in each part."""
  if first is None:
    return [
      len(np.unique(images)) * len(data.captions) for images in plan.images
    ]
  return [
    sum(len(first.wanted(int(i))) for i in images.reshape(-1))
    for images in plan.images
  ]


@contextlib.contextmanager
def _claimed(cache: score_cache.ScoreCache) -> Iterator[None]:
  """Locks this process's share of the parts against other evaluations.

  Raises:
    UserError: if another evaluation is using it.
  """
  share_lock = lock.Lock(
    cache.path / f'process_{jax.process_index()}.lock',
    'wait for that evaluation, or pass another --work-dir',
    option='--work-dir',
  )
  with share_lock.held():
    if distributed.is_first():
      cache.write_about()
    yield


@contextlib.contextmanager
def _progress(
  data: dataset.RetrievalDataset,
  counts: list[int],
  own_parts: list[int],
  missing: list[int],
) -> Iterator[matrix.Progress]:
  """Shows a bar of all pairs; yields a function that advances it.

  It takes pairs of this process; the others are assumed to score as many.
  """
  processes, left = jax.process_count(), sum(counts)
  found = min(
    left,
    processes * sum(counts[part] for part in own_parts if part not in missing),
  )
  with progress.progress_bar(
    left,
    f'scoring {data.name}',
    'pairs',
    found,
    is_shown=distributed.is_first(),
  ) as bar:
    left -= found

    def advance(number: int) -> None:
      nonlocal left
      step = min(number * processes, left)
      left -= step
      bar.update(step)

    yield advance
    advance(left)
