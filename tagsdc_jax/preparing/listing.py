"""What every reader of captions returns: pictures with their sentences."""

import dataclasses


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
    split: "train", "validation" or "test"; empty if the file has no split.
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
