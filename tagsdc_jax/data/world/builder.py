"""The TFDS builder of the embedded world; needs no TensorFlow.

Imported late, because tensorflow_datasets takes a second to import.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tagsdc_jax.data.world import captions, grammar, pictures
from tagsdc_jax.data.world.grammar import ParsedSentence
from tagsdc_jax.data.world.scenes import CANVAS, SPLITS, Scene, example_rng

_PHRASE_LENGTH = 1
# Pads token_ids and phrases, as 0 is a word and a position.
PADDING = -1


@dataclasses.dataclass(eq=False, kw_only=True)
class WorldConfig(tfds.core.BuilderConfig):
  """Number of pictures per split, and the seed of the data set."""

  train: int
  validation: int
  test: int
  seed: int = 0


class EmbeddedWorld(tfds.core.GeneratorBasedBuilder):
  """Scenes of colored shapes with five captions each.

  In validation and test every caption is true of exactly one picture of its
  split. Record number i of a split is picture number i.
  """

  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {
    '1.1.0': 'Region features show the surroundings too.',
    '2.0.0': 'Relations are one word and "of"; objects of a picture resemble '
    'each other; eight colors, six shapes, 6,000 training pictures.',
  }
  BUILDER_CONFIGS = [
    WorldConfig(name='default', train=6000, validation=200, test=200),
    WorldConfig(name='tiny', train=64, validation=24, test=24),
  ]
  DEFAULT_CONFIG_NAME = 'default'
  # Called with 1 for every generated picture, for a progress bar.
  made: Callable[[int], Any] = staticmethod(lambda count: None)

  def _info(self) -> tfds.core.DatasetInfo:
    length, phrases = captions.MAX_LENGTH, grammar.MAX_PHRASES
    features = tfds.features.FeaturesDict(
      {
        'image': tfds.features.Image(
          shape=(CANVAS, CANVAS, 3), encoding_format='png'
        ),
        'scene': tfds.features.Text(),
        'boxes': tfds.features.Tensor(shape=(None, 7), dtype=np.float32),
        'region_features': tfds.features.Tensor(
          shape=(None, pictures.FEATURE_SIZE), dtype=np.float16
        ),
        'captions': tfds.features.Sequence(
          {
            'text': tfds.features.Text(),
            'token_ids': tfds.features.Tensor(shape=(length,), dtype=np.int32),
            'phrases': tfds.features.Tensor(
              shape=(phrases, _PHRASE_LENGTH), dtype=np.int32
            ),
          }
        ),
      }
    )
    return tfds.core.DatasetInfo(
      builder=self,
      features=features,
      description='Scenes of colored shapes, described by a small grammar.',
      # Keeps the pictures in order, so that a record's index is its number.
      disable_shuffling=True,
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    del dl_manager
    return {split: self._generate_examples(split) for split in SPLITS}

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    config = self.builder_config
    pairs = captions.make_split(
      config.seed, split, getattr(config, split), is_unique=split != 'train'
    )
    for number, (scene, sentences) in enumerate(pairs):
      rng = example_rng(config.seed, split, number, 2)
      yield number, _to_example(scene, sentences, rng)
      self.made(1)


def _to_example(
  scene: Scene, sentences: list[ParsedSentence], rng: np.random.Generator
) -> dict[str, Any]:
  image = pictures.render(scene, rng)
  boxes = pictures.propose_regions(scene, rng)
  features = pictures.region_features(image, boxes)
  return {
    'image': image,
    'scene': scene.to_json(),
    'boxes': pictures.boxes7(boxes, CANVAS, CANVAS),
    'region_features': features.astype(np.float16),
    'captions': [_to_record(sentence) for sentence in sentences],
  }


def _to_record(sentence: ParsedSentence) -> dict[str, Any]:
  words = grammar.render_sentence(sentence)
  token_ids = np.full(captions.MAX_LENGTH, PADDING, np.int32)
  token_ids[: len(words)] = grammar.to_ids(words)
  phrases = np.full((grammar.MAX_PHRASES, _PHRASE_LENGTH), PADDING, np.int32)
  for row, positions in enumerate(grammar.find_phrases(sentence)):
    phrases[row, : len(positions)] = positions
  return {'text': ' '.join(words), 'token_ids': token_ids, 'phrases': phrases}
