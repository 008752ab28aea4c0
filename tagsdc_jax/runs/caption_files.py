"""Captions of a file, for pictures of a data set."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.preparing import annotating
from tagsdc_jax.preparing.captions import reading
from tagsdc_jax.preparing.regions import matching


def read(
  path: Path,
  data: dataset.RetrievalDataset,
  phrases: str,
  max_tokens: int,
  say: Callable[[str], Any],
) -> dataset.RetrievalDataset:
  """Returns a split with the captions of a file in place of its own.

  Captions of other pictures, without words, or too long are left out.

  Args:
    path: in a format that `tagsdc prepare --captions` reads.
    data: the split; its vocabulary has words.
    phrases: one of `annotating.PHRASES`.
    max_tokens: of a caption, without [CLS] and [SEP].
    say: called with lines on what was read and left out.
  Raises:
    UserError: if the file cannot be read, or none of its captions can be used.
  """
  listed = reading.read(path)
  found = matching.match(
    listed.pictures,
    matching.Names(data.name, list(data.image_ids)),
    # The file may be of other pictures.
    with_numbers=False,
  )
  say(found.line)
  numbers = {name: number for number, name in enumerate(data.image_ids)}
  pairs = [
    (numbers[key], sentence)
    for picture, key in zip(listed.pictures, found.keys, strict=True)
    if key is not None
    for sentence in picture.sentences
  ]
  captions = []
  num_unknown = num_long = num_empty = 0
  with tempfile.TemporaryDirectory() as folder:
    vocabulary = Path(folder) / 'vocab.txt'
    words = data.vocabulary.words
    vocabulary.write_text(''.join(f'{word}\n' for word in words), 'utf-8')
    annotate = annotating.Annotator(str(vocabulary), phrases)
    for (image, _), caption in zip(
      pairs, annotate([sentence for _, sentence in pairs]), strict=True
    ):
      if not annotate.is_usable(caption):
        num_empty += 1
      elif len(caption.token_ids) > max_tokens:
        num_long += 1
      else:
        num_unknown += annotate.count_unknown(caption) > 0
        captions.append(dataclasses.replace(caption, image=image))
  for count, what in (
    (num_empty, 'captions without words are left out'),
    (num_long, f'captions of more than {max_tokens} tokens are left out'),
    (num_unknown, 'captions have words that are not in the vocabulary'),
  ):
    if count:
      say(f'{path}: {count:,} {what}')
  if not captions:
    raise errors.UserError(
      f'{path} has no caption that can be used; check its format and that it '
      f'is of the pictures of {data.name}'
    )
  return dataclasses.replace(
    data,
    captions=captions,
    captions_of_image=dataset.group_captions(captions, len(data.image_ids)),
  )
