"""The content of a prepared data set's page: plain data, filled by `runs`."""

import dataclasses
from collections.abc import Mapping, Sequence

from tagsdc_jax.reporting.page import content


@dataclasses.dataclass(frozen=True)
class Split:
  """A split.

  Attributes:
    name: "train", "validation" or "test".
    pictures, captions: how many.
    published: number of pictures that papers report; None if unknown.
    left_out: pictures that were left out; None if unknown.
    reasons: of the first ones that were left out.
    tokens: tokens of a caption -> captions.
    regions: regions of a picture -> pictures.
    phrases: "object", "attribute", "relation" or "phrase" (of unknown kind) ->
      (its phrases in a caption -> captions).
    bare: captions without phrases.
    unknown: [UNK] tokens.
    counts: what was changed, see `prepared.CHANGES`; may lack any.
  """

  name: str
  pictures: int
  captions: int
  published: int | None = None
  left_out: int | None = None
  reasons: Sequence[str] = ()
  tokens: Mapping[int, int] = dataclasses.field(default_factory=dict)
  regions: Mapping[int, int] = dataclasses.field(default_factory=dict)
  phrases: Mapping[str, Mapping[int, int]] = dataclasses.field(
    default_factory=dict
  )
  bare: int = 0
  unknown: int = 0
  counts: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
  """Consecutive tokens of one phrase, or of none.

  Attributes:
    text: the tokens as words.
    kind: as in `Split.phrases`; empty: of no phrase.
    is_unknown: whether it is [UNK].
    is_piece: whether it continues the word before.
  """

  text: str
  kind: str = ''
  is_unknown: bool = False
  is_piece: bool = False


@dataclasses.dataclass(frozen=True)
class Caption:
  """A caption; `runs` is empty if the words of its tokens are unknown.

  Attributes:
    text: the raw sentence.
    runs: its tokens.
    num_tokens: how many.
    is_decoded: whether the tokens are those of the text.
  """

  text: str
  runs: Sequence[Run]
  num_tokens: int
  is_decoded: bool = True


@dataclasses.dataclass(frozen=True)
class Example:
  """A picture of a split with some of its captions.

  Attributes:
    split: its name.
    picture: with the boxes that are drawn.
    num_regions: all regions.
    captions: those that are shown.
    num_captions: all captions.
    remarks: phrases on its size, and on what is missing.
  """

  split: str
  picture: content.Picture
  num_regions: int
  captions: Sequence[Caption]
  num_captions: int
  remarks: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Source:
  """A file that was read; what is unknown is empty or 0."""

  what: str
  path: str
  kind: str = ''
  hash: str = ''
  bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Page:
  """Everything on the page.

  Attributes:
    name: of the data set's folder.
    splits: in order.
    findings: sentences on what was noticed, worst first.
    unknown_words: words that became [UNK], the most frequent first, and how
      often each occurs.
    has_words: whether the words of the tokens are known.
    has_photos: whether there is a folder of photos.
    examples: a few pictures of each split.
    sources: the files that were read.
    choices: name -> what was chosen.
  """

  name: str
  splits: Sequence[Split]
  findings: Sequence[str] = ()
  unknown_words: Sequence[tuple[str, int]] = ()
  has_words: bool = True
  has_photos: bool = True
  examples: Sequence[Example] = ()
  sources: Sequence[Source] = ()
  choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
