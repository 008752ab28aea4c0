"""Resolves sentences and images as users give them: numbers, names, texts."""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import captions, dataset

Sentence = str | int
Image = str | int
NO_IMAGE = -1  # The image of a sentence that is not from the split.
# Names in a message about one that is unknown.
_NEAREST = 3


class Names:
  """The captions and images of a split, by number or name."""

  def __init__(self, data: dataset.RetrievalDataset, max_tokens: int) -> None:
    """Uses a split; a user's sentence may have up to `max_tokens` tokens."""
    self._data, self._max_tokens = data, max_tokens
    self._image_numbers = {name: i for i, name in enumerate(data.image_ids)}

  def captions(
    self, sentences: Sentence | Sequence[Sentence]
  ) -> list[dataset.Caption]:
    """Returns captions; those given as text have the image NO_IMAGE.

    Raises:
      UserError: if a number is out of range, or a sentence is empty, too long,
        or contains unknown words.
    """
    return [self._caption(one) for one in listed(sentences)]

  def images(self, images: Image | Sequence[Image] | None) -> np.ndarray:
    """Returns the numbers of images, int [images]; None: all of the split.

    Raises:
      UserError: if a number or name is unknown.
    """
    names = self._data.image_ids
    if images is None:
      return np.arange(len(names))
    return np.array([self._image(one) for one in listed(images)], np.int64)

  def _caption(self, sentence: Sentence) -> dataset.Caption:
    in_split = self._data.captions
    if isinstance(sentence, int | np.integer):
      if not 0 <= sentence < len(in_split):
        raise errors.UserError(
          f'a caption of {self._data.name} must be a number from 0 to '
          f'{len(in_split) - 1}, got {sentence}'
        )
      return in_split[int(sentence)]
    token_ids = self._encode(sentence)
    if len(token_ids) > self._max_tokens:
      raise errors.UserError(
        f'a sentence must have at most {self._max_tokens} tokens '
        f'(model.max_positions), got {len(token_ids)}: {sentence[:60]!r}'
      )
    return dataset.Caption(sentence, NO_IMAGE, token_ids, (), sentence)

  def image_of_text(self, text: str) -> int | None:
    """Returns the number of the image that a text names; None: no image's.

    Digits are a number, unless names of images are digits too: a name that is
    not in the split would else be the number of some other image.
    """
    if text in self._image_numbers:
      return self._image_numbers[text]
    is_number = text.isascii() and text.isdecimal() and not self._has_digits
    if is_number and int(text) < len(self._data.image_ids):
      return int(text)
    return None

  def no_image(self, image: Any, is_brief: bool = False) -> str:
    """Returns what is wrong with an image, and which there are.

    Args:
      image: as it was given.
      is_brief: whether not to look for the nearest names, which takes a tenth
        of a second among thousands.
    """
    names = self._data.image_ids
    near = names[:1]
    if not is_brief:
      near = difflib.get_close_matches(str(image), names, _NEAREST) or near
    return (
      f'an image of {self._data.name} must be a number from 0 to '
      f'{len(names) - 1}, or a name such as {" or ".join(map(repr, near))}, '
      f'got {image!r}'
    )

  def _image(self, image: Image) -> int:
    number = self._image_numbers.get(image) if isinstance(image, str) else image
    count = len(self._data.image_ids)
    if isinstance(number, int | np.integer) and 0 <= number < count:
      return int(number)
    raise errors.UserError(self.no_image(image))

  @functools.cached_property
  def _has_digits(self) -> bool:
    return any(name.isdecimal() for name in self._data.image_ids)

  @functools.cached_property
  def _encode(self) -> Callable[[str], np.ndarray]:
    return captions.make_encoder(self._data.vocabulary)


def listed(given: Any) -> list[Any]:
  """Returns one or several sentences or images as a list.

  Raises:
    UserError: if it is empty, or neither a str, a number nor iterable.
  """
  if isinstance(given, str | int | np.integer):
    return [given]
  try:
    items = list(given)
  except TypeError:
    items = []
  if not items:
    raise errors.UserError(
      'sentences and images must be a str, a number, or several of them, '
      f'got {given!r}'
    )
  return items


def pairs(
  sentences: Sequence[Any], images: Sequence[int] | np.ndarray
) -> list[tuple[Any, int]]:
  """Returns each sentence with its image; a single one is paired with all.

  Raises:
    UserError: if their numbers differ and neither is one.
  """
  count = max(len(sentences), len(images))
  if not {len(sentences), len(images)} <= {1, count}:
    raise errors.UserError(
      'there must be as many images as sentences, or one for all, got '
      f'{len(sentences)} sentences and {len(images)} images'
    )
  return [
    (sentences[i % len(sentences)], int(images[i % len(images)]))
    for i in range(count)
  ]
