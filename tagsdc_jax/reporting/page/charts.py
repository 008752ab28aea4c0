"""Draws the page's charts, from plain numbers to `<svg>` elements."""

from collections.abc import Mapping, Sequence

from tagsdc_jax.reporting.page import svg
from tagsdc_jax.reporting.page.curves import Curve

_PANEL = 190, 108
_BARS = 350, 200
# Narrower bars are not labeled with their number.
_LABELED_BAR, _LABEL_HEIGHT = 21, 8.0
_ROW, _ROW_NAMES = 34, 100
# Width of a letter, on average.
LETTER = 7.8
_INTERVALS = 560, 44, 72  # Width, height of a row, width of its name.
_OUTLINES = 660, 280
STEPS = [1, 2, 2.5, 5, 10]
_LABELED_SHARE = 9.0
_SQUARE = 260


def loss_panel(
  curve: Curve, last_update: int, color: str, description: str
) -> str:
  """Returns a small chart of one loss, the smoothed curve over the raw one.

  Args:
    curve: the values.
    last_update: where the phase ends.
    color: one of the colors of `svg`.
    description: for screen readers.
  """
  drawing = svg.Drawing(*_PANEL, font=9.5, left=32)
  drawing.axes.plot(
    curve.updates,
    curve.values,
    color=color,
    alpha=0.35,
    linewidth=1,
    clip_on=False,
  )
  drawing.axes.plot(
    curve.updates,
    curve.smoothed(),
    color=color,
    linewidth=1.8,
    solid_capstyle='round',
    clip_on=False,
  )
  _finish_panel(drawing, curve, last_update)
  return drawing.to_svg(description)


def score_panel(
  curve: Curve,
  last_update: int,
  color: str,
  description: str,
  chance: float | None,
) -> str:
  """Returns a small chart of a few percentages.

  Args:
    curve, last_update, color, description: see `loss_panel`.
    chance: drawn as a dashed line; None draws none.
  """
  drawing = svg.Drawing(*_PANEL, font=9.5, left=32)
  axes = drawing.axes
  axes.plot(
    curve.updates, curve.values, color=color, linewidth=1.5, clip_on=False
  )
  # Not markers: SVG draws those by reference.
  for x, y in zip(curve.updates, curve.values):
    axes.plot(
      [x, x],
      [y, y],
      color=color,
      linewidth=5.5,
      solid_capstyle='round',
      clip_on=False,
    )
  if chance is not None:
    axes.axhline(
      chance, color=svg.INK, linewidth=1.2, dashes=(3, 2.5), clip_on=False
    )
  axes.set_ylim(0, max(1.0, 1.1 * float(curve.values.max())))
  _finish_panel(drawing, curve, last_update)
  return drawing.to_svg(description)


def _finish_panel(drawing: svg.Drawing, curve: Curve, last_update: int) -> None:
  from matplotlib.ticker import MaxNLocator

  axes = drawing.axes
  axes.set_xlim(0, max(last_update, float(curve.updates[-1])))
  axes.yaxis.set_major_locator(MaxNLocator(3))
  axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
  axes.grid(axis='y', color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)


def grouped_bars(
  groups: Sequence[str],
  series: Mapping[str, Sequence[float | None]],
  chances: Sequence[float | None],
  description: str,
) -> str:
  """Returns bars in percent, side by side within each group.

  Args:
    groups: names below the bars.
    series: name in `svg.COLORS` -> its value per group; None leaves a gap.
    chances: value of the dashed line across each group; None draws none.
    description: for screen readers.
  """
  width, height = _BARS
  drawing = svg.Drawing(width, height, left=28, top=14, bottom=22)
  axes = drawing.axes
  room = 0.8
  each = room / max(1, len(series))
  is_labeled = (width - 34) / len(groups) * each >= _LABELED_BAR
  for row, (phase, values) in enumerate(series.items()):
    for group, value in enumerate(values):
      if value is None:
        continue
      x = group - room / 2 + (row + 0.5) * each
      axes.bar(x, value, each * 0.88, color=svg.COLORS[phase], clip_on=False)
      if is_labeled:
        top = _above_line(value, chances[group])
        axes.text(
          x, top + 1.5, f'{value:.1f}', ha='center', fontsize=9, color=svg.INK
        )
  for group, chance in enumerate(chances):
    if chance is not None:
      axes.plot(
        [group - 0.5, group + 0.5],
        [chance, chance],
        color=svg.INK,
        linewidth=1.2,
        dashes=(3, 2.5),
        clip_on=False,
      )
  axes.set_xlim(-0.5, len(groups) - 0.5)
  axes.set_ylim(0, 100)
  axes.set_xticks(range(len(groups)), groups, color=svg.INK)
  axes.set_yticks(range(0, 101, 25))
  axes.grid(axis='y', color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)
  return drawing.to_svg(description)


def histogram(
  edges: Sequence[float], shares: Sequence[float], description: str
) -> str:
  """Returns adjacent bars of shares in percent, over numbers.

  Args:
    edges: ascending ends of the bars, one more than bars.
    shares: height of each bar in percent.
    description: for screen readers.
  """
  from matplotlib.ticker import MaxNLocator

  width, height = _BARS
  drawing = svg.Drawing(width, height, left=36, top=14, bottom=22)
  axes = drawing.axes
  for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
    gap = 0.1 * (high - low)
    axes.bar(
      low + gap / 2,
      share,
      high - low - gap,
      align='edge',
      color=svg.COLORS['tags'],
      clip_on=False,
    )
  axes.set_xlim(edges[0], edges[-1])
  axes.set_ylim(0, 1.05 * max(shares))
  axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
  axes.yaxis.set_major_locator(MaxNLocator(4))
  axes.yaxis.set_major_formatter(lambda value, _: f'{value:g} %')
  axes.grid(axis='y', color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)
  return drawing.to_svg(description)


def distributions(
  edges: Sequence[float],
  series: Mapping[str, Sequence[float]],
  description: str,
  line: float | None = None,
  x_label: str = '',
) -> str:
  """Returns outlines of shares in percent, over numbers, one on another.

  Args:
    edges: ascending ends of the bars, one more than bars.
    series: name in `svg.COLORS` -> height of each bar in percent.
    description: for screen readers.
    line: where to draw a dashed line; None draws none.
    x_label: below a drawing that is as wide as the page; '': half as wide.
  """
  from matplotlib.ticker import MaxNLocator

  width, height = _OUTLINES if x_label else _BARS
  drawing = svg.Drawing(
    width,
    height,
    font=13 if x_label else 11,
    left=50 if x_label else 36,
    right=16 if x_label else 6,
    top=14,
    bottom=46 if x_label else 22,
  )
  axes = drawing.axes
  if x_label:
    axes.set_xlabel(x_label, color=svg.MUTED, fontsize=13, labelpad=7)
    axes.tick_params(axis='x', pad=7)
  for name, shares in series.items():
    color = svg.COLORS[name]
    axes.stairs(shares, edges, fill=True, color=color, alpha=0.25)
    axes.stairs(
      shares,
      edges,
      color=color,
      linewidth=2.0 if x_label else 1.6,
      linestyle=svg.line_style(name),
      clip_on=False,
    )
  if line is not None and edges[0] < line < edges[-1]:
    axes.axvline(
      line, color=svg.INK, linewidth=1.2, dashes=(3, 2.5), clip_on=False
    )
  axes.set_xlim(edges[0], edges[-1])
  axes.set_ylim(0, 1.05 * max(1e-9, *(max(one) for one in series.values())))
  axes.xaxis.set_major_locator(MaxNLocator(10 if x_label else 7, steps=STEPS))
  axes.yaxis.set_major_locator(MaxNLocator(4))
  axes.yaxis.set_major_formatter(lambda value, _: f'{value:g} %')
  axes.grid(axis='y', color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)
  return drawing.to_svg(description)


def reliability(
  points: Sequence[tuple[float, float]],
  threshold: float | None,
  description: str,
) -> str:
  """Returns observed shares over predicted ones, in percent.

  Args:
    points: (predicted, observed) probabilities, ascending.
    threshold: probability of the dashed upright line; None draws none.
    description: for screen readers.
  """
  drawing = svg.Drawing(
    _SQUARE, _SQUARE, font=9, left=36, right=18, top=8, bottom=22
  )
  axes = drawing.axes
  axes.plot([0, 100], [0, 100], color=svg.LINE, linewidth=1.6)
  if threshold is not None and 0 <= threshold <= 1:
    axes.axvline(
      100 * threshold,
      color=svg.INK,
      linewidth=1.2,
      dashes=(3, 2.5),
      clip_on=False,
    )
  color = svg.COLORS['negative']
  axes.plot(
    [100 * x for x, _ in points],
    [100 * y for _, y in points],
    color=color,
    linewidth=1.6,
    clip_on=False,
  )
  # Not markers: SVG draws those by reference.
  for x, y in points:
    axes.plot(
      [100 * x, 100 * x],
      [100 * y, 100 * y],
      color=color,
      linewidth=7,
      solid_capstyle='round',
      clip_on=False,
    )
  for axis in (axes.xaxis, axes.yaxis):
    axis.set_ticks(range(0, 101, 25))
    axis.set_major_formatter(lambda value, _: f'{value:g} %')
  axes.set_xlim(0, 100)
  axes.set_ylim(0, 100)
  axes.grid(color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)
  return drawing.to_svg(description)


def interval_rows(
  rows: Sequence[str],
  series: Mapping[str, Sequence[tuple[float, float, float] | None]],
  chance: float,
  description: str,
  is_percent: bool = True,
) -> str:
  """Returns a row per name with a dot and its interval for each series.

  Args:
    rows: names on the left.
    series: name -> (value, low, high), per row; None leaves a gap.
    chance: drawn as a dashed line.
    description: for screen readers.
    is_percent: whether the axis ends at 100; else it fits the numbers.
  """
  width, row_height, left = _INTERVALS
  names = round(LETTER * max(map(len, rows)))
  if names > left:
    width, left = width + names - left, names
  drawing = svg.Drawing(
    width,
    row_height * len(rows) + 24,
    font=13,
    left=left,
    right=12,
    top=4,
    bottom=20,
  )
  axes = drawing.axes
  for place, (name, values) in enumerate(series.items()):
    color = svg.COLORS[name]
    for row, found in enumerate(values):
      if found is None:
        continue
      value, low, high = found
      y = row + (place - (len(series) - 1) / 2) * 0.25
      for ends, thickness in (((low, high), 2.2), ((value, value), 9.0)):
        # Not a marker: SVG draws those by reference.
        axes.plot(
          ends,
          [y, y],
          color=color,
          linewidth=thickness,
          solid_capstyle='round',
          clip_on=False,
        )
  for row in range(1, len(rows)):
    axes.axhline(row - 0.5, color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.axvline(
    chance, color=svg.INK, linewidth=1.2, dashes=(3, 2.5), clip_on=False
  )
  numbers = [chance] + [
    number
    for values in series.values()
    for found in values
    if found
    for number in found
  ]
  if is_percent:
    axes.set_xlim(min(90, min(numbers) // 10 * 10), 100)
  else:
    axes.set_xlim(*around(min(numbers), max(numbers)))
  axes.set_ylim(len(rows) - 0.5, -0.5)
  axes.set_yticks(range(len(rows)), rows, color=svg.INK)
  axes.grid(axis='x', color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)
  return drawing.to_svg(description)


def around(low: float, high: float) -> tuple[float, float]:
  """Returns the ends of an axis of these numbers."""
  room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
  return low - room, high + room


def _above_line(value: float, chance: float | None) -> float:
  """Returns where to put a bar's number so that no line crosses it."""
  if chance is not None and value <= chance < value + _LABEL_HEIGHT:
    return chance
  return value


def stacked_bars(
  rows: Mapping[str, Sequence[tuple[str, float]]], description: str
) -> str:
  """Returns one bar of stacked shares per row.

  Args:
    rows: name -> (verdict, percentage) in drawing order.
    description: for screen readers.
  """
  drawing = svg.Drawing(
    _BARS[0], _ROW * len(rows) + 4, left=_ROW_NAMES, right=2, top=2, bottom=2
  )
  axes = drawing.axes
  for row, shares in enumerate(rows.values()):
    left = 0.0
    for verdict, share in shares:
      axes.barh(
        row, share, 0.68, left=left, color=svg.VERDICTS[verdict], clip_on=False
      )
      if share >= _LABELED_SHARE:
        axes.text(
          left + share / 2,
          row,
          f'{share:.1f}',
          ha='center',
          va='center_baseline',
          fontsize=11,
          color=svg.ON_VERDICTS[verdict],
        )
      left += share
  axes.set_xlim(0, 100)
  axes.set_ylim(len(rows) - 0.5, -0.5)
  axes.set_xticks([])
  axes.set_yticks(range(len(rows)), list(rows), color=svg.INK)
  axes.spines['bottom'].set_visible(False)
  return drawing.to_svg(description)
