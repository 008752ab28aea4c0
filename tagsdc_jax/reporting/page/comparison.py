"""What tailored negatives add: the demo's comparison, in words and numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tagsdc_jax.reporting import tables as terminal
from tagsdc_jax.reporting.page import charts, tables

NAMES = {
  key: name[0].upper() + name[1:] for key, name in terminal.NAMES.items()
}
# A difference of R@1 below this is within what seeds differ by.
_SAME_R1 = 1.5


@dataclasses.dataclass(frozen=True)
class Line:
  """One line of the table: (accuracy, interval) per kind, then mean R@1."""

  kind: str
  label: str
  updates: str
  cells: Sequence[tuple[str, str]]
  mean_r1: str


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The opening section.

  Attributes:
    sentence: what the numbers say.
    chart: drawing of the last stage.
    shown: names of the chart's series, for the legend.
    kinds: headings of the table's columns.
    lines: the table.
    rare: kinds with too few foils to be part of the mean.
  """

  sentence: str
  chart: str
  shown: Sequence[str]
  kinds: Sequence[str]
  lines: Sequence[Line]
  rare: Sequence[str]


def compare(rows: Sequence[Mapping[str, Any]]) -> Comparison | None:
  """Returns the section, or None if there is nothing to compare yet.

  Args:
    rows: `ablation` of a demo's results; see `runs.demo.run_demo`.
  """
  stages = [
    stage
    for stage in (2, 1)
    if len([row for row in rows if row['stage'] == stage]) == 2
  ]
  start = [row for row in rows if not row['stage']]
  if not stages or not start:
    return None
  without, tailored = sorted(
    (row for row in rows if row['stage'] == stages[0]),
    key=lambda row: row['name'] != 'hard_only',
  )
  kinds = [kind for kind in tables.KINDS if kind in without['foil_accuracy']]
  shown = [start[0], without, tailored]
  return Comparison(
    sentence=_say(without, tailored),
    chart=charts.interval_rows(
      [tables.KINDS[kind] for kind in kinds],
      {
        row['name']: [
          tuple(
            row['foil_accuracy'][kind][key]
            for key in ('accuracy', 'low', 'high')
          )
          for kind in kinds
        ]
        for row in shown
      },
      tables.FOIL_CHANCE,
      'Foil accuracy on the test split with 95 % intervals. '
      + '; '.join(
        f'{NAMES[row["name"]]}: '
        + ', '.join(
          f'{tables.KINDS[kind]} {_accuracy(row, kind):.1f}' for kind in kinds
        )
        for row in shown
      ),
    ),
    shown=[row['name'] for row in shown],
    kinds=[tables.KINDS[kind] for kind in kinds],
    lines=[_line(row, kinds) for row in rows],
    rare=[
      f'{tables.KINDS[kind]} ({without["foil_accuracy"][kind]["count"]})'
      for kind in kinds
      if not without['foil_accuracy'][kind]['in_mean']
    ],
  )


def _say(without: Mapping[str, Any], tailored: Mapping[str, Any]) -> str:
  """Returns the result in a sentence or two, good or bad."""
  own, other = (row['foil_accuracy']['all'] for row in (tailored, without))
  gain = own['accuracy'] - other['accuracy']
  if own['low'] > other['high']:
    verdict = f'Tailored negatives helped: {gain:.1f} points more'
  elif own['high'] < other['low']:
    verdict = f'Tailored negatives did harm: {-gain:.1f} points less'
  else:
    verdict = (
      f'In this run tailored negatives made no clear difference ({gain:+.1f} '
      'points, intervals overlap)'
    )
  differences = {
    kind: _accuracy(tailored, kind) - _accuracy(without, kind)
    for kind in without['foil_accuracy']
    if kind != 'all'
  }
  most, least = (
    f'{tables.KINDS[kind]} ({differences[kind]:+.1f})'
    for kind in (
      max(differences, key=differences.__getitem__),
      min(differences, key=differences.__getitem__),
    )
  )
  change = tailored['mean_r1'] - without['mean_r1']
  recall = (
    'about the same'
    if abs(change) < _SAME_R1
    else 'higher'
    if change > 0
    else 'lower'
  )
  return (
    f'{verdict}. After {tailored["updates"]} updates from the same weights, a '
    f'caption outscores its foil in {_with_interval(own)} of the cases when '
    f'tailored negatives are used, and in {_with_interval(other)} with hard '
    f'retrieved negatives alone; the difference is largest for {most} and '
    f'smallest for {least}. Mean R@1 is {recall}: '
    f'{tailored["mean_r1"]:.1f} and {without["mean_r1"]:.1f}.'
  )


def _with_interval(found: Mapping[str, float]) -> str:
  return (
    f'{found["accuracy"]:.1f} % ({found["low"]:.1f} to {found["high"]:.1f})'
  )


def _accuracy(row: Mapping[str, Any], kind: str) -> float:
  return row['foil_accuracy'][kind]['accuracy']


def _line(row: Mapping[str, Any], kinds: Sequence[str]) -> Line:
  return Line(
    row['name'],
    NAMES[row['name']],
    str(row['updates'] or tables.MISSING),
    [
      (f'{found["accuracy"]:.1f}', f'{found["low"]:.1f}–{found["high"]:.1f}')
      for found in (row['foil_accuracy'][kind] for kind in kinds)
    ],
    tables.number(row['mean_r1']),
  )
