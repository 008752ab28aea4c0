"""Draws docs/images/method.svg: the method on one caption, by a trained run.

  python launch/draw_method.py runs/demo/dc docs/images/method.svg --caption 12

The run's own network writes the negatives, scores them, and judges their words.
The masked copies are drawn by the code that training uses.
"""

import argparse
import base64
import dataclasses
import html

import jax
import numpy as np

import tagsdc_jax as tagsdc
from tagsdc_jax import arguments
from tagsdc_jax.data import assembling, captions
from tagsdc_jax.data.world import dataset as world
from tagsdc_jax.negatives import masking
from tagsdc_jax.reporting.page import pictures
from tagsdc_jax.runs.example_negatives import sigmoid

INK, MUTED, LINE, CARD = '#1f2430', '#667085', '#d0d5dd', '#f5f7fa'
BLUE, ORANGE, GREEN, RED = '#2563eb', '#d9480f', '#2b8a3e', '#c92a2a'
SIZE = 12.5  # Of the letters; a letter of the fixed font is 0.6 of it wide.
ADVANCE = 0.6 * SIZE


@dataclasses.dataclass(frozen=True)
class Refill:
  """A sentence that the matcher wrote."""

  words: list[str]
  changed: list[int]
  score: float
  note: str = ''  # Why it is left out, if it is.


@dataclasses.dataclass(frozen=True)
class Example:
  """What the figure shows."""

  png: bytes
  boxes: list[list[float]]  # x1 y1 x2 y2, divided by width and height
  words: list[str]
  score: float  # Of the caption.
  masked: list[list[str]]  # Masked copies.
  refills: list[Refill]  # Hardest first; those left out come last.
  num_hard: int
  replaced: list[float]  # Of each word of the hardest, that it was replaced.
  margin: float


class Canvas:
  """SVG elements, in order."""

  def __init__(self, width: int, height: int):
    self.parts = [
      f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
      f'width="{width}" height="{height}" role="img" '
      'font-family="ui-sans-serif, system-ui, sans-serif">',
      '<title>TAGS-DC on one picture</title>',
      f'<rect width="{width}" height="{height}" rx="14" fill="#ffffff"/>',
    ]

  def add(self, text: str) -> None:
    self.parts.append(text)

  def text(
    self, x, y, text, size=13.0, fill=INK, weight=400, anchor='start', more=''
  ):
    self.add(
      f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" '
      f'font-weight="{weight}" text-anchor="{anchor}" {more}>'
      f'{html.escape(text)}</text>'
    )

  def rect(self, x, y, width, height, fill, stroke='none', rx=6.0, more=''):
    self.add(
      f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
      f'rx="{rx:g}" fill="{fill}" stroke="{stroke}" {more}/>'
    )

  def arrow(self, path: str) -> None:
    self.add(
      f'<path d="{path}" fill="none" stroke="{MUTED}" stroke-width="1.6" '
      'marker-end="url(#tip)"/>'
    )

  def words(self, x, y, width, words, styles, line=19.0) -> float:
    """Draws words in lines, some of them styled; returns the next line's y."""
    left = x
    for place, word in enumerate(words):
      long = len(word) * ADVANCE
      if left + long > x + width:
        left, y = x, y + line
      fill, background = styles.get(place, (INK, ''))
      if background:
        self.rect(left - 2, y - 13, long + 4, 17, background, rx=4)
      self.add(
        f'<text x="{left:g}" y="{y:g}" font-size="{SIZE}" fill="{fill}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" '
        f'textLength="{long:g}" lengthAdjust="spacingAndGlyphs" '
        f'font-weight="{600 if background else 400}">'
        f'{html.escape(word)}</text>'
      )
      left += long + ADVANCE
    return y + line

  def bar(self, x, y, width, share, fill) -> None:
    self.rect(x, y, width, 8, '#e9ecef', rx=4)
    self.rect(x, y, max(4, width * share), 8, fill, rx=4)

  def svg(self) -> str:
    return '\n'.join([*self.parts, '</svg>\n'])


def draw(example: Example) -> str:
  """Returns the figure."""
  canvas = Canvas(1240, 510)
  canvas.add(
    f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
    f'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" '
    f'fill="{MUTED}"/></marker></defs>'
  )
  columns = [(20, 216), (266, 262), (558, 332), (920, 300)]
  titles = [
    '1  Picture and caption',
    '2  Mask phrases',
    '3  Refill and score',
    '4  Train on the hardest',
  ]
  for (x, width), title in zip(columns, titles, strict=True):
    canvas.rect(x, 20, width, 432, CARD, LINE, rx=10)
    canvas.text(x + 14, 46, title, 14.5, weight=650)
  for (x, width), (following, _) in zip(columns, columns[1:], strict=False):
    canvas.arrow(f'M{x + width + 3} 220H{following - 4}')
  _picture(canvas, *columns[0], example)
  _masked(canvas, *columns[1], example)
  _refills(canvas, *columns[2], example)
  _losses(canvas, *columns[3], example)
  canvas.arrow('M1070 454V478H397V456')
  canvas.text(
    733,
    498,
    'One network does it all: as it gets better, its negatives get harder.',
    13.5,
    MUTED,
    anchor='middle',
  )
  return canvas.svg()


def _picture(canvas: Canvas, x: int, width: int, example: Example) -> None:
  side = width - 28
  picture = base64.b64encode(example.png).decode('ascii')
  canvas.add(
    f'<image x="{x + 14}" y="66" width="{side}" height="{side}" '
    f'href="data:image/png;base64,{picture}"/>'
  )
  for left, top, right, bottom in example.boxes:
    canvas.rect(
      x + 14 + left * side,
      66 + top * side,
      (right - left) * side,
      (bottom - top) * side,
      'none',
      BLUE,
      rx=2,
      more='stroke-width="1.4" stroke-opacity="0.75"',
    )
  y = 66 + side + 30
  y = canvas.words(x + 14, y, side, example.words, {})
  y += 16
  canvas.text(x + 14, y, 'matching probability', 12, MUTED)
  canvas.text(x + 14 + side, y, f'{example.score:.2f}', 12.5, BLUE, 650, 'end')
  canvas.bar(x + 14, y + 8, side, example.score, BLUE)


def _masked(canvas: Canvas, x: int, width: int, example: Example) -> None:
  y = 72
  y = _prose(
    canvas,
    x,
    y,
    ['Copies of the caption; objects,', 'attributes or relations are masked.'],
  )
  for words in example.masked:
    masked = [i for i, word in enumerate(words) if word == '[MASK]']
    styles = dict.fromkeys(masked, ('#ffffff', INK))
    y = canvas.words(x + 14, y + 18, width - 28, words, styles) + 10


def _refills(canvas: Canvas, x: int, width: int, example: Example) -> None:
  y = _prose(
    canvas,
    x,
    72,
    [
      "The matcher's own language head fills",
      'the masks; the matcher scores the result.',
    ],
  )
  y += 6
  for number, refill in enumerate(example.refills):
    out = bool(refill.note)
    hard = not out and number < example.num_hard
    color = MUTED if out else ORANGE
    background = '#eceff3' if out else '#ffe8d9'
    top = y
    y = canvas.words(
      x + 20,
      y + 16,
      width - 96,
      refill.words,
      dict.fromkeys(refill.changed, (color, background)),
    )
    if out:
      canvas.text(
        x + width - 14,
        top + 16,
        refill.note,
        11.5,
        MUTED,
        anchor='end',
        more='font-style="italic"',
      )
    else:
      canvas.text(
        x + width - 14,
        top + 16,
        f'{refill.score:.2f}',
        12.5,
        ORANGE,
        650,
        'end',
      )
      canvas.bar(x + width - 66, top + 22, 52, refill.score, ORANGE)
    if hard:
      canvas.rect(x + 8, top + 2, 4, y - top - 14, ORANGE, rx=2)
    y += 4
  canvas.rect(x + 14, 430, 4, 12, ORANGE, rx=2)
  canvas.text(x + 26, 440, 'the hardest h, used for training', 12, MUTED)


def _losses(canvas: Canvas, x: int, width: int, example: Example) -> None:
  left, right = x + 14, x + width - 14
  hardest = example.refills[0]
  y = 78
  canvas.text(left, y, 'Triplet', 13.5, weight=650)
  canvas.text(right, y, 'stage 1 and 2', 11.5, MUTED, anchor='end')
  y = _prose(
    canvas,
    x,
    y + 20,
    [
      'The caption must score higher than the',
      f'negative by {example.margin:g}.',
    ],
  )
  for name, score, color in (
    ('caption', example.score, BLUE),
    ('negative', hardest.score, ORANGE),
  ):
    canvas.text(left, y + 14, name, 12, MUTED)
    canvas.bar(left + 62, y + 6, width - 136, score, color)
    canvas.text(right, y + 14, f'{score:.2f}', 12.5, color, 650, 'end')
    y += 20
  lost = max(0.0, example.margin - example.score + hardest.score)
  canvas.text(right, y + 14, f'loss {lost:.2f}', 12.5, INK, 650, 'end')
  y += 48
  canvas.text(left, y, 'Word discrimination', 13.5, weight=650)
  canvas.text(right, y, 'stage 2', 11.5, MUTED, anchor='end')
  y = _prose(canvas, x, y + 20, ['Was this word replaced?'])
  styles = {}
  for place, prob in enumerate(example.replaced):
    is_changed = place in hardest.changed
    if prob >= 0.5 or is_changed:
      styles[place] = (
        (GREEN, '#d8f5dd') if (prob >= 0.5) == is_changed else (RED, '#ffe3e3')
      )
  y = canvas.words(left, y + 16, width - 28, hardest.words, styles)
  for place in sorted(styles):
    wrong = '' if place in hardest.changed else ', a false alarm'
    if place in hardest.changed and example.replaced[place] < 0.5:
      wrong = ', missed'
    text = f'“{hardest.words[place]}”: {example.replaced[place]:.2f}{wrong}'
    canvas.text(left, y + 4, text, 12, styles[place][0])
    y += 18
  y += 22
  canvas.text(left, y, 'Word correction', 13.5, weight=650)
  canvas.text(right, y, 'stage 2', 11.5, MUTED, anchor='end')
  y = _prose(canvas, x, y + 20, ['Which word stood there?']) + 16
  for place in hardest.changed:
    words = [hardest.words[place], '→', example.words[place]]
    y = (
      canvas.words(
        left,
        y,
        width - 28,
        words,
        {0: (ORANGE, '#ffe8d9'), 2: (BLUE, '#dbe7ff')},
      )
      + 4
    )


def _prose(canvas: Canvas, x: int, y: float, lines: list[str]) -> float:
  for line in lines:
    canvas.text(x + 14, y, line, 12.5, MUTED)
    y += 17
  return y


def example_of(matcher: tagsdc.Matcher, number: int, num_shown: int) -> Example:
  """Returns what the network makes of a caption of the world's test split."""
  data, config = matcher.data, matcher.settings
  caption = data.captions[number]
  words = caption.text.split()
  [negatives] = matcher.negatives(number, number=num_shown)
  [hardest] = matcher.check(negatives[0].text, caption.image)
  shapes = assembling.shapes_of(data)
  texts = assembling.texts(data, [number], shapes.max_tokens)
  copies = masking.mask_tokens(
    jax.random.key(number),
    texts.token_ids,
    assembling.phrase_counts(data, [number], shapes),
    num_copies=16,
    mask_rate=config.negatives.mask_rate,
    mask_id=data.vocabulary.mask,
    random_range=data.vocabulary.random_range,
  )
  masked = [
    captions.to_words(row[1 : 1 + len(words)], data.vocabulary).split()
    for row in np.asarray(copies.token_ids[0])
  ]
  distinct = [
    copy
    for i, copy in enumerate(masked)
    if '[MASK]' in copy and copy not in masked[:i]
  ]
  picture = world.load_picture(
    'test',
    caption.image,
    data_dir=config.data.root or None,
    size=config.data.world_size,
  )
  return Example(
    png=pictures.to_png(picture),
    boxes=data.read_regions(caption.image).boxes[:, :4].tolist(),
    words=words,
    score=sigmoid(negatives[0].caption_score),
    masked=distinct[:4],
    refills=[
      Refill(
        one.text.split(),
        [edit.position for edit in one.edits],
        sigmoid(one.score),
      )
      for one in negatives
    ],
    num_hard=2,
    replaced=[word.replaced for word in hardest.words],
    margin=config.losses.margin,
  )


def main() -> None:
  """Draws it."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('run', help='of stage 2 on the embedded world')
  parser.add_argument('to', type=arguments.path)
  parser.add_argument('--caption', type=int, default=0)
  args = parser.parse_args()
  matcher = tagsdc.load(args.run)
  args.to.write_text(draw(example_of(matcher, args.caption, 5)), 'utf-8')


if __name__ == '__main__':
  main()
