"""What is measured of a trained network, item by item of the test split."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tagsdc_jax.data import opening
from tagsdc_jax.data.world import foils as world_foils
from tagsdc_jax.evaluation import equal_sentences, matrix, recall, scored_pairs
from tagsdc_jax.foil_files import half_truths
from tagsdc_jax.runs import foil_sentences, loading
from tagsdc_jax.runtime import parallel, progress
from tagsdc_jax.studies import study
from tagsdc_jax.training import checkpoints

_SPLIT = 'test'
_SEED = 0
# Number -> part -> [value, picture] of each item; JSON.
Items = dict[str, dict[str, list[list[float]]]]


def recall_at_1(trained: study.Trained) -> Items:
  """Returns whether each caption finds its image, and the other way round."""
  network, data = _open(trained)
  devices = parallel.local_devices(network.settings.num_devices)
  pairs = len(data.captions) * len(data.image_ids)
  with progress.progress_bar(
    pairs, f'ranking {trained.path.name}', 'pairs'
  ) as (bar):
    scores = matrix.score_matrix(
      network.model,
      parallel.replicate(network.params, devices),
      data,
      network.settings.evaluation,
      devices=devices,
      progress=bar.update,
    )
  images = np.array([caption.image for caption in data.captions])
  image_ranks = recall.image_ranks(scores, images)
  twins = equal_sentences.find(data.captions)
  own = data.captions_of_image
  text_ranks = recall.text_ranks(scores, own, [twins.twins(x) for x in own])
  with_captions = [i for i, captions in enumerate(own) if captions]
  return {
    'image R@1': {'all': _items(image_ranks == 0, images)},
    'text R@1': {'all': _items(text_ranks == 0, np.array(with_captions))},
  }


def foils(trained: study.Trained) -> Items:
  """Returns whether each caption outscores its foils, by kind.

  On the embedded world its own foils; on other data half-truths
  (foil_files/half_truths.py), which need phrases.
  """
  network, data = _open(trained)
  config = network.settings
  if config.data.source == 'world':
    scenes = opening.load_scenes(config.data, _SPLIT)
    made = world_foils.make_foils(data, scenes, _SEED)
    own = [data.captions[one.caption] for one in made]
    return _foils(
      network,
      data,
      'foils',
      [one.token_ids for one in own],
      [one.token_ids for one in made],
      [one.image for one in own],
      [one.kind for one in made],
    )
  return half_truth_foils(trained)


def half_truth_foils(trained: study.Trained) -> Items:
  """Returns whether short true captions outscore longer half-truths."""
  network, data = _open(trained)
  made = half_truths.make(data, _SEED)
  sentences = foil_sentences.Sentences(
    data.vocabulary, network.settings.model.max_positions - 2
  )
  numbers = {name: number for number, name in enumerate(data.image_ids)}
  kept = [
    one
    for one in made.items
    if sentences.fault_of((*one.captions, *one.foils)) is None
  ]
  return _foils(
    network,
    data,
    'half-truths',
    [sentences.tokens(one.captions[0]) for one in kept],
    [sentences.tokens(one.foils[0]) for one in kept],
    [numbers[one.names[0]] for one in kept],
    [one.kind for one in kept],
  )


def _foils(
  network: loading.Network,
  data: Any,
  name: str,
  captions: list[np.ndarray],
  false: list[np.ndarray],
  images: list[int],
  kinds: list[str],
) -> Items:
  devices = parallel.local_devices(network.settings.num_devices)
  scores = scored_pairs.score_sentences(
    network.model,
    parallel.replicate(network.params, devices),
    data,
    captions + false,
    images * 2,
    devices=devices,
  )
  right = scores[: len(captions)] > scores[len(captions) :]
  kind, image = np.array(kinds), np.array(images)
  return {
    name: {
      one: _items(right[kind == one], image[kind == one])
      for one in sorted(set(kinds))
    }
  }


def _items(values: np.ndarray, pictures: np.ndarray) -> list[list[float]]:
  return [
    [float(value), int(picture)]
    for value, picture in zip(values, pictures, strict=True)
  ]


def _open(trained: study.Trained) -> tuple[loading.Network, Any]:
  """Returns a run's best checkpoint and the test split."""
  loaded = checkpoints.load(trained.path)
  config = trained.config
  data = opening.open_split(config.data, _SPLIT, config.extensions)
  return loading.open_network(loaded, config, data), data


# Names are used in studies and in the names of files.
MEASURES: Mapping[str, Callable[[study.Trained], Items]] = {
  'recall': recall_at_1,
  'foils': foils,
  'half_truths': half_truth_foils,
}
