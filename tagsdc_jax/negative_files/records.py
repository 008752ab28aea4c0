"""The file of generated negatives: JSON lines, a header and then captions.

The first line says how the negatives were made and what they are like; every
other line is a caption with its negatives. docs/negatives.md describes the
fields.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors, files, settings

FORMAT, VERSION = 'tagsdc-negatives', 1
# Kinds of edits: those of phrases; 'token' for words that are in no phrase.
TOKEN = 'token'
KINDS = (*settings.PHRASE_KINDS, TOKEN)
# The kind of a negative with edits of different kinds.
SEVERAL = 'several'
# Types of JSON's values, for each type of a field.
_ACCEPTED: dict[Any, tuple[type, ...]] = {
  str: (str,),
  bool: (bool,),
  int: (int,),
  float: (float, int),
  str | None: (str, type(None)),
  float | None: (float, int, type(None)),
  Mapping[str, int]: (dict,),
}


def joined_kind(kinds: Iterable[str]) -> str:
  """Returns the kind of all edits of a negative; SEVERAL if they differ."""
  found = set(kinds)
  return found.pop() if len(found) == 1 else SEVERAL


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
  """A place in which a negative differs from its caption.

  Attributes:
    kind: one of KINDS.
    start, end: the caption's characters that are replaced, end exclusive.
    old, new: the characters before and after.
    new_start: where `new` starts in the negative's text.
  """

  kind: str
  start: int
  end: int
  old: str
  new: str
  new_start: int


@dataclasses.dataclass(frozen=True, slots=True)
class Negative:
  """A sentence made from a caption.

  Attributes:
    text: the caption with the edits.
    score: the raw matching score with the caption's picture.
    source: name of the source of negatives that wrote it.
    edits: from left to right; at least one.
    probability: calibrated probability that it is true of the picture; None
      without a calibration.
    fluency: lowest log-probability of a word near the edits, after the two
      words before it, as captions are written (data/trigrams.py); None if it
      was not measured.
    words: its tokens, pieces of words as ##ing; empty before stage 2.
    replaced: probability of each of `words` to be wrong, from word
      discrimination; empty before stage 2.
    corrected: the sentence with the wrong words corrected; None before stage 2.
    is_caption: whether it equals another caption of the picture.
    is_contained: whether its words stand, in this order and next to each
      other, in another caption of the picture.
  """

  text: str
  score: float
  source: str
  edits: tuple[Edit, ...]
  probability: float | None = None
  fluency: float | None = None
  words: tuple[str, ...] = ()
  replaced: tuple[float, ...] = ()
  corrected: str | None = None
  is_caption: bool = False
  is_contained: bool = False

  @property
  def kind(self) -> str:
    """The kind of its edits; SEVERAL if they differ."""
    return joined_kind(edit.kind for edit in self.edits)


@dataclasses.dataclass(frozen=True, slots=True)
class Phrase:
  """A phrase of a caption.

  Attributes:
    kind: 'object', 'attribute' or 'relation'.
    spans: [start, end) of each of its stretches of characters.
  """

  kind: str
  spans: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Captioned:
  """A caption with its negatives, best first, or kinds of edits in turn.

  Attributes:
    caption_id: unique within the split.
    image_id: of its picture.
    path: of the picture, relative to the folder of photos; empty if unknown.
    text: the caption.
    score: its raw matching score.
    probability: as for `Negative`.
    phrases: those whose kind is known.
    negatives: those that were kept.
    dropped: number of candidates that were dropped, by reason.
  """

  caption_id: str
  image_id: str
  path: str
  text: str
  score: float
  probability: float | None = None
  phrases: tuple[Phrase, ...] = ()
  negatives: tuple[Negative, ...] = ()
  dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)


def to_line(record: Captioned) -> bytes:
  """Returns a record as a line of JSON, numbers to six decimals."""
  return _line(_rounded(dataclasses.asdict(record)))


def header_line(header: Mapping[str, Any]) -> bytes:
  """Returns the first line of a file.

  Args:
    header: JSON-serializable, without `format` and `version`.
  """
  return _line({'format': FORMAT, 'version': VERSION, **_rounded(header)})


def from_line(line: bytes | str) -> Captioned:
  """Returns the record of a line.

  Raises:
    ValueError: if it is not one; the message says what is wrong.
  """
  return from_fields(json.loads(line, parse_constant=_no_number))


def from_fields(fields: Any) -> Captioned:
  """Returns the record of a line that was parsed, or of the card's examples.

  Raises:
    ValueError, KeyError, TypeError, AttributeError: if it is not one.
  """
  if not isinstance(fields, dict):
    raise ValueError('not a JSON object')
  negatives = tuple(map(_negative, _list(fields, 'negatives')))
  phrases = tuple(
    _of(
      Phrase,
      one,
      spans=tuple((int(start), int(end)) for start, end in one['spans']),
    )
    for one in _list(fields, 'phrases')
  )
  return _of(Captioned, fields, negatives=negatives, phrases=phrases)


class File:
  """A file of negatives; captions are read one at a time.

  Attributes:
    path: the file.
    header: its first line.
  """

  def __init__(self, path: Path) -> None:
    """Reads the header.

    Raises:
      UserError: if the file cannot be read or is no file of negatives.
    """
    self.path = path
    with errors.named(path, 'read'), open(path, 'rb') as file:
      first = file.readline(1 << 26)
    try:
      self.header: dict[str, Any] = json.loads(first)
      kind = self.header.get('format'), self.header.get('version')
    except (ValueError, AttributeError):
      kind = None, None
    if kind != (FORMAT, VERSION):
      seen = files.kind_of_text(path)
      raise errors.UserError(
        f'{path} is no file of negatives of version {VERSION}'
        + (f', but {seen}' if seen and kind[0] is None else '')
        + '; pass negatives.jsonl from the folder that tagsdc generate wrote'
      )

  def __iter__(self) -> Iterator[Captioned]:
    """Yields the captions in order.

    Raises:
      UserError: if a line is damaged, or the file ends early.
    """
    count = 0
    with errors.named(self.path, 'read'), open(self.path, 'rb') as file:
      file.readline()
      for number, line in enumerate(file, 2):
        try:
          if not line.endswith(b'\n'):
            raise ValueError('it ends in the middle of a line')
          record = from_line(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
          raise errors.UserError(
            f'{self.path}, line {number} is damaged ({error}); generate the '
            'file again'
          ) from error
        yield record
        count += 1
    if count != self.num_captions:
      raise errors.UserError(
        f'{self.path} has {count:,} captions, and its header says '
        f'{self.num_captions:,}; generate the file again'
      )

  @property
  def num_captions(self) -> int:
    """Number of captions, as the header says."""
    counts = self.header.get('counts')
    found = counts.get('captions') if isinstance(counts, dict) else None
    return found if isinstance(found, int) else 0


def _line(fields: Mapping[str, Any]) -> bytes:
  return (
    json.dumps(fields, ensure_ascii=False, allow_nan=False) + '\n'
  ).encode()


def _rounded(value: Any) -> Any:
  if isinstance(value, float):
    return round(value, 6)
  if isinstance(value, Mapping):
    return {key: _rounded(one) for key, one in value.items()}
  if isinstance(value, list | tuple):
    return [_rounded(one) for one in value]
  return value


def _negative(fields: Any) -> Negative:
  if not _list(fields, 'edits'):
    raise ValueError('a negative has no edits')
  return _of(
    Negative,
    fields,
    edits=tuple(_of(Edit, one) for one in _list(fields, 'edits')),
    words=tuple(map(str, _list(fields, 'words'))),
    replaced=tuple(map(float, _list(fields, 'replaced'))),
  )


def _list(fields: Any, name: str) -> list[Any]:
  found = fields.get(name, []) if isinstance(fields, dict) else None
  if not isinstance(found, list):
    raise ValueError(f'{name} is no list')
  return found


def _of(kind: Any, fields: Any, **converted: Any) -> Any:
  """Returns a dataclass from a dict; unknown keys are ignored."""
  values = {
    field.name: fields[field.name]
    for field in dataclasses.fields(kind)
    if field.name in fields
  } | converted
  for field in dataclasses.fields(kind):
    value = values.get(field.name)
    if field.name in fields and field.name not in converted:
      accepted = _ACCEPTED[field.type]
      if type(value) not in accepted or value in (math.inf, -math.inf):
        raise ValueError(f'{field.name} is {value!r}')
  return kind(**values)


def _no_number(text: str) -> None:
  raise ValueError(f'{text} is no number')
