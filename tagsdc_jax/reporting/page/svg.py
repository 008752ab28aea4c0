"""Matplotlib figures as inline SVG: themed, deterministic, without ids."""

import html
import io
import os
import re
from types import ModuleType
from typing import Any

# Matplotlib draws in these colors; in the page they are CSS variables, so
# that one drawing serves light, dark and print.
INK, MUTED, LINE = '#000001', '#000002', '#000003'
# Of phases, of what they are compared with, of kinds of phrases, of captions
# and negatives, of what reads them without the picture, and of any other
# series, which the color-blind can tell apart.
COLORS = {
  'pretrain': '#000011',
  'tags': '#000012',
  'dc': '#000013',
  'hard_only': '#000014',
  'object': '#000041',
  'attribute': '#000042',
  'relation': '#000043',
  'phrase': '#000044',
  'caption': '#000051',
  'negative': '#000052',
  'words': '#000053',
  'head': '#000054',
  **{f'series_{number}': f'#00006{number}' for number in range(1, 9)},
}
SERIES = tuple(name for name in COLORS if name.startswith('series_'))
# Lengths of strokes and gaps by line width, for those who see no colors; others
# are solid.
DASHES = {
  'series_2': (5.0, 2.0),
  'series_3': (1.2, 1.4),
  'series_4': (5.0, 1.5, 1.2, 1.5),
  'series_6': (5.0, 2.0),
  'series_7': (1.2, 1.4),
  'series_8': (5.0, 1.5, 1.2, 1.5),
}
VERDICTS = {
  'false': '#000021',
  'still_true': '#000022',
  'not_a_sentence': '#000023',
}
ON_VERDICTS = {
  'false': '#000031',
  'still_true': '#000032',
  'not_a_sentence': '#000033',
}

_VARIABLES = {
  INK: 'ink',
  MUTED: 'muted',
  LINE: 'line',
  **{
    color: name.replace('_', '-') for name, color in (COLORS | VERDICTS).items()
  },
  **{
    color: f'on-{name.replace("_", "-")}' for name, color in ON_VERDICTS.items()
  },
}
_SETTINGS: dict[Any, Any] = {
  'svg.fonttype': 'none',
  'svg.hashsalt': 'tagsdc',
  'axes.edgecolor': LINE,
  'xtick.labelcolor': MUTED,
  'ytick.labelcolor': MUTED,
}
_REMOVED = (
  r'<metadata>.*?</metadata>',
  r'<!--.*?-->',
  r'<defs>.*?</defs>',
  r' (?:id|clip-path|version|xmlns(?::\w+)?)="[^"]*"',
  r' transform="rotate\(-?0 [^"]*"',
  r'font-family: [^;\"]*;? ?',
  r'<g\s*/>',
)


def import_matplotlib() -> ModuleType:
  """Returns matplotlib, ignoring MPLBACKEND.

  Processes started from a notebook inherit its backend, which may not be
  installed here and is not needed.
  """
  backend = os.environ.pop('MPLBACKEND', None)
  try:
    # Imported here: it takes a second.
    import matplotlib

    return matplotlib
  finally:
    if backend is not None:
      os.environ['MPLBACKEND'] = backend


class Drawing:
  """A figure of fixed size in CSS pixels, with one pair of axes.

  The browser draws text in the page's font, so the margins are fixed instead of
  measured.
  """

  def __init__(
    self,
    width: int,
    height: int,
    *,
    font: float = 11,
    left: int = 30,
    right: int = 6,
    top: int = 8,
    bottom: int = 20,
  ) -> None:
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
      self._figure = Figure(figsize=(width / 72, height / 72), dpi=72)
      self.axes = self._figure.add_axes(
        (
          left / width,
          bottom / height,
          1 - (left + right) / width,
          1 - (top + bottom) / height,
        )
      )
    self.axes.patch.set_visible(False)
    self._figure.patch.set_visible(False)
    for side in ('left', 'right', 'top'):
      self.axes.spines[side].set_visible(False)
    self.axes.tick_params(length=0, pad=4, labelsize=font)

  def to_svg(self, description: str) -> str:
    """Returns the `<svg>` element, which does not depend on the time.

    Args:
      description: for screen readers.
    """
    matplotlib = import_matplotlib()
    stream = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
      self._figure.savefig(
        stream,
        format='svg',
        metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None},
      )
    return _clean(stream.getvalue(), description)


def line_style(name: str) -> Any:
  """Returns how matplotlib dashes a series, by its name in `COLORS`."""
  return (0, DASHES[name]) if name in DASHES else 'solid'


def _clean(text: str, description: str) -> str:
  """Turns an SVG file into an element for inline use.

  Removes ids, which would clash between the drawings of a page; the drawings
  must not clip or draw by reference, which needs them.
  """
  text = text[text.index('<svg') :]
  for pattern in _REMOVED:
    text = re.sub(pattern, '', text, flags=re.DOTALL)
  text = re.sub(r'\s+', ' ', text).replace('> <', '><')
  for color, variable in _VARIABLES.items():
    text = text.replace(color, f'var(--{variable})')
  box = re.search(r'viewBox="[^"]*"', text)
  assert box is not None
  head = f'<svg role="img" aria-label="{html.escape(description)}" {box[0]}>'
  return re.sub(r'<svg[^>]*>', lambda _: head, text, count=1).strip()
