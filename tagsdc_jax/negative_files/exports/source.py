"""What a format takes of a file of negatives, and what it leaves out."""

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.negative_files import records
from tagsdc_jax.runtime import progress

# What hints name if the folder of pictures is unknown.
NO_FOLDER = 'PHOTOS'


@dataclasses.dataclass(frozen=True)
class Format:
  """A format that some training or benchmark reads.

  Attributes:
    consumer: what reads it.
    content: what is written.
    lost: what it has no place for, or what its reader makes of it.
    write: writes what a source yields, to an open binary file or, if
      `is_folder`, into a new folder.
    hints: returns lines that say how to read what was written to a path.
    is_folder: whether a folder is written.
    opens_pictures: whether the pictures' files are copied, so that all of them
      must be there.
    without_pictures: what happens to a caption whose picture is missing.
    suffix: of the file, if one is written.
    is_suffix_read: whether the reader goes by it, so that the file must have
      it.
    number: negatives per caption, unless the user says otherwise; None: all.
    most: the largest number that the reader takes.
    is_exact: whether every caption must have the same number.
    keeps_bare: whether captions without negatives are written.
    reserved: strings that the reader takes for something else; captions and
      negatives that contain one are left out.
    missing: texts that the reader takes for missing values; likewise.
  """

  consumer: str
  content: str
  lost: str
  write: Callable[['Source', Any], None]
  hints: Callable[['Source', Path], list[str]]
  is_folder: bool = False
  opens_pictures: bool = False
  without_pictures: str = 'its training will not find them'
  suffix: str = ''
  is_suffix_read: bool = False
  number: int | None = None
  most: int | None = None
  is_exact: bool = False
  keeps_bare: bool = False
  reserved: tuple[str, ...] = ()
  missing: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Options:
  """What a user may choose.

  Attributes:
    images: folder of the pictures; empty: the one in the file's header.
    per_caption: most negatives of a caption; None: the format's own number.
  """

  images: str = ''
  per_caption: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
  """A caption as a format takes it.

  Attributes:
    record: the caption.
    negatives: those that are written, best first.
    picture: the picture's path within the folder of pictures.
  """

  record: records.Captioned
  negatives: tuple[records.Negative, ...]
  picture: str


class Source:
  """The captions of a file of negatives as a format takes them.

  Attributes:
    file: the file of negatives.
    images: folder of the pictures; empty if unknown.
    number: most negatives of a caption; None for all.
    num_captions, num_negatives: what was yielded to be written.
    counts: {(what was done, of what): number}, for the user.
    sizes: {number of negatives: captions with so many}, before any is cut.
  """

  def __init__(
    self, file: records.File, form: Format, options: Options
  ) -> None:
    self.file, self._format = file, form
    self.images = options.images or _photos(file.header)
    self.number = (
      form.number if options.per_caption is None else options.per_caption
    )
    self.num_captions = self.num_negatives = 0
    self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
    self.sizes: collections.Counter[int] = collections.Counter()
    self.num_without_path = self.num_missing = 0
    self.first_missing = ''
    self._last_picture: tuple[str, bool] = ('', False)

  def count(self, verb: str, what: str, number: int = 1) -> None:
    """Counts something that the user should know."""
    if number:
      self.counts[verb, what] += number

  def rows(
    self, verb: str = 'exporting', is_last: bool = True
  ) -> Iterator[Row]:
    """Yields the captions that are written, with their negatives.

    Args:
      verb: for the progress bar.
      is_last: whether this is the pass in which they are written, and counted.
    """
    number, count = self.number, self.count if is_last else _ignore
    with progress.progress_bar(
      self.file.num_captions, f'{verb} {self.file.path.name}', 'captions'
    ) as bar:
      for record in self.file:
        bar.update(1)
        if not self._is_readable(record.text):
          count('left out', f'captions that {self._misread()}')
          continue
        negatives = tuple(
          one for one in record.negatives if self._is_readable(one.text)
        )
        count(
          'left out',
          f'negatives that {self._misread()}',
          len(record.negatives) - len(negatives),
        )
        if is_last:
          self.sizes[len(negatives)] += 1
        if not negatives and not self._format.keeps_bare:
          count('left out', 'captions without negatives')
          continue
        if number is not None:
          if self._format.is_exact and len(negatives) < number:
            count('left out', f'captions with fewer than {number} negatives')
            continue
          count(
            'left out',
            f'negatives after the first {number} of their caption',
            max(len(negatives) - number, 0),
          )
          negatives = negatives[:number]
        row = Row(record, negatives, record.path or record.image_id)
        if is_last:
          self.num_captions += 1
          self.num_negatives += len(negatives)
          count(
            'perhaps true',
            'negatives that stand in another caption of their picture',
            sum(one.is_caption or one.is_contained for one in negatives),
          )
          self._look_for(row)
        yield row

  def path(self, picture: str) -> str:
    """Returns the path of a picture: joined with the folder of pictures."""
    return os.path.join(self.images, picture)

  def _look_for(self, row: Row) -> None:
    """Counts captions without a path, and those whose picture is missing."""
    self.num_without_path += not row.record.path
    name, is_there = self._last_picture
    if name != row.picture:
      is_there = os.path.isfile(self.path(row.picture))
      self._last_picture = row.picture, is_there
    if not is_there:
      self.num_missing += 1
      self.first_missing = self.first_missing or self.path(row.picture)

  def _is_readable(self, text: str) -> bool:
    return text.strip() not in self._format.missing and not any(
      one in text for one in self._format.reserved
    )

  def _misread(self) -> str:
    reserved = self._format.reserved
    return (
      f'contain {" or ".join(reserved)}' if reserved else 'are read as missing'
    )


def is_swap(caption: str, negative: records.Negative) -> bool:
  """Returns whether a negative has the caption's words in another order."""
  return _bag(caption) == _bag(negative.text)


def _bag(text: str) -> collections.Counter[str]:
  return collections.Counter(words(text))


def words(text: str) -> list[str]:
  """Returns the words of a sentence, in lower case."""
  return re.findall(r'\w+', text.casefold())


def _photos(header: Mapping[str, Any]) -> str:
  data = header.get('data')
  found = data.get('photos') if isinstance(data, dict) else None
  return found if isinstance(found, str) else ''


def _ignore(verb: str, what: str, number: int = 1) -> None:
  del verb, what, number


def bad_text(file: records.File, error: UnicodeEncodeError) -> Exception:
  """Returns the error for a text that cannot be written as UTF-8."""
  return errors.UserError(
    f'{file.path} has a text with characters that are no Unicode text '
    f'({error.object[error.start : error.end]!r}); generate the file again'
  )
