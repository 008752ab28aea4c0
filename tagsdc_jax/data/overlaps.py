"""What a split shares with another, of which training is the one that counts.

People say the same of different pictures, and the embedded world's grammar more
so: equal captions alone are no fault.
"""

import dataclasses

from tagsdc_jax.data import dataset


@dataclasses.dataclass(frozen=True)
class Overlap:
  """Images and captions of a split that are in another one as well.

  Attributes:
    name, other: of the two splits.
    num_images, num_captions: of the split, for shares.
    images: names of those that are the same, by store and name.
    captions: ids of those whose tokens are a caption's of the other.
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
      f'word for word, are in {self.other}'
    )
    if not self.images:
      first = ''.join(f' (the first is {x})' for x in self.captions[:1])
      return f'{self.name}: no image, but {captions}{first}'
    return (
      f'{self.name}: {len(self.images):,} of {self.num_images:,} images '
      f'(the first is {self.images[0]}) and {captions}; recall on it is '
      'not recall on unseen images: take them out of one of the two'
    )

  def counts(self) -> dict[str, int]:
    """Returns `images` and `captions`, how many."""
    return {'images': len(self.images), 'captions': len(self.captions)}


def find(
  split: str,
  data: dataset.RetrievalDataset,
  other_split: str,
  other: dataset.Contents,
) -> Overlap:
  """Returns what of a split is in another.

  Args:
    split: what the first is used for, e.g. 'test'.
    data: the first.
    other_split: what the other is used for.
    other: the other; of one vocabulary.
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
