"""Runs a study and counts its table: means, intervals, differences."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, files
from tagsdc_jax.reporting.page import study as page
from tagsdc_jax.reporting.page import study_content as content
from tagsdc_jax.runs import folder
from tagsdc_jax.studies import built_in, intervals, measures, running, study

PAGE, RESULTS = 'page.html', 'results.json'


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
  pages = []
  for name in names:
    one = built_in.STUDIES[name]
    arms = one.arms(runner.base)
    for seed in running.own_seeds(num_seeds, part):
      for arm in arms:
        _measured(one, arm, runner, seed)
    if part[1] > 1 and not _all_done(arms, runner, num_seeds):
      runner.say(
        f'{name}: part {part[0] + 1}/{part[1]} is done, others are missing; '
        'the part that is done last writes the page'
      )
      continue
    pages.append(_write(one, arms, runner, num_seeds))
  return pages


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
) -> tuple[study.Trained, measures.Items]:
  """Returns a trained arm and all its measures."""
  trained = runner.start() if arm.run is None else runner.train(arm.run, seed)
  items: measures.Items = {}
  for name in one.measures:
    items |= runner.measure(trained, name)
  return trained, items


def _write(
  one: study.Study,
  arms: Sequence[study.Arm],
  runner: running.Runner,
  num_seeds: int,
) -> Path:
  """Writes `results.json` and the page of a study whose runs are done."""
  rows: dict[str, dict[str, intervals.Sample]] = {}
  updates, flop = {}, {}
  for arm in arms:
    found = [_measured(one, arm, runner, seed) for seed in range(num_seeds)]
    rows[arm.label] = _samples([items for _, items in found])
    updates[arm.label] = [
      trained.results.get('updates', 0) for trained, _ in found
    ]
    flop[arm.label] = [
      runner.flop(trained) if trained.results else 0.0 for trained, _ in found
    ]
  shown = content.Study(
    one.title,
    one.question,
    one.notes,
    num_seeds,
    [
      content.Row(
        arm.label,
        arm.reference,
        float(np.mean(updates[arm.label])),
        float(np.mean(flop[arm.label])),
        {
          number: _cell(sample, rows.get(arm.reference, {}).get(number))
          for number, sample in rows[arm.label].items()
        },
      )
      for arm in arms
    ],
    _about(runner.base),
  )
  place = runner.out / one.name
  with errors.named(place):
    place.mkdir(parents=True, exist_ok=True)
  files.write_json(place / RESULTS, content.to_json(shown))
  files.write_bytes(place / PAGE, page.render(shown).encode('utf-8'))
  page.print_table(shown)
  return place / PAGE


def _samples(found: Sequence[measures.Items]) -> dict[str, intervals.Sample]:
  """Returns the numbers of an arm: of each measure, and of its parts.

  Args:
    found: of every seed.
  """
  samples = {}
  for number, parts in found[0].items():
    outcomes = {
      part: [_outcome(one[number][part]) for one in found] for part in parts
    }
    pictures = 1 + max(int(one[0].pictures.max()) for one in outcomes.values())
    samples[number] = intervals.Sample(list(outcomes.values()), pictures)
    if len(parts) > 1:
      samples |= {
        f'{number}: {part}': intervals.Sample([one], pictures)
        for part, one in outcomes.items()
      }
  return samples


def _outcome(items: Sequence[Sequence[float]]) -> intervals.Outcome:
  values, pictures = np.array(items, float).reshape(-1, 2).T
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


def _about(base: study.Base) -> Mapping[str, Any]:
  """Returns what the page says of data and versions."""
  data = base.phases['tags'].data
  return {
    'data': data.source if data.source == 'world' else Path(data.root).name,
    'start': base.phases['tags'].init_from,
    **folder.versions(),
  }
