"""Half-truths: a short true caption against a longer one with a false unit.

Made from phrases alone, for any prepared split (after arXiv 2602.23906, which
found that image-text models prefer the longer one). The short caption is a part
of a caption that stays true. The long one is the whole caption, with one
object, attribute or relation exchanged for one of other captions that none of
the picture's captions names.
"""

import collections
import csv
import dataclasses
import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tagsdc_jax import errors, settings
from tagsdc_jax.data import dataset, phrases, written_captions
from tagsdc_jax.foil_files import records
from tagsdc_jax.runtime import progress

FAMILY = 'half-truths'
# The columns of BiVLC's text side, which others read as well.
COLUMNS = ('filename', 'caption', 'negative_caption', 'type', 'subtype')
_TRIES = 20
_WORD = re.compile(r"[\w']+")
_VOWELS = 'aeiou'


@dataclasses.dataclass(frozen=True, slots=True)
class _Unit:
  """A phrase of a caption, of consecutive tokens.

  Attributes:
    kind: OBJECT, ATTRIBUTE or RELATION.
    start, end: its tokens, end exclusive.
    text: its characters, in lower case.
  """

  kind: int
  start: int
  end: int
  text: str


def make(data: dataset.RetrievalDataset, seed: int = 0) -> records.FoilFile:
  """Returns at most one item of each kind for every caption.

  Args:
    data: a split with words and phrases of known kinds.
    seed: of what is exchanged for what.
  Raises:
    UserError: if the split has no words, or no such phrases.
  """
  writer = written_captions.Writer(data.vocabulary)
  written = [writer.written(caption) for caption in data.captions]
  units = [
    _units(caption, one)
    for caption, one in zip(data.captions, written, strict=True)
  ]
  if not any(units):
    raise errors.UserError(
      f'{data.name} has no phrases of known kinds, which half-truths are made '
      'from; prepare it with --phrases spacy'
    )
  inventory = {
    kind: _Inventory([u for own in units for u in own if u.kind == kind])
    for kind in (phrases.OBJECT, phrases.ATTRIBUTE, phrases.RELATION)
  }
  beside = _neighbors(units)
  has_an = 'an' in data.vocabulary.words
  collector = records.Collector(f'{FAMILY} of {data.name}', FAMILY)
  with progress.progress_bar(
    len(data.captions), f'making half-truths of {data.name}', 'captions'
  ) as bar:
    for number, caption in enumerate(data.captions):
      named = [
        _plain(written[other].text)
        for other in data.captions_of_image[caption.image]
      ]
      for kind, name in enumerate(settings.PHRASE_KINDS, 1):
        pair = _pair(
          written[number],
          units[number],
          inventory[kind],
          kind,
          functools.partial(_is_foreign, named=named, beside=beside),
          np.random.default_rng([seed, number, kind]),
        )
        if pair is not None:
          short, long = map(_with_articles, pair) if has_an else pair
          collector.add(
            records.Item(
              f'{caption.caption_id}-{name}',
              name,
              (short,),
              (long,),
              (data.image_ids[caption.image],),
            )
          )
      bar.update(1)
  return collector.file()


def to_csv(made: Sequence[records.FoilFile]) -> bytes:
  """Returns items of one caption and one foil as a table, in UTF-8."""
  stream = io.StringIO(newline='')
  writer = csv.writer(stream, lineterminator='\n')
  writer.writerow(COLUMNS)
  for file in made:
    writer.writerows(
      (item.names[0], item.captions[0], item.foils[0], file.family, item.kind)
      for item in file.items
    )
  return stream.getvalue().encode('utf-8')


def _pair(
  written: written_captions.Written,
  units: Sequence[_Unit],
  inventory: '_Inventory',
  kind: int,
  is_foreign: Callable[..., bool],
  rng: np.random.Generator,
) -> tuple[str, str] | None:
  """Returns a short caption and a long one with another unit of a kind."""
  for place in rng.permutation(len(units)):
    unit = units[place]
    short = _shortened(written, units, unit) if unit.kind == kind else ''
    new = short and inventory.draw(
      rng, functools.partial(is_foreign, unit=unit)
    )
    if short and new:
      return short, _exchanged(written, unit, new)
  return None


class _Inventory:
  """The units of one kind, drawn as often as they occur."""

  def __init__(self, units: Sequence[_Unit]) -> None:
    counts = collections.Counter(unit.text for unit in units)
    self._texts = sorted(counts)
    self._ends = np.cumsum([counts[text] for text in self._texts])

  def draw(
    self, rng: np.random.Generator, is_allowed: Callable[[str], bool]
  ) -> str:
    """Returns an allowed unit's text, '' if some tries give none."""
    if not self._texts:
      return ''
    for draw in rng.integers(self._ends[-1], size=_TRIES):
      text = self._texts[int(np.searchsorted(self._ends, draw, 'right'))]
      if is_allowed(text):
        return text
    return ''


def _units(
  caption: dataset.Caption, written: written_captions.Written
) -> list[_Unit]:
  found = []
  for kind, phrase in zip(caption.phrase_kinds, caption.phrases):
    start, end = min(phrase, default=0), max(phrase, default=-1) + 1
    if not kind or sorted(phrase) != list(range(start, end)):
      continue
    text = written.text[written.spans[start][0] : written.spans[end - 1][1]]
    if text.strip():
      found.append(_Unit(kind, start, end, text.lower()))
  # A unit may be there twice, as parsers list them.
  return list(dict.fromkeys(found))


def _neighbors(units: Sequence[Sequence[_Unit]]) -> dict[str, set[str]]:
  """Returns the attributes that stand beside each attribute.

  Two that some noun has at once do not exclude each other: a red circle may be
  small, but not blue.
  """
  found: dict[str, set[str]] = collections.defaultdict(set)
  for own in units:
    for one, two in _adjacent(own):
      found[one.text].add(two.text)
      found[two.text].add(one.text)
  return found


def _adjacent(units: Sequence[_Unit]) -> Iterator[tuple[_Unit, _Unit]]:
  attributes = [unit for unit in units if unit.kind == phrases.ATTRIBUTE]
  for one in attributes:
    for two in attributes:
      if one.end == two.start:
        yield one, two


def _is_foreign(
  text: str, unit: _Unit, named: Sequence[str], beside: dict[str, set[str]]
) -> bool:
  """Returns whether a unit may be false where another one is true."""
  plain = _plain(text)
  return (
    bool(plain.strip())
    and not any(plain in other for other in named)
    and text not in beside.get(unit.text, ())
  )


def _plain(text: str) -> str:
  """Returns the words of a text, without plurals, between spaces."""
  words = (word.rstrip('s') or word for word in _WORD.findall(text.lower()))
  return f' {" ".join(words)} '


def _shortened(
  written: written_captions.Written, units: Sequence[_Unit], unit: _Unit
) -> str:
  """Returns a part of a caption that is true without a unit; '' if none is.

  Without an attribute that stands before its noun; or up to the last object
  that stands before the object or relation.
  """
  text, spans = written.text, written.spans
  if unit.kind == phrases.ATTRIBUTE:
    is_before_noun = any(
      other.start <= unit.end < other.end and other.kind != phrases.RELATION
      for other in units
      if other is not unit
    )
    if not is_before_noun:
      return ''
    start, after = spans[unit.start][0], spans[unit.end][0]
    rest = text[after:]
    if text[start].isupper():
      rest = rest[:1].upper() + rest[1:]
    return text[:start] + rest
  ends = [
    other.end
    for other in units
    if other.kind == phrases.OBJECT and other.end <= unit.start
  ]
  return text[: spans[max(ends) - 1][1]] if ends else ''


def _exchanged(written: written_captions.Written, unit: _Unit, new: str) -> str:
  start, end = written.spans[unit.start][0], written.spans[unit.end - 1][1]
  if written.text[start].isupper():
    new = new[:1].upper() + new[1:]
  return written.text[:start] + new + written.text[end:]


def _with_articles(text: str) -> str:
  """Returns a sentence with "a" or "an" as the next word begins.

  Else a wrong article would tell the sentences apart.
  """

  def fix(found: re.Match[str]) -> str:
    first = found[1][0]
    article = first + ('n' if found[2].lower() in _VOWELS else '')
    return f'{article} {found[2]}'

  return re.sub(r'\b([Aa]n?) (\w)', fix, text)
