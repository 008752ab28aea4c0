"""What every reader of captions returns: pictures with their sentences."""

import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath

from tagsdc_jax import errors

SPLITS = ('train', 'validation', 'test')
# How files call the splits.
SPLIT_NAMES = {
  'train': 'train',
  'training': 'train',
  'restval': 'restval',
  'val': 'validation',
  'valid': 'validation',
  'validation': 'validation',
  'dev': 'validation',
  'test': 'test',
  'testing': 'test',
}


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
  """One caption as its file has it.

  Attributes:
    caption_id: its id, unique within the data set.
    text: the raw sentence.
  """

  caption_id: str
  text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
  """One picture as the caption file lists it.

  Attributes:
    image_id: its file name, or another name, unique within the data set.
    split: "train", "restval", "validation" or "test"; empty if the file has
      no split.
    sentences: its captions, any number above zero.
    names: what a feature file may call it, the likeliest first: file name,
      name without suffix, COCO's id, number in the data set.
    width, height: of the picture in pixels; 0 if the file does not say.
  """

  image_id: str
  split: str
  sentences: tuple[Sentence, ...]
  names: tuple[str, ...]
  width: int = 0
  height: int = 0


@dataclasses.dataclass(frozen=True)
class Listing:
  """The pictures of a caption file.

  Attributes:
    path: the file, as the user named it.
    kind: name of its format, e.g. "COCO JSON".
    pictures: in the order of the file.
    dataset: "flickr8k", "flickr30k" or "coco" if the file says so.
    num_empty: captions without words, which are left out.
    num_bare: pictures without captions, which are left out.
  """

  path: str
  kind: str
  pictures: Sequence[Picture]
  dataset: str = ''
  num_empty: int = 0
  num_bare: int = 0


class Collector:
  """Collects captions by picture, in the order in which these first come."""

  def __init__(self, path: str, kind: str) -> None:
    self._path, self._kind = path, kind
    self._found: dict[str, tuple[Picture, list[Sentence]]] = {}
    self._ids: set[str] = set()
    self._num_empty = 0

  def add(self, picture: Picture) -> None:
    """Adds a picture, or sentences to one; `picture.sentences` may be empty.

    Raises:
      UserError: if a caption id is repeated, or the picture's split differs.
    """
    first, sentences = self._found.setdefault(picture.image_id, (picture, []))
    if first.split != picture.split:
      raise errors.UserError(
        f'{self._path}: image {picture.image_id} is in split '
        f'{first.split or "(none)"} and in {picture.split or "(none)"}; a '
        'picture must be in one split'
      )
    for sentence in picture.sentences:
      if sentence.caption_id in self._ids:
        raise errors.UserError(
          f'{self._path}: caption id {sentence.caption_id} is there twice, the '
          f'second time for image {picture.image_id}; ids must be unique'
        )
      self._ids.add(sentence.caption_id)
      if sentence.text.strip():
        sentences.append(sentence)
      else:
        self._num_empty += 1

  def add_text(
    self, picture: Picture, text: str, caption_id: str | None = None
  ) -> None:
    """Adds a caption; without an id it gets its picture's and a number."""
    if caption_id is None:
      known = self._found.get(picture.image_id)
      number = len(known[1]) if known else 0
      caption_id = f'{picture.image_id}#{number}'
      if not text.strip():
        self._num_empty += 1
        return
    self.add(
      dataclasses.replace(picture, sentences=(Sentence(caption_id, text),))
    )

  def listing(self, dataset: str = '') -> Listing:
    """Returns what was collected.

    Raises:
      UserError: if there is no caption.
    """
    pictures = [
      dataclasses.replace(picture, sentences=tuple(sentences))
      for picture, sentences in self._found.values()
      if sentences
    ]
    if not pictures:
      raise errors.UserError(
        f'{self._path}: expected captions of pictures ({self._kind}), got none'
      )
    return Listing(
      self._path,
      self._kind,
      pictures,
      dataset,
      self._num_empty,
      len(self._found) - len(pictures),
    )


def names_of(image: str, *ids: object) -> tuple[str, ...]:
  """Returns what a feature file may call a picture, without repetitions.

  Args:
    image: its path or file name.
    ids: further ids; None is ignored.
  """
  path = PurePosixPath(image)
  candidates = [image, path.name, path.stem]
  candidates += [str(i) for i in ids if i is not None]
  return tuple(dict.fromkeys(filter(None, candidates)))


def split_of(name: object, where: str) -> str:
  """Returns our name of a split that a file names; empty if it names none.

  Args:
    name: as the file has it.
    where: file and record, for the message.
  Raises:
    UserError: if it is unknown.
  """
  if name in (None, ''):
    return ''
  known = SPLIT_NAMES.get(str(name).strip().lower())
  if known is None:
    raise errors.UserError(
      f'{where}: split must be one of {", ".join(SPLIT_NAMES)}, got {name!r}'
    )
  return known
