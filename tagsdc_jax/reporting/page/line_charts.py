"""Draws lines with bands of their intervals, for any series."""

import math
from collections.abc import Mapping, Sequence

from tagsdc_jax.reporting.page import charts, svg

_SIZE = 660, 340
_LINE, _SPOT = 2.0, 6.0  # Widths.


def lines(
  series: Mapping[str, Sequence[tuple[float, float, float, float]]],
  x_label: str,
  y_label: str,
  is_log: bool,
  description: str,
) -> str:
  """Returns lines through points, over bands of their intervals.

  Args:
    series: name in `svg.COLORS` -> points, (x, value, low, high) with ascending
      x; at least one.
    x_label, y_label: what the axes are.
    is_log: whether distances of x shrink like its logarithm, as far as 0 and
      negative numbers allow; ticks are then at the points.
    description: for screen readers.
  """
  from matplotlib.ticker import MaxNLocator

  width, height = _SIZE
  drawing = svg.Drawing(
    width, height, font=13, left=50, right=16, top=34, bottom=46
  )
  axes = drawing.axes
  place = _shrunk if is_log else float
  for name, points in series.items():
    xs = [place(x) for x, *_ in points]
    _, _, lows, highs = zip(*points)
    if len(xs) == 1:
      axes.plot(
        xs * 2,
        [*lows, *highs],
        color=svg.COLORS[name],
        linewidth=_LINE,
        clip_on=False,
      )
      continue
    # Not `fill_between`: SVG draws its polygons by reference.
    axes.fill(
      [*xs, *reversed(xs)],
      [*lows, *reversed(highs)],
      color=svg.COLORS[name],
      alpha=0.13,
      linewidth=0,
      clip_on=False,
    )
  for name, points in series.items():
    xs = [place(x) for x, *_ in points]
    values = [value for _, value, _, _ in points]
    axes.plot(
      xs,
      values,
      color=svg.COLORS[name],
      linewidth=_LINE,
      linestyle=svg.line_style(name),
      clip_on=False,
    )
    # Not markers: SVG draws those by reference.
    for x, value in zip(xs, values):
      axes.plot(
        [x, x],
        [value, value],
        color=svg.COLORS[name],
        linewidth=_SPOT,
        solid_capstyle='round',
        clip_on=False,
      )
  found = [point for points in series.values() for point in points]
  axes.set_ylim(
    *charts.around(
      min(low for *_, low, _ in found), max(high for *_, high in found)
    )
  )
  wanted = sorted({x for x, *_ in found})
  low, high = place(wanted[0]), place(wanted[-1])
  room = float(low == high)
  axes.set_xlim(low - room, high + room)
  if is_log:
    ticks = _readable(wanted, (width - 66) / max(1e-9, high - low))
    axes.set_xticks([place(x) for x in ticks], [f'{x:g}' for x in ticks])
  else:
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=charts.STEPS))
  axes.yaxis.set_major_locator(MaxNLocator(6, steps=charts.STEPS))
  axes.set_xlabel(x_label, color=svg.MUTED, fontsize=13, labelpad=9)
  axes.text(
    -44 / (width - 66),
    1 + 16 / (height - 80),
    y_label,
    transform=axes.transAxes,
    color=svg.MUTED,
    fontsize=13,
  )
  axes.grid(axis='y', color=svg.LINE, linewidth=0.8, clip_on=False)
  axes.set_axisbelow(True)
  return drawing.to_svg(description)


def _shrunk(x: float) -> float:
  return math.copysign(math.log1p(abs(x)), x)


def _readable(numbers: Sequence[float], scale: float) -> list[float]:
  """Returns the numbers that can be written below a shrunk axis.

  Args:
    numbers: ascending.
    scale: pixels between numbers that are one apart when shrunk.
  """
  needs = lambda x: charts.LETTER * len(f'{x:g}') / 2 + 5
  apart = lambda x, y: scale * (_shrunk(y) - _shrunk(x)) >= needs(x) + needs(y)
  # The first and the last one are where readers look.
  *others, last = numbers
  kept: list[float] = []
  for number in others:
    if not kept or (apart(kept[-1], number) and apart(number, last)):
      kept.append(number)
  return [*kept, last]
