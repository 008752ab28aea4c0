"""The figures of a study: drawings with legends, and numbers to read."""

import dataclasses
from collections.abc import Iterable, Sequence

from tagsdc_jax.reporting.page import charts, line_charts, svg
from tagsdc_jax.reporting.page.study_content import Distributions, Lines

Figure = Lines | Distributions


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A figure as the page shows it.

  Attributes:
    title, note: see `Lines`.
    drawing: the `<svg>` element.
    legend: (name in `svg.COLORS`, label).
    band: what the bands are; '' if there are none.
    head, body: a table of the numbers: x or bins, and for each label those
      and the label first.
    meaning: what the table's numbers are.
  """

  title: str
  note: str
  drawing: str
  legend: Sequence[tuple[str, str]]
  band: str
  head: Sequence[str]
  body: Sequence[Sequence[str]]
  meaning: str


def draw(figures: Sequence[Figure]) -> list[Drawn]:
  """Returns the figures; a label has the same color in all of them.

  Raises:
    ValueError: if a figure has more labels than there are colors.
  """
  of_all = _unique(label for figure in figures for label in _labels(figure))
  drawn = []
  for figure in figures:
    labels = _labels(figure)
    if len(labels) > len(svg.SERIES):
      raise ValueError(
        f'{figure.title}: at most {len(svg.SERIES)} labels can be told apart, '
        f'got {len(labels)}; draw more figures'
      )
    known = of_all if len(of_all) <= len(svg.SERIES) else labels
    series = {label: svg.SERIES[known.index(label)] for label in labels}
    drawn.append(
      _lines(figure, series)
      if isinstance(figure, Lines)
      else _distributions(figure, series)
    )
  return drawn


def _labels(figure: Figure) -> list[str]:
  if isinstance(figure, Lines):
    return _unique(line.label for line in figure.lines)
  return list(figure.shares)


def _unique(labels: Iterable[str]) -> list[str]:
  return list(dict.fromkeys(labels))


def _lines(figure: Lines, series: dict[str, str]) -> Drawn:
  points = [point for line in figure.lines for point in line.points]
  largest = max(abs(number) for _, *numbers in points for number in numbers)
  decimals = 1 if largest >= 10 else 2 if largest >= 1 else 3
  has_bands = any(low != high for _, _, low, high in points)

  def say(mean: float, low: float, high: float) -> str:
    said = f'{mean:.{decimals}f}'
    if has_bands:
      said += f' ({low:.{decimals}f} to {high:.{decimals}f})'
    return said

  xs = sorted({x for x, *_ in points})
  body = []
  for line in figure.lines:
    found = {x: say(*numbers) for x, *numbers in line.points}
    body.append([line.label, *(found.get(x, '') for x in xs)])
  description = f'{figure.title}: {figure.y_label} by {figure.x_label}. '
  description += '; '.join(
    f'{line.label}: '
    + ', '.join(f'{mean:.{decimals}f} at {x:g}' for x, mean, *_ in line.points)
    for line in figure.lines
  )
  return Drawn(
    figure.title,
    figure.note,
    line_charts.lines(
      {series[line.label]: line.points for line in figure.lines},
      figure.x_label,
      figure.y_label,
      figure.is_log,
      description,
    ),
    [(series[line.label], line.label) for line in figure.lines],
    figure.band if has_bands else '',
    [figure.x_label, *(f'{x:g}' for x in xs)],
    body,
    figure.y_label[:1].upper()
    + figure.y_label[1:]
    + (f', with {figure.band}' if has_bands else ''),
  )


def _distributions(figure: Distributions, series: dict[str, str]) -> Drawn:
  bins = [
    f'{low:g} to {high:g}'
    for low, high in zip(figure.edges[:-1], figure.edges[1:], strict=True)
  ]
  description = f'{figure.title}: percent by {figure.x_label}. '
  description += '; '.join(
    f'{label}: most, {max(shares):.1f}, from {bins[_largest(shares)]}'
    for label, shares in figure.shares.items()
  )
  return Drawn(
    figure.title,
    figure.note,
    charts.distributions(
      figure.edges,
      {series[label]: shares for label, shares in figure.shares.items()},
      description,
      x_label=figure.x_label,
    ),
    [(series[label], label) for label in figure.shares],
    '',
    [figure.x_label, *bins],
    [
      [label, *(f'{share:.1f}' for share in shares)]
      for label, shares in figure.shares.items()
    ],
    'Percent in each bin',
  )


def _largest(shares: Sequence[float]) -> int:
  return max(range(len(shares)), key=lambda place: shares[place])
