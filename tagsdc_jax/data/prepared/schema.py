"""The records of a prepared data set, and how they are written and read.

A data set is a folder that `tfds.builder_from_directory` opens. A record is one
picture with its captions and regions. The folder `captions` inside it is a
second TFDS data set: the same records without regions, so that a run opens
without reading the features. TFDS cannot write ragged arrays without
TensorFlow, so what belongs to several captions or phrases is stored one after
the other, with the number of parts beside it. Imported late, because
tensorflow_datasets takes a second to import.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.proto import tf_example_pb2

from tagsdc_jax.data.dataset import Caption

# Name of the TFDS data set, and the version of these records.
NAME, VERSION = 'prepared', '1.0.0'
CAPTIONS_FOLDER = 'captions'
VOCABULARY_FILE = 'vocab.txt'
TEMPLATE = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
# One record per group for random access; float16 hardly compresses.
WRITER_OPTIONS = 'group_size:1,uncompressed'


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
  """One picture.

  Attributes:
    image_id: unique within the data set.
    path: of the picture, relative to the folder of photos; empty if unknown.
    width, height: in pixels; 0 if unknown.
    features: float16 [regions, F].
    boxes: float32 [regions, 6], x1 y1 x2 y2 w h, divided by width or height.
    confidence: float32 [regions], or [0] if unknown.
    labels: int32 [regions], or [0] if unknown.
    captions: in the order of the split; `image` is not stored.
    numbers: of each caption within its split.
  """

  image_id: str
  path: str
  width: int
  height: int
  features: np.ndarray
  boxes: np.ndarray
  confidence: np.ndarray
  labels: np.ndarray
  captions: Sequence[Caption]
  numbers: Sequence[int]


def features_of(
  feature_size: int, with_regions: bool
) -> tfds.features.FeaturesDict:
  """Returns what the data set says of its own fields.

  Args:
    feature_size: F.
    with_regions: False for the folder of captions.
  """
  features = tfds.features

  def numbers(doc: str, dtype: Any = np.int32) -> tfds.features.Tensor:
    return features.Tensor(shape=(None,), dtype=dtype, doc=doc)

  def array(columns: int, dtype: Any, doc: str) -> tfds.features.Tensor:
    return features.Tensor(
      shape=(None, columns), dtype=dtype, encoding='bytes', doc=doc
    )

  fields = {
    'image_id': features.Text(doc='unique within the data set'),
    'path': features.Text(doc='of the picture in its folder, or empty'),
    'width': features.Scalar(np.int32, doc='of the picture; 0: unknown'),
    'height': features.Scalar(np.int32, doc='of the picture; 0: unknown'),
    'num_regions': features.Scalar(np.int32),
    'caption_ids': features.Sequence(features.Text()),
    'texts': features.Sequence(features.Text()),
    'caption_numbers': numbers('of each caption within the split'),
    'caption_lengths': numbers('tokens of each caption'),
    'token_ids': numbers('of all captions, without [CLS] and [SEP]'),
    'caption_phrases': numbers('phrases of each caption'),
    'phrase_kinds': numbers(
      'of each phrase: 1 object, 2 attribute, 3 relation, 0 unknown'
    ),
    'phrase_lengths': numbers('tokens of each phrase'),
    'phrase_positions': numbers('token positions, from 0 in each caption'),
  }
  if with_regions:
    fields |= {
      'features': array(feature_size, np.float16, 'of the regions'),
      'boxes': array(
        6, np.float32, 'x1 y1 x2 y2 w h, divided by width or height'
      ),
      'confidence': numbers('of each region, or empty', np.float32),
      'labels': numbers('class of each region, or empty'),
    }
  return features.FeaturesDict(fields)


class Serializer:
  """Turns records into the bytes of both data sets."""

  def __init__(self, feature_size: int) -> None:
    self._features = [
      features_of(feature_size, with_regions) for with_regions in (True, False)
    ]
    self._serializers = [
      example_serializer.ExampleSerializer(features.get_serialized_info())
      for features in self._features
    ]

  def __call__(self, record: Record) -> tuple[bytes, bytes]:
    """Returns the whole record, and the same without regions."""
    fields = _fields(record)
    whole, captions = (
      # Deterministic: the fields of a record are a map in no order.
      serializer.get_tf_example(
        features.encode_example({name: fields[name] for name in features})
      ).SerializeToString(deterministic=True)
      for features, serializer in zip(
        self._features, self._serializers, strict=True
      )
    )
    return whole, captions


def _fields(record: Record) -> dict[str, Any]:
  captions = record.captions
  phrases = [phrase for c in captions for phrase in c.phrases]
  array = lambda values: np.array(values, np.int32)
  return {
    'image_id': record.image_id,
    'path': record.path,
    'width': record.width,
    'height': record.height,
    'num_regions': len(record.features),
    'caption_ids': [c.caption_id for c in captions],
    'texts': [c.text for c in captions],
    'caption_numbers': array(record.numbers),
    'caption_lengths': array([len(c.token_ids) for c in captions]),
    'token_ids': array([i for c in captions for i in c.token_ids]),
    'caption_phrases': array([len(c.phrases) for c in captions]),
    'phrase_kinds': array(
      [
        kind
        for c in captions
        for kind in c.phrase_kinds or (0,) * len(c.phrases)
      ]
    ),
    'phrase_lengths': array([len(phrase) for phrase in phrases]),
    'phrase_positions': array([i for phrase in phrases for i in phrase]),
    'features': np.asarray(record.features, np.float16),
    'boxes': np.asarray(record.boxes, np.float32),
    'confidence': np.asarray(record.confidence, np.float32),
    'labels': array(record.labels),
  }


class Fields:
  """The fields of a stored record.

  Reads the few that are asked for; TFDS's own parser reads all, which takes
  ten times as long.
  """

  def __init__(self, record: bytes) -> None:
    """Parses a record.

    Raises:
      ValueError: if it is not one.
    """
    try:
      example = tf_example_pb2.Example.FromString(record)
    except Exception as error:  # protobuf's own classes differ by version.
      raise ValueError('not a record') from error
    self._fields = example.features.feature

  def text(self, name: str) -> str:
    """Returns a field of one string."""
    return self._fields[name].bytes_list.value[0].decode()

  def texts(self, name: str) -> list[str]:
    """Returns a field of several strings."""
    return [value.decode() for value in self._fields[name].bytes_list.value]

  def ints(self, name: str) -> list[int]:
    """Returns a field of integers."""
    return list(self._fields[name].int64_list.value)

  def floats(self, name: str) -> np.ndarray:
    """Returns a field of numbers, float32 [length]."""
    return np.array(self._fields[name].float_list.value, np.float32)

  def rows(self, name: str, dtype: Any, columns: int) -> np.ndarray:
    """Returns a read-only array [rows, columns] that is stored as bytes."""
    (value,) = self._fields[name].bytes_list.value
    return np.frombuffer(value, dtype).reshape(-1, columns)


def read_captions(fields: Fields, image: int) -> list[tuple[int, Caption]]:
  """Returns the captions of a record, each with its number in the split.

  Args:
    fields: of the record.
    image: number of the picture, for `Caption.image`.
  """
  token_ids = np.array(fields.ints('token_ids'), np.int32)
  phrases = _split(
    fields.ints('phrase_positions'), fields.ints('phrase_lengths')
  )
  counts = fields.ints('caption_phrases')
  lengths = fields.ints('caption_lengths')
  parts = zip(
    fields.ints('caption_numbers'),
    fields.texts('caption_ids'),
    fields.texts('texts'),
    _split(token_ids, lengths),
    _split(phrases, counts),
    _split(fields.ints('phrase_kinds'), counts),
    strict=True,
  )
  return [
    (
      number,
      Caption(
        caption_id=caption_id,
        image=image,
        token_ids=tokens,
        phrases=tuple(map(tuple, own)),
        text=text,
        phrase_kinds=tuple(kinds) if any(kinds) else (),
      ),
    )
    for number, caption_id, text, tokens, own, kinds in parts
  ]


def _split(values: Any, lengths: Sequence[int]) -> list[Any]:
  """Returns consecutive slices of the given lengths, which cover all values."""
  ends = np.cumsum(lengths, dtype=int)
  if sum(lengths) != len(values):
    raise ValueError('lengths and values do not agree')
  return [
    values[end - length : end]
    for end, length in zip(ends, lengths, strict=True)
  ]
