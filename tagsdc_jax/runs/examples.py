"""Runs a trained network on a few pictures and captions of the test split.

They are drawn once per data set with a fixed seed, spread over the split, and
never selected by their results.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import captions, dataset, opening
from tagsdc_jax.data.world import scenes
from tagsdc_jax.evaluation import equal_sentences, matrix, recall
from tagsdc_jax.models import retrieval
from tagsdc_jax.reporting.page import content
from tagsdc_jax.runs import example_negatives, loading, pictures, setup
from tagsdc_jax.runtime import parallel, progress
from tagsdc_jax.training import checkpoints, head_init

NUM_PICTURES, NUM_CAPTIONS, NUM_TOP = 6, 4, 3
# Larger splits are scored in part; the embedded world has 1000.
MAX_SCORED = 1000
_SEED = 0
_PICTURES, _OTHERS, _CAPTIONS = 0, 1, 2  # Streams of random numbers.


def gather(checkpoint: Path) -> content.Examples:
  """Returns the results of the checkpoint's network on examples.

  Args:
    checkpoint: a run folder (its best checkpoint) or a checkpoint.
  Raises:
    UserError: if there is no checkpoint, or its data is missing.
  """
  loaded = checkpoints.load(checkpoint)
  config = checkpoints.settings_of(loaded)
  data = opening.open_split(config.data, 'test', config.extensions)
  config, model = loading.open_model(loaded, config, data)
  setup.check_positions(config.model, data)
  phase, update = loaded.about['phase'], loaded.about['update']
  params = head_init.matching_parameters(loaded.parameters, phase)
  shown = choose_images(data, NUM_PICTURES, _PICTURES)
  scored = choose_captions(data, shown, MAX_SCORED)
  scores = _score(model, params, part_of(data, shown, scored), config)
  return content.Examples(
    phase=phase,
    update=update,
    data_name=data.name,
    pictures=[
      rank_captions(
        data, i, scored, column, pictures.read(config.data, data, 'test', i)
      )
      for i, column in zip(shown, scores.T, strict=True)
    ],
    negatives=_negatives(config, params, data, update),
    num_captions=len(scored),
    all_captions=len(data.captions),
    has_oracle=config.data.source == 'world',
  )


def choose_images(
  data: dataset.RetrievalDataset, count: int, stream: int
) -> list[int]:
  """Returns numbers of images that have captions, spread over the split.

  Args:
    data: the split.
    count: the number of images; fewer if the split has fewer.
    stream: the stream of random numbers.
  """
  rng = np.random.default_rng([_SEED, stream])
  usable = [i for i, own in enumerate(data.captions_of_image) if own]
  stretches = np.array_split(usable, min(count, len(usable)))
  return [int(rng.choice(stretch)) for stretch in stretches]


def choose_captions(
  data: dataset.RetrievalDataset, images: Sequence[int], most: int
) -> list[int]:
  """Returns the captions to score: all, or those of the images and others.

  Args:
    data: the split.
    images: the images to show.
    most: the maximum number, but all captions of the images are included.
  """
  count = len(data.captions)
  if count <= most:
    return list(range(count))
  own = [c for i in images for c in data.captions_of_image[i]]
  others = np.setdiff1d(np.arange(count), own)
  rng = np.random.default_rng([_SEED, _OTHERS])
  drawn = rng.choice(others, max(0, most - len(own)), replace=False)
  return sorted([*own, *map(int, drawn)])


def part_of(
  data: dataset.RetrievalDataset,
  images: Sequence[int],
  caption_numbers: Sequence[int],
) -> dataset.RetrievalDataset:
  """Returns a data set of some images and captions, in the given order.

  Captions whose images are left out keep the numbers of those images: scoring
  reads only the tokens of captions.
  """
  places = {caption: row for row, caption in enumerate(caption_numbers)}
  return dataclasses.replace(
    data,
    captions=[data.captions[c] for c in caption_numbers],
    image_ids=[data.image_ids[i] for i in images],
    image_keys=[data.image_keys[i] for i in images],
    captions_of_image=[
      tuple(places[c] for c in data.captions_of_image[i]) for i in images
    ],
    read_regions=lambda row: data.read_regions(images[row]),
    num_regions=data.num_regions[np.array(images)],
  )


def rank_captions(
  data: dataset.RetrievalDataset,
  image: int,
  scored: Sequence[int],
  scores: np.ndarray,
  picture: content.Picture,
) -> content.PictureExample:
  """Returns the top captions for an image, and the best of its own.

  Args:
    data: the split.
    image: the image's number.
    scored: numbers of the scored captions, including its own.
    scores: float32 [captions], raw matching scores with the image.
    picture: the image to show.
  """
  own = [
    row
    for row, number in enumerate(scored)
    if data.captions[number].image == image
  ]

  def caption(row: int, rank: int) -> content.RankedCaption:
    found = data.captions[scored[row]]
    return content.RankedCaption(
      found.text or captions.to_words(found.token_ids, data.vocabulary),
      rank,
      example_negatives.sigmoid(scores[row]),
      row in own,
    )

  twins = equal_sentences.find(
    [data.captions[number] for number in scored]
  ).twins(own)
  # As in the recalls, ties count against the model, except those with another
  # image's caption that equals one of its own word for word.
  is_twin = np.isin(np.arange(len(scored)), twins[:, 1])
  order = np.lexsort((is_twin, -scores))[:NUM_TOP]
  best = own[int(np.argmax(scores[own]))]
  rank = int(recall.text_ranks(scores[:, None], [own], [twins])[0]) + 1
  return content.PictureExample(
    picture,
    [caption(int(row), place + 1) for place, row in enumerate(order)],
    caption(best, rank),
  )


def _score(
  model: retrieval.RetrievalModel,
  params: dict,
  data: dataset.RetrievalDataset,
  config: settings.Settings,
) -> np.ndarray:
  # One device, because the run may have had more than this machine has. One
  # image per tile, so that the bar moves.
  devices = parallel.local_devices(1)
  # Few buckets, because there is little to score with each program.
  tiles = dataclasses.replace(config.evaluation, tile_images=1, num_buckets=2)
  pairs = len(data.captions) * len(data.image_ids)
  with progress.progress_bar(pairs, 'example pictures', 'pairs') as bar:
    return matrix.score_matrix(
      model,
      parallel.replicate(params, devices),
      data,
      tiles,
      devices=devices,
      progress=bar.update,
    )


def _negatives(
  config: settings.Settings,
  params: dict,
  data: dataset.RetrievalDataset,
  update: int,
) -> list[content.NegativesExample]:
  rng = np.random.default_rng([_SEED, _CAPTIONS, 1])
  numbers = [
    int(rng.choice(data.captions_of_image[i]))
    for i in choose_images(data, NUM_CAPTIONS, _CAPTIONS)
  ]
  maker = example_negatives.Maker(config, params, data, update)
  known = _scenes(config.data)
  found = []
  with progress.progress_bar(
    len(numbers), 'example negatives', 'captions'
  ) as bar:
    for number in numbers:
      image = data.captions[number].image
      found.append(
        maker.make(
          number,
          pictures.read(config.data, data, 'test', image),
          known[image] if known else None,
        )
      )
      bar.update(1)
  return found


def _scenes(config: settings.Data) -> list[scenes.Scene]:
  if config.source != 'world':
    return []
  return opening.load_scenes(config, 'test')
