"""Runs a study and counts its table: means, intervals, differences."""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tagsdc_jax import errors, files
from tagsdc_jax.reporting.page import study as page
from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.runs import examples, folder
from tagsdc_jax.studies import built_in, intervals, running, study
from tagsdc_jax.studies.measures import items, judges, registry

PAGE, RESULTS = 'page.html', 'results.json'
# Seconds; what takes less was done before, and says nothing of what is left.
_AT_ONCE = 2.0


def run(
  names: Sequence[str],
  runner: running.Runner,
  num_seeds: int,
  part: tuple[int, int],
) -> list[Path]:
  """Trains, measures and writes studies; returns the paths of their pages.

  Args:
    names: keys of `built_in.STUDIES`.
    runner: trains and measures in its folder.
    num_seeds: of every arm.
    part: (i, n), the share of the seeds that this process does; pages are
      written by whoever finds all seeds done.
  Raises:
    UserError, Stopped: as training does.
  """
  studies = {
    one: one.arms(runner.base) for one in (built_in.STUDIES[x] for x in names)
  }
  _measure_all(studies, runner, running.own_seeds(num_seeds, part))
  pages = []
  for one, arms in studies.items():
    if part[1] > 1 and not _all_done(arms, runner, num_seeds):
      runner.say(
        f'{one.name}: part {part[0] + 1}/{part[1]} is done, others are '
        'missing; the part that is done last writes the page'
      )
      continue
    pages.append(_write(one, arms, runner, num_seeds))
  return pages


def _measure_all(
  studies: Mapping[study.Study, Sequence[study.Arm]],
  runner: running.Runner,
  seeds: Sequence[int],
) -> None:
  """Trains and measures all arms, and says how many are left."""
  # A run is measured once it is trained, for all studies that read it.
  wanted: list[tuple[study.Arm, dict[tuple, study.Arm]]] = []
  for one, arms in studies.items():
    for arm in arms:
      measures = next((m for first, m in wanted if first.run == arm.run), None)
      if measures is None:
        measures = {}
        wanted.append((arm, measures))
      for name in one.measures:
        measures[tuple(arm.ranking.items()), name] = arm
  total = len(seeds) * len(wanted)
  took: list[float] = []
  for number, (seed, (arm, measures)) in enumerate(
    itertools.product(seeds, wanted)
  ):
    left = ''
    if took:
      seconds = float(np.mean(took)) * (total - number)
      left = f', about {tqdm.format_interval(seconds)} left'
    runner.say(f'{number + 1} of {total}{left}: {arm.label}, seed {seed}')
    start = time.monotonic()
    trained = _trained(arm, runner, seed)
    for (_, name), own in measures.items():
      runner.measure(trained, name, own.ranking)
    seconds = time.monotonic() - start
    if seconds > _AT_ONCE:
      took.append(seconds)


def _trained(
  arm: study.Arm, runner: running.Runner, seed: int
) -> study.Trained:
  return runner.start() if arm.run is None else runner.train(arm.run, seed)


def _all_done(
  arms: Sequence[study.Arm], runner: running.Runner, num_seeds: int
) -> bool:
  return all(
    runner.is_done(arm.run, seed)
    for arm in arms
    if arm.run is not None
    for seed in range(num_seeds)
  )


def _measured(
  one: study.Study, arm: study.Arm, runner: running.Runner, seed: int
) -> tuple[study.Trained, items.Items]:
  """Returns a trained arm and all its measures."""
  trained = _trained(arm, runner, seed)
  found: items.Items = {}
  for name in one.measures:
    found |= runner.measure(trained, name, arm.ranking)
  return trained, found


def _write(
  one: study.Study,
  arms: Sequence[study.Arm],
  runner: running.Runner,
  num_seeds: int,
) -> Path:
  """Writes `results.json` and the page of a study whose runs are done."""
  trained, measured = {}, {}
  for arm in arms:
    trained[arm.label], measured[arm.label] = zip(
      *(_measured(one, arm, runner, seed) for seed in range(num_seeds)),
      strict=True,
    )
  samples = _samples(measured)
  rows = [_row(arm, trained[arm.label], samples, runner) for arm in arms]
  numbers = {
    row.label: {number: cell.value for number, cell in row.cells.items()}
    for row in rows
  }
  shown = content.Study(
    one.title,
    one.question,
    one.notes,
    num_seeds,
    rows,
    _about(one, runner),
    one.figures(study.Found(trained, _values(measured), numbers)),
    one.shown,
    examples.gather(trained[arms[-1].label][0].path)
    if one.has_examples
    else None,
    registry.MEANINGS,
  )
  place = runner.out / one.name
  with errors.named(place):
    place.mkdir(parents=True, exist_ok=True)
  results = content.to_json(shown)
  _tell_replaced(place / RESULTS, results, runner)
  files.write_json(place / RESULTS, results)
  files.write_bytes(place / PAGE, page.render(shown).encode('utf-8'))
  page.print_table(shown)
  return place / PAGE


def _tell_replaced(
  path: Path, results: Mapping[str, Any], runner: running.Runner
) -> None:
  """Says if results of other settings are there, and about to go."""
  try:
    old = json.loads(path.read_text('utf-8'))
    was, now = (
      (one['num_seeds'], one['about'].get('settings')) for one in (old, results)
    )
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return
  if was != now:
    runner.say(
      f'{path.parent} is replaced: it was of {was[0]} seeds of {was[1]}; give '
      'another --out to keep such a page'
    )


def _row(
  arm: study.Arm,
  trained: Sequence[study.Trained],
  samples: Mapping[str, Mapping[str, intervals.Sample]],
  runner: running.Runner,
) -> content.Row:
  reference = samples.get(arm.reference, {})
  return content.Row(
    arm.label,
    arm.reference,
    float(np.mean([one.results.get('updates', 0) for one in trained])),
    float(
      np.mean([runner.flop(one) if one.results else 0.0 for one in trained])
    ),
    {
      number: _cell(sample, reference.get(number))
      for number, sample in samples[arm.label].items()
    },
  )


def _samples(
  measured: Mapping[str, Sequence[items.Items]],
) -> dict[str, dict[str, intervals.Sample]]:
  """Returns the numbers of every arm: of each measure, and of its parts.

  Args:
    measured: label of an arm -> the items of every seed.
  """
  pictures = 1 + max(
    int(picture)
    for seeds in measured.values()
    for one in seeds
    for parts in one.values()
    for values in parts.values()
    for _, picture in values
  )
  found: dict[str, dict[str, intervals.Sample]] = {}
  for label, seeds in measured.items():
    own = found[label] = {}
    for number in dict.fromkeys(name for one in seeds for name in one):
      parts = dict.fromkeys(
        part for one in seeds for part in one.get(number, {})
      )
      scale = 100.0 if content.is_percent(number) else 1.0
      outcomes = {
        part: [_outcome(one.get(number, {}).get(part, ())) for one in seeds]
        for part in parts
      }
      own[number] = intervals.Sample(list(outcomes.values()), pictures, scale)
      if len(parts) > 1:
        own |= {
          f'{number}: {part}': intervals.Sample([one], pictures, scale)
          for part, one in outcomes.items()
        }
  return found


def _values(
  measured: Mapping[str, Sequence[items.Items]],
) -> dict[str, dict[str, np.ndarray]]:
  """Returns the values of all seeds' items, by arm and number."""
  found: dict[str, dict[str, np.ndarray]] = {}
  for label, seeds in measured.items():
    values: dict[str, list[float]] = {}
    for one in seeds:
      for number, parts in one.items():
        values.setdefault(number, []).extend(
          value for own in parts.values() for value, _ in own
        )
    found[label] = {number: np.array(own) for number, own in values.items()}
  return found


def _outcome(found: Sequence[Sequence[float]]) -> intervals.Outcome:
  values, pictures = np.array(found, float).reshape(-1, 2).T
  return intervals.Outcome(values, pictures.astype(int))


def _cell(
  sample: intervals.Sample, reference: intervals.Sample | None
) -> content.Cell:
  change = None if reference is None else sample.difference(reference)
  return content.Cell(
    _triple(sample.estimate()), None if change is None else _triple(change)
  )


def _triple(found: intervals.Estimate) -> tuple[float, float, float]:
  return found.mean, found.low, found.high


def _about(one: study.Study, runner: running.Runner) -> Mapping[str, Any]:
  """Returns what the page says of data and versions."""
  tags = runner.base.phases['tags']
  judged = registry.JUDGED & set(one.measures)
  return {
    'data': tags.data.source
    if tags.data.source == 'world'
    else Path(tags.data.root).name,
    'settings': runner.named,
    'start': tags.init_from,
    **({'judge': judges.about(runner.judge)} if judged else {}),
    **folder.versions(),
  }
