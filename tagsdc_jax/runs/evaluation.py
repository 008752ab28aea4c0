"""Parameters on a split -> recalls, scores, and how long it took."""

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
  """What an evaluation found.

  Attributes:
    result: see `protocols.count`; with `seconds`, compilation included,
      `pairs_per_second`, `pairs_found` (scored before an interruption),
      `precision`, see `retrieval.precision`, and `padding`, see `tiles.Plan`,
      or `first_pass`, see `first_pass.FirstPass.about`.
    scores: all of them, as they were computed; with a cache in its file.
    cache: the finished parts, if they were kept; to be removed when nothing of
      it is needed.
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
  """Scores all pairs, or those of a first pass, and ranks both ways.

  All processes must call it alike; they divide the pairs.

  Args:
    model: the network.
    params: parameters replicated over the devices.
    data: the split.
    config: tile sizes, precision and quirks are read.
    phase: which trained the parameters; decides the matching head.
    devices: this process's.
    work_dir: where finished parts are kept in a folder, for all processes the
      same; an equal evaluation goes on from them. None: in memory.
    chosen: from `protocols.prepare`.
    first: the pairs to score; None for all.
    watch: ends a process of several that hangs; of this split only, since
      another one compiles again.
  Returns:
    what was found; with `work_dir` the others than the first process get an
    empty result and no scores.
  Raises:
    UserError: if the split does not fit the network, the tiles memory, or the
      file system refuses.
  """
  setup.check_data(model.config, data)
  params = head_init.matching_parameters(params, phase)
  plan = tiles.make_plan(data, config.evaluation, len(devices))
  counts = _pair_counts(plan, data, first)
  own = missing = matrix.own_parts(plan)
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
      missing = cache.missing(own, is_verbose=distributed.is_first())
    stack.enter_context(memory.explained(config, memory.SCORING, devices))
    store: matrix.Store = cache or matrix.InMemory(plan, len(data.captions))
    start = time.perf_counter()
    with _progress(data, counts, own, missing) as advance:
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
      # Of all processes, which have saved their share when this is known.
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
  """Returns how many pairs of each part are scored."""
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
  """Keeps other evaluations away from this process's share of the parts.

  Raises:
    UserError: if another one is at work.
  """
  own = lock.Lock(
    cache.path / f'process_{jax.process_index()}.lock',
    'wait for the same evaluation, or give another --work-dir',
    option='--work-dir',
  )
  with own.held():
    if distributed.is_first():
      cache.write_about()
    yield


@contextlib.contextmanager
def _progress(
  data: dataset.RetrievalDataset,
  counts: list[int],
  own: list[int],
  missing: list[int],
) -> Iterator[matrix.Progress]:
  """Shows a bar of all pairs; yields what moves it by pairs of this process.

  What the others score meanwhile is taken to be as much.
  """
  processes, left = jax.process_count(), sum(counts)
  found = min(
    left, processes * sum(counts[part] for part in own if part not in missing)
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
