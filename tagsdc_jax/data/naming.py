"""How users name captions and images of a split: numbers, names, sentences."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import captions, dataset

Sentence = str | int
Image = str | int
NO_IMAGE = -1  # Of a caption that is the user's own.


class Names:
  """What the captions and images of a split are called."""

  def __init__(self, data: dataset.RetrievalDataset, max_tokens: int) -> None:
    """Takes the split, and how many tokens a user's sentence may have."""
    self._data, self._max_tokens = data, max_tokens
    self._image_numbers = {name: i for i, name in enumerate(data.image_ids)}

  def captions(
    self, sentences: Sentence | Sequence[Sentence]
  ) -> list[dataset.Caption]:
    """Returns captions of the split by number, and others of NO_IMAGE.

    Raises:
      UserError: for an unknown number, or a sentence that is empty, too long
        or has unknown words.
    """
    return [self._caption(one) for one in listed(sentences)]

  def images(self, images: Image | Sequence[Image] | None) -> np.ndarray:
    """Returns numbers of images, int [images]; all for None.

    Raises:
      UserError: for an unknown number or name.
    """
    names = self._data.image_ids
    if images is None:
      return np.arange(len(names))
    return np.array([self._image(one) for one in listed(images)], np.int64)

  def _caption(self, sentence: Sentence) -> dataset.Caption:
    known = self._data.captions
    if isinstance(sentence, int | np.integer):
      if not 0 <= sentence < len(known):
        raise errors.UserError(
          f'a caption of {self._data.name} is a number from 0 to '
          f'{len(known) - 1}, got {sentence}'
        )
      return known[int(sentence)]
    token_ids = self._encode(sentence)
    if len(token_ids) > self._max_tokens:
      raise errors.UserError(
        f'a sentence must have at most {self._max_tokens} tokens '
        f'(model.max_positions), got {len(token_ids)}: {sentence[:60]!r}'
      )
    return dataset.Caption(sentence, NO_IMAGE, token_ids, (), sentence)

  def _image(self, image: Image) -> int:
    names = self._data.image_ids
    number = self._image_numbers.get(image) if isinstance(image, str) else image
    if isinstance(number, int | np.integer) and 0 <= number < len(names):
      return int(number)
    raise errors.UserError(
      f'an image of {self._data.name} is a number from 0 to '
      f'{len(names) - 1}, or a name such as {names[0]!r}, got {image!r}'
    )

  @functools.cached_property
  def _encode(self) -> Callable[[str], np.ndarray]:
    return captions.make_encoder(self._data.vocabulary)


def listed(given: Any) -> list[Any]:
  """Returns one or several sentences, or images, as a list.

  Raises:
    UserError: if there is none.
  """
  if isinstance(given, str | int | np.integer):
    return [given]
  try:
    found = list(given)
  except TypeError:
    found = []
  if not found:
    raise errors.UserError(
      'sentences and images must be given as a str, a number, or several of '
      f'them, got {given!r}'
    )
  return found


def pairs(
  sentences: Sequence[Any], images: Sequence[int] | np.ndarray
) -> list[tuple[Any, int]]:
  """Returns each sentence with its image; one goes with all of the others.

  Raises:
    UserError: if the numbers of them differ.
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
