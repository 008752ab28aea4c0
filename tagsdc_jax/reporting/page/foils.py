"""The page of foil files: how often captions outscore foils, and examples.

Deterministic: the same content gives the same bytes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tagsdc_jax.reporting import foils
from tagsdc_jax.reporting.page import rendering, tables
from tagsdc_jax.reporting.page.foil_content import Example, Page

# What the columns of a table mean, as `foils.columns` names them.
_MEANINGS = {
  'text': 'Text: each picture prefers its own caption.',
  'image': 'Image: each caption prefers its own picture.',
  'pairs': 'By pair: single pairs of a caption and a foil.',
  'details': 'Finer kinds: the mean over relations, or pairs of attributes, as '
  'published.',
  'at_half': 'Both at ½: the probability of the caption is above one half, and '
  'that of the foil below.',
  'same_words': 'Same words: items whose foil has the words of the caption in '
  'another order, and how many they are.',
  'unseen': 'New pictures: items with pictures outside the training split, and '
  'how many they are.',
  'words': 'Blind, words: how often a bag of words, fitted to other pictures, '
  'tells a single caption from a single foil without seeing any.',
  'fluency': 'Blind, head: how often the language head, without the picture, '
  'holds the words of the caption for more probable.',
}
_MOST = 60


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of results.

  Attributes:
    name: the kind, or what it sums up.
    count: of items, as text.
    accuracy, low, high, chance: in percent; the interval may be unknown.
    words, fluency: without the picture; None if not measured.
    cells: of the table, beside items and accuracy.
    is_total: whether it sums up other rows.
  """

  name: str
  count: str
  accuracy: float
  low: float | None
  high: float | None
  chance: float
  words: float | None
  fluency: float | None
  cells: Sequence[str]
  is_total: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
  """A benchmark."""

  name: str
  anchor: str
  lead: str
  headings: Sequence[str]
  meanings: Sequence[str]
  lines: Sequence[Line]
  has_words: bool
  has_fluency: bool
  num_more: int
  tasks: Sequence[tuple[str, str, str, str, str]]
  examples: Sequence[Example]


def render(page: Page) -> str:
  """Returns the page as HTML without scripts or links to other files."""
  sections = [
    _section(one, number, page.examples.get(one['family'], ()))
    for number, one in enumerate(page.results['benchmarks'])
    if one['all'] is not None or one['tasks'] is not None
  ]
  text = (
    rendering.environment()
    .get_template('foils.html')
    .render(
      page=page,
      title=f'{page.name}, foils – TAGS-DC',
      lead=_lead(page),
      phase=page.results['phase'],
      facts=_facts(page.results),
      sections=sections,
      sigmoid=lambda score: 1 / (1 + math.exp(-score)) if score > -700 else 0.0,
    )
  )
  return text.rstrip() + '\n'


def _lead(page: Page) -> str:
  results = page.results
  label = tables.LABELS.get(results['phase'], results['phase'])
  return (
    f'{label}, checkpoint of update {results["update"]:,}: '
    f'{results["pairs"]:,} sentences with {results["pictures"]:,} pictures of '
    f'{results["data"]}.'
  )


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
  """Returns the headline number of each benchmark."""
  found = []
  for one in results['benchmarks']:
    if one['all'] is None:
      continue
    count = len(one['mean']['kinds'])
    value = one['mean']['accuracy']
    remark = f'chance {foils.number(one["all"]["chance"])}'
    if count > 1:
      remark += f', mean of {count} kinds'
    found.append((foils.number(value), one['family'], remark))
  return found


def _section(
  one: Mapping[str, Any], number: int, examples: Sequence[Example]
) -> Section:
  whole = one['all']
  shown = foils.columns(one) if whole else {}
  kinds = list(one['kinds'].items())
  lines = [
    _line(foils.shown_kind(kind), row, shown) for kind, row in kinds[:_MOST]
  ]
  if len(kinds) > 1:
    mean = one['mean']
    lines += [
      Line(
        foils.mean_of(mean),
        '',
        mean['accuracy'],
        None,
        None,
        whole['chance'],
        None,
        None,
        [''] * (len(shown) + 2),
        True,
      ),
      _line('all items', whole, shown, True),
    ]
  return Section(
    one['family'],
    f'benchmark-{number}',
    _explained(one),
    ['95 %', 'Ties', *(name[:1].upper() + name[1:] for name in shown.values())],
    [_MEANINGS[name] for name in shown],
    lines,
    any(line.words is not None for line in lines),
    any(line.fluency is not None for line in lines),
    max(0, len(kinds) - _MOST),
    _task_rows(one['tasks']),
    examples,
  )


def _explained(one: Mapping[str, Any]) -> str:
  parts = [
    f'Right is {foils.headline(one)}; a tie is wrong.' if one['all'] else '',
    f'Scored with {foils.pictures(one)}.' if one['splits'] else '',
  ]
  return ' '.join(filter(None, parts))


def _line(
  name: str,
  row: Mapping[str, Any],
  shown: Mapping[str, str],
  is_total: bool = False,
) -> Line:
  return Line(
    name,
    f'{row["count"]:,}',
    row['accuracy'],
    row['low'],
    row['high'],
    row['chance'],
    # Of single pairs, which have another chance.
    None if 'pairs' in row else row['blind']['words'],
    row['blind']['fluency'],
    [
      f'{row["low"]:.1f} – {row["high"]:.1f}',
      f'{row["ties"]:,}',
      *(foils.cell(row, column) for column in shown),
    ],
    is_total,
  )


def _task_rows(
  tasks: Mapping[str, Any] | None,
) -> list[tuple[str, str, str, str, str]]:
  """Returns name, sentences, accuracy, interval and meaning of each task."""
  if tasks is None:
    return []
  rows = []
  for name, found, meaning in foils.task_rows(tasks):
    if found is None or not found['count']:
      rows.append((name.strip(), '', foils.MISSING, '', foils.NO_HEADS))
    else:
      rows.append(
        (
          name.strip(),
          f'{found["count"]:,}',
          f'{found["accuracy"]:.1f}',
          f'{found["low"]:.1f} – {found["high"]:.1f}',
          meaning,
        )
      )
  return rows
