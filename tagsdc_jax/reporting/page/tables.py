"""A report's tables: rows of text from numbers, any of which may be missing."""

import dataclasses
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tagsdc_jax.evaluation import recall
from tagsdc_jax.reporting import tables
from tagsdc_jax.reporting.page import content

LABELS = {
  'pretrain': 'Pretraining',
  'tags': 'Stage 1 (TAGS)',
  'dc': 'Stage 2 (DC)',
}
WAYS = ('image_retrieval', 'text_retrieval')
KINDS = tables.KINDS
VERDICTS = ('false', 'still_true', 'not_a_sentence')
SOURCES = ('synthetic_negatives', 'retrieved_negatives')
MISSING = '–'
FOIL_CHANCE = 50.0
FOILS = ('foil_accuracy', 'test')  # Where a phase's measures have them.


@dataclasses.dataclass(frozen=True)
class Cell:
  """A number as text; `is_best` marks the best phase of a column."""

  text: str
  is_best: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
  """One line of a table; `kind` is "chance" or a phase."""

  kind: str
  label: str
  cells: Sequence[Cell]


def number(value: float | None) -> str:
  """Returns a number with one decimal, or a dash for None."""
  return MISSING if value is None else f'{value:.1f}'


def value_of(values: Mapping[str, Any] | None, *path: str) -> float | None:
  """Returns values[path[0]][path[1]]... if it exists and is finite."""
  found: Any = values
  for key in path:
    found = found.get(key) if isinstance(found, Mapping) else None
  # Whole numbers may be larger than any float; NaN is not.
  is_number = isinstance(found, (int, float)) and (
    abs(found) <= sys.float_info.max
  )
  return found if is_number else None


def duration(seconds: float | None) -> str:
  """Returns a human-readable duration."""
  if seconds is None:
    return MISSING
  if seconds < 60:
    return f'{seconds:.1f} s'
  if seconds < 5400:
    return f'{seconds / 60:.1f} min'
  return f'{seconds / 3600:.1f} h'


def title(report: content.Report) -> str:
  """Returns the page's title."""
  return f'{report.name} – TAGS-DC'


def lead(report: content.Report) -> str:
  """Returns one sentence on what was trained and what it was tested on."""
  said = ', then '.join(LABELS[phase.name] for phase in report.phases)
  tested = next(
    (
      phase.test
      for phase in reversed(report.phases)
      if phase.test and phase.test.get('images')
    ),
    None,
  )
  if tested is None:
    return f'{said}.'
  return (
    f'{said}, tested on {tested["images"]} pictures with '
    f'{tested["captions"]} captions.'
  )


def chance(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
  """Returns the recalls of chance, or None if the split's size is unknown."""
  if result is None or not (result.get('images') and result.get('captions')):
    return None
  return tables.chance(dict(result))


def facts(report: content.Report) -> list[tuple[str, str, str]]:
  """Returns the headline numbers: (number, name, remark)."""
  last = report.phases[-1]
  base = chance(last.test)
  found = []
  for way, name in zip(WAYS, ('Image R@1', 'Text R@1')):
    value = value_of(last.test, way, 'r1')
    if value is not None:
      remark = f'chance {base[way]["r1"]:.1f}' if base else ''
      found.append((number(value), name, remark))
  foils = value_of(last.measures, *FOILS, 'all', 'accuracy')
  if foils is not None:
    found.append((number(foils), 'Foil accuracy', f'chance {FOIL_CHANCE:.1f}'))
  seconds = [phase.seconds for phase in report.phases if phase.seconds]
  if seconds:
    count = len(report.phases)
    found.append(
      (
        duration(sum(seconds)),
        'Time',
        f'{count} phases'
        if count > 1
        else f'{last.updates} updates'
        if last.updates
        else '',
      )
    )
  return found


def recall_rows(report: content.Report) -> list[Row]:
  """Returns the table of recalls.

  Cells: image R@1, 5, 10, text R@1, 5, 10, mean R@1, time. A row with chance
  precedes the results of every split size. Validation is shown only if there is
  a single phase, where it cannot be confused with others.
  """
  results = [
    (
      phase.name,
      LABELS[phase.name],
      phase.test,
      duration(phase.seconds) if phase.settings else 'shipped',
    )
    for phase in report.phases
    if phase.test
  ]
  if len(report.phases) == 1:
    phase = report.phases[0]
    results = [
      (name, 'Test split', result, time) for name, _, result, time in results
    ]
    if phase.validation:
      results.append((phase.name, 'Validation', phase.validation, ''))
  numbers = [_recalls(result) for _, _, result, _ in results]
  best = _best_places(numbers) if len(report.phases) > 1 else set()
  rows, before = [], None
  for place, (name, label, result, time) in enumerate(results):
    base = chance(result)
    if base and before != (result['images'], result['captions'], base):
      size = result['images'], result['captions']
      before = *size, base
      rows.append(
        Row(
          'chance',
          f'Chance, {size[0]} images, {size[1]} captions',
          _cells(_recalls(base)) + [Cell('')],
        )
      )
    rows.append(
      Row(
        name,
        label,
        [
          *_cells(numbers[place], {c for r, c in best if r == place}),
          Cell(time),
        ],
      )
    )
    if result.get('equal_sentences'):
      rows.append(
        Row(
          name,
          f'{label}, equal sentences as hits',
          [*_cells(_recalls(result['equal_sentences'])), Cell('')],
        )
      )
  return rows


def measure_rows(report: content.Report) -> list[Row]:
  """Returns the table of the oracle's measures; empty without any.

  Cells: KINDS of foils, VERDICTS on synthetic and on retrieved negatives.
  """
  numbers = [
    [value_of(phase.measures, *FOILS, kind, 'accuracy') for kind in KINDS]
    + [
      value_of(phase.measures, source, verdict)
      for source in SOURCES
      for verdict in VERDICTS
    ]
    for phase in report.phases
  ]
  if not any(value is not None for row in numbers for value in row):
    return []
  return [
    Row(phase.name, LABELS[phase.name], _cells(row))
    for phase, row in zip(report.phases, numbers)
    if any(value is not None for value in row)
  ]


def setting_rows(
  report: content.Report,
) -> tuple[list[str], list[tuple[str, list[str], bool]]]:
  """Returns the settings of all phases that have a run folder.

  Returns:
    the phases, and rows (dotted key, value per phase, whether they differ).
  """
  phases = [phase for phase in report.phases if phase.settings]
  keys = dict.fromkeys(key for phase in phases for key in phase.settings)
  rows = []
  for key in keys:
    values = [_plain(phase.settings.get(key)) for phase in phases]
    rows.append((key, values, len(set(values)) > 1))
  return [LABELS[phase.name] for phase in phases], rows


def versions(report: content.Report) -> list[tuple[str, str]]:
  """Returns (name, version), listing all versions if the phases differ."""
  names = dict.fromkeys(
    name for phase in report.phases for name in phase.versions
  )
  return [
    (
      name,
      ', '.join(
        dict.fromkeys(
          phase.versions[name]
          for phase in report.phases
          if name in phase.versions
        )
      ),
    )
    for name in names
  ]


def _recalls(result: Mapping[str, Any]) -> list[float | None]:
  values = [
    value_of(result, way, f'r{k}') for way in WAYS for k in recall.CUTOFFS
  ]
  both = values[0], values[len(recall.CUTOFFS)]
  mean = None if None in both else sum(both) / 2  # type: ignore[arg-type]
  return [*values, mean]


def _cells(
  values: Sequence[float | None], best: Collection[int] = ()
) -> list[Cell]:
  return [
    Cell(number(value), place in best) for place, value in enumerate(values)
  ]


def _best_places(
  rows: Sequence[Sequence[float | None]],
) -> set[tuple[int, int]]:
  """Returns the (row, column) of every column's highest numbers."""
  places = set()
  for column in range(len(rows[0]) if rows else 0):
    values = [row[column] for row in rows]
    known = [value for value in values if value is not None]
    places |= {
      (row, column)
      for row, value in enumerate(values)
      if known and value == max(known)
    }
  return places


def _plain(value: Any) -> str:
  if isinstance(value, (list, tuple)):
    return ', '.join(map(str, value)) or MISSING
  return MISSING if value in ('', None) else str(value)
