"""Images and captions that a split shares with another, usually training.

People describe different pictures in the same words, and the embedded world's
grammar does so even more often: equal captions alone are not an error.
"""

import dataclasses

from tagsdc_jax.data import dataset


@dataclasses.dataclass(frozen=True)
class Overlap:
  """Images and captions of a split that are also in another.

  Attributes:
    name, other: names of the two splits.
    num_images, num_captions: all of the split, shared or not.
    images: names of the shared images, compared by store and name.
    captions: ids of the captions with the same tokens as one of the other.
  """

  name: str
  other: str
  num_images: int
  num_captions: int
  images: tuple[str, ...]
  captions: tuple[str, ...]

  def __bool__(self) -> bool:
    return bool(self.images or self.captions)

  def __str__(self) -> str:
    captions = (
      f'{len(self.captions):,} of {self.num_captions:,} captions, '
      f'word for word, are also in {self.other}'
    )
    if not self.images:
      first = ''.join(f' (the first is {x})' for x in self.captions[:1])
      return f'{self.name}: no image, but {captions}{first}'
    return (
      f'{self.name}: {len(self.images):,} of {self.num_images:,} images '
      f'(the first is {self.images[0]}) and {captions}; recall on it is '
      'not recall on unseen images: remove them from one of the two'
    )

  def counts(self) -> dict[str, int]:
    """Returns the numbers of shared `images` and `captions`."""
    return {'images': len(self.images), 'captions': len(self.captions)}


def find(
  split: str,
  data: dataset.RetrievalDataset,
  other_split: str,
  other: dataset.Contents,
) -> Overlap:
  """Returns the images and captions of a split that are in another.

  Args:
    split: what the first split is used for, e.g. 'test'.
    data: the first split.
    other_split: what the other split is used for.
    other: the other split; must have the same vocabulary.
  """
  return Overlap(
    f'{split} ({data.name})',
    f'{other_split} ({other.name})',
    len(data.image_keys),
    len(data.captions),
    tuple(key[1] for key in data.image_keys if key in other.image_keys),
    tuple(
      c.caption_id
      for c in data.captions
      if c.token_ids.tobytes() in other.captions
    ),
  )
