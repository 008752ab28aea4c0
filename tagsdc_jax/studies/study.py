"""What a study is: trainings, what is measured of each, and what is shown."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.reporting.page import study_content as content


@dataclasses.dataclass(frozen=True)
class Base:
  """The settings that a study changes.

  Attributes:
    phases: settings of 'tags' and 'dc'; also of 'pretrain', and of 'align'
      before it, if the weights that stage 1 starts from have to be trained
      first.
  """

  phases: Mapping[str, settings.Settings]


@dataclasses.dataclass(frozen=True)
class Run:
  """A training.

  Attributes:
    name: of its folder; runs of other studies with equal settings and start are
      the same run, whatever their names.
    phase: whose settings it has, 'align', 'pretrain', 'tags' or 'dc'.
    changes: other values of settings, by dotted name.
    start: the run whose weights it starts from; None: pretraining.
    equal_flop: the number of updates is chosen so that it takes as many FLOP as
      the first of these runs; the second has this run's settings, and the
      number of updates that is scaled. None: the number of its settings.
  """

  name: str
  phase: str
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  start: 'Run | None' = None
  equal_flop: 'tuple[Run, Run] | None' = None


@dataclasses.dataclass(frozen=True)
class Arm:
  """A row of the table.

  Attributes:
    label: what it is, for readers.
    run: the training; None: the pretraining that all start from.
    reference: label of the arm that it is compared with; '' for none.
    ranking: other values of settings while it is measured, by dotted name.
  """

  label: str
  run: Run | None
  reference: str = ''
  ranking: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Found:
  """What a study found.

  Attributes:
    trained: label of an arm -> its runs, one per seed.
    items: label of an arm -> number -> the values of all seeds' items.
    numbers: label of an arm -> number -> mean, low, high.
  """

  trained: Mapping[str, Sequence['Trained']]
  items: Mapping[str, Mapping[str, np.ndarray]]
  numbers: Mapping[str, Mapping[str, content.Interval]]


def distributions(
  found: Found,
  title: str,
  x_label: str,
  edges: np.ndarray,
  names: Mapping[str, str],
  note: str = '',
) -> list[content.Distributions]:
  """Returns a figure per arm: how the values of some numbers are distributed.

  Args:
    found: what the study found.
    title: of the figures, before the arm.
    x_label: what is distributed, with its unit.
    edges: float [bins + 1], ascending.
    names: label of a distribution -> its number; those that an arm lacks are
      left out.
    note: what readers should know.
  """
  return [
    content.Distributions(
      f'{title}: {arm}',
      x_label,
      edges.tolist(),
      {
        label: (
          100 * np.histogram(values[name], edges)[0] / len(values[name])
        ).tolist()
        for label, name in names.items()
        if name in values
      },
      note,
    )
    for arm, values in found.items.items()
  ]


Figure = content.Lines | content.Distributions


@dataclasses.dataclass(frozen=True)
class Study:
  """A question, and the trainings that answer it.

  Attributes:
    name: on the command line.
    title: of the page.
    question: what it asks, a sentence or two.
    arms: the base -> its arms.
    measures: names of `registry.MEASURES`.
    notes: what readers should know of the numbers.
    shown: numbers that are drawn and printed; (): all.
    figures: draws what was found.
    has_examples: whether the page shows captions, negatives and what the last
      arm says of their words.
  """

  name: str
  title: str
  question: str
  arms: Callable[[Base], Sequence[Arm]]
  measures: tuple[str, ...] = ('recall', 'foils')
  notes: str = ''
  shown: tuple[str, ...] = ()
  figures: Callable[[Found], Sequence[Figure]] = lambda found: ()
  has_examples: bool = False


def settings_of(
  base: Base, run: Run, seed: int, start: str
) -> settings.Settings:
  """Returns the settings of a run.

  Args:
    base: the study's.
    run: the training.
    seed: of its draws.
    start: the weights that it starts from; '': those of the base.
  Raises:
    UserError: if a setting is unknown or out of its range.
  """
  flat = settings.flatten(base.phases[run.phase]) | dict(run.changes)
  flat['seed'] = seed
  # Measures do it, item by item.
  flat['evaluation.test_after_training'] = False
  if start:
    flat['init_from'] = start
  try:
    return settings.from_flat(flat)
  except ValueError as error:
    raise errors.UserError(f'run {run.name}: {error}') from error


@dataclasses.dataclass(frozen=True)
class Trained:
  """A run that is done, or the weights that a study starts from.

  Attributes:
    path: run folder or weights.
    config: its settings.
    results: contents of `results.json`; empty for shipped weights.
  """

  path: Path
  config: settings.Settings
  results: Mapping[str, Any] = dataclasses.field(hash=False)
