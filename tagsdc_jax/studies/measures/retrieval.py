"""Recalls and foils: what a network ranks first, item by item."""

import numpy as np

from tagsdc_jax.data import opening
from tagsdc_jax.data.world import foils as world_foils
from tagsdc_jax.evaluation import recall, scored_pairs
from tagsdc_jax.foil_files import half_truths
from tagsdc_jax.runs import foil_sentences
from tagsdc_jax.studies.measures import items, networks

_SEED = 0


def recall_at_1(subject: networks.Subject) -> items.Items:
  """Returns whether each caption finds its image, and the other way round."""
  scores, data = subject.scores, subject.opened.data
  images = np.array([caption.image for caption in data.captions])
  image_ranks = recall.image_ranks(scores, images)
  with_captions, text_ranks = subject.text_ranks
  return {
    'image R@1': {items.ALL: items.items(image_ranks == 0, images)},
    'text R@1': {items.ALL: items.items(text_ranks == 0, with_captions)},
  }


def foils(subject: networks.Subject) -> items.Items:
  """Returns whether each caption outscores its foils, by kind.

  On the embedded world its own foils; on other data half-truths
  (foil_files/half_truths.py), which need phrases.
  """
  opened = subject.opened
  data = opened.data
  config = opened.network.settings
  if config.data.source == 'world':
    scenes = opening.load_scenes(config.data, networks.SPLIT)
    made = world_foils.make_foils(data, scenes, _SEED)
    own = [data.captions[one.caption] for one in made]
    return _foils(
      opened,
      'foils',
      [one.token_ids for one in own],
      [one.token_ids for one in made],
      [one.image for one in own],
      [one.kind for one in made],
    )
  return half_truth_foils(subject)


def half_truth_foils(subject: networks.Subject) -> items.Items:
  """Returns whether short true captions outscore longer half-truths."""
  opened = subject.opened
  data = opened.data
  made = half_truths.make(data, _SEED)
  sentences = foil_sentences.Sentences(
    data.vocabulary, opened.network.settings.model.max_positions - 2
  )
  numbers = {name: number for number, name in enumerate(data.image_ids)}
  kept = [
    one
    for one in made.items
    if sentences.fault_of((*one.captions, *one.foils)) is None
  ]
  return _foils(
    opened,
    'half-truths',
    [sentences.tokens(one.captions[0]) for one in kept],
    [sentences.tokens(one.foils[0]) for one in kept],
    [numbers[one.names[0]] for one in kept],
    [one.kind for one in kept],
  )


def _foils(
  opened: networks.Opened,
  name: str,
  captions: list[np.ndarray],
  false: list[np.ndarray],
  images: list[int],
  kinds: list[str],
) -> items.Items:
  scores = scored_pairs.score_sentences(
    opened.network.model,
    opened.params,
    opened.data,
    captions + false,
    images * 2,
    devices=opened.devices,
  )
  right = scores[: len(captions)] > scores[len(captions) :]
  kind, image = np.array(kinds), np.array(images)
  return {
    name: {
      one: items.items(right[kind == one], image[kind == one])
      for one in sorted(set(kinds))
    }
  }
