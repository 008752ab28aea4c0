"""Sentences that were checked against images: results, and their table."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from scipy import special

_DOUBTFUL_FROM = 0.5
_DOUBTFUL, _PROPOSED, _FAILED = 'bold red underline', 'bold green', 'red'


@dataclasses.dataclass(frozen=True)
class Word:
  """A word of a sentence, with the outputs of the word heads of stage 2.

  Attributes:
    text: the word, or word piece.
    replaced: probability that the word was replaced, 0 to 1.
    suggestion: the most probable word of the correction head.
    is_corrected: whether the correction has the suggestion in its place.
    is_piece: whether it continues the word before it.
  """

  text: str
  replaced: float
  suggestion: str
  is_corrected: bool = False
  is_piece: bool = False

  @property
  def is_doubtful(self) -> bool:
    """Whether it is more probably wrong than not, or was corrected."""
    return self.replaced > _DOUBTFUL_FROM or self.is_corrected


@dataclasses.dataclass(frozen=True)
class Checked:
  """The result of checking a sentence against an image.

  Attributes:
    text: the sentence.
    score: raw matching score; 0 is a probability of one half.
    probability: probability that they match, 0 to 1; the logistic function of
      the score.
    words: the words of the sentence; empty before stage 2.
    corrected: the sentence with suggestions in place of up to three words, if
      that makes a match more probable; else, and before stage 2, `text`.
    corrected_score: raw matching score of `corrected`; None if nothing was
      corrected.
  """

  text: str
  score: float
  probability: float
  words: tuple[Word, ...]
  corrected: str
  corrected_score: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
  """A pair that was to be checked.

  Attributes:
    image: as it was given.
    caption: as it was given.
    checked: the result; None if it could not be checked.
    error: why it could not; empty if it was.
  """

  image: str
  caption: str
  checked: Checked | None
  error: str = ''


def to_json(line: Line) -> dict[str, Any]:
  """Returns what is written of a pair, numbers to six decimals."""
  own: dict[str, Any] = {'image': line.image, 'caption': line.caption}
  checked = line.checked
  if checked is None:
    return own | {'error': line.error}
  own |= {
    'score': round(checked.score, 6),
    'probability': round(checked.probability, 6),
  }
  if not checked.words:
    return own
  score = checked.corrected_score
  return own | {
    'words': [
      dataclasses.asdict(word) | {'replaced': round(word.replaced, 6)}
      for word in checked.words
    ],
    'corrected': checked.corrected,
    'corrected_score': None if score is None else round(score, 6),
  }


def print_lines(
  lines: Sequence[Line], title: str, console: Console | None = None
) -> None:
  """Prints pairs as a table.

  Doubtful words are red and underlined, or in brackets where there are no
  colors. Below each word is the probability in percent that it is wrong.

  Args:
    lines: at least one.
    title: heading.
    console: where to print; None: standard output.
  """
  console = console or Console()
  has_words = any(x.checked and x.checked.words for x in lines)
  table = Table(title=title, title_justify='left', show_lines=has_words)
  table.add_column('image', overflow='fold')
  table.add_column('match\nscore', justify='right', no_wrap=True)
  table.add_column(
    'words\nprobability that each is wrong, %' if has_words else 'sentence',
    overflow='fold',
    ratio=3,
  )
  if has_words:
    table.add_column('proposed', overflow='fold', ratio=2)
    table.add_column('match\nscore', justify='right', no_wrap=True)
  has_colors = bool(console.color_system) and not console.no_color
  for line in lines:
    image = Text(line.image)
    if line.checked is None:
      table.add_row(image, '', Text(line.error, style=_FAILED))
      continue
    checked = line.checked
    score = checked.corrected_score
    table.add_row(
      image,
      _match(checked.score),
      _Words(checked.words, has_colors)
      if checked.words
      else Text(checked.text),
      *(
        (Text(checked.corrected, style=_PROPOSED), _match(score))
        if score is not None
        else ()
      ),
    )
  console.print(table)


def _match(score: float) -> Text:
  """Returns the probability of a score in percent, and the score below it."""
  return Text(f'{100 * special.expit(score):.1f} %\n').append(
    f'{score:+.2f}', style='dim'
  )


class _Words:
  """Words with the probability below each, for `rich`; wraps between words."""

  def __init__(self, words: Sequence[Word], has_colors: bool) -> None:
    self._columns = [_column(pieces, has_colors) for pieces in _joined(words)]

  def __rich_measure__(
    self, console: Console, options: ConsoleOptions
  ) -> Measurement:
    del console
    widths = [top.cell_len for top, _ in self._columns]
    return Measurement(max(widths), sum(widths) + len(widths) - 1).with_maximum(
      options.max_width
    )

  def __rich_console__(
    self, console: Console, options: ConsoleOptions
  ) -> RenderResult:
    del console
    top, bottom = Text(), Text()
    for word, number in self._columns:
      if top and top.cell_len + 1 + word.cell_len > options.max_width:
        yield top
        yield bottom
        top, bottom = Text(), Text()
      if top:
        top.append(' ')
        bottom.append(' ')
      top.append_text(word)
      bottom.append_text(number)
    yield top
    yield bottom


def _joined(words: Sequence[Word]) -> Iterator[list[Word]]:
  """Yields the pieces of each word."""
  pieces: list[Word] = []
  for word in words:
    if pieces and not word.is_piece:
      yield pieces
      pieces = []
    pieces.append(word)
  yield pieces


def _column(pieces: Sequence[Word], has_colors: bool) -> tuple[Text, Text]:
  """Returns a word and its probability, equally wide."""
  text = ''.join(piece.text for piece in pieces)
  replaced = max(piece.replaced for piece in pieces)
  style = ''
  if any(piece.is_doubtful for piece in pieces):
    style = _DOUBTFUL if has_colors else ''
    text = text if has_colors else f'[{text}]'
  number = f'{100 * replaced:.0f}'
  word = Text(text, style=style)
  width = max(word.cell_len, len(number))
  word.append(' ' * (width - word.cell_len), style='not underline')
  return word, Text(number.ljust(width), style='dim')
