"""Robustness: captions of a picture among sentences written against them."""

import collections
from collections.abc import Iterable

import numpy as np

from tagsdc_jax.data import opening
from tagsdc_jax.data.world import oracle
from tagsdc_jax.studies.measures import items, networks

# Attack sentences added per picture.
NUMBERS = (0, 1, 5, 10, 20, 50, 100, 200, 400)
_SEED = 0


def attacks(subject: networks.Subject) -> items.Items:
  """Returns ranks of the right caption among test captions and attacks.

  Each picture is compared with all captions of the split, and with k sentences
  written from its own captions. Static attacks are written by the network that
  training started from, dynamic ones by the network itself. On the world those
  that the oracle finds true of the picture are left out.
  """
  opened = subject.opened
  found: items.Items = {}
  for kind, written in (
    ('static', networks.write(opened, networks.open_test(subject.start))),
    ('dynamic', subject.written),
  ):
    found |= _ranks(kind, subject, _by_picture(opened, written))
  return found


def _by_picture(
  opened: networks.Opened, written: Iterable[networks.Captioned]
) -> dict[int, np.ndarray]:
  """Returns the scores of every picture's attacks, in random order."""
  config = opened.network.settings.data
  scenes = (
    opening.load_scenes(config, networks.SPLIT)
    if config.source == 'world'
    else None
  )
  sentences: dict[int, dict[bytes, float]] = collections.defaultdict(dict)
  for one in written:
    for tokens, score in zip(one.sentences, one.scores, strict=True):
      if scenes is not None and (
        oracle.judge_ids(tokens, scenes[one.image]) == 'still true'
      ):
        continue
      sentences[one.image][tokens.tobytes()] = float(score)
  return {
    image: np.random.default_rng([_SEED, image]).permutation(
      [own[key] for key in sorted(own)]
    )
    for image, own in sentences.items()
  }


def _ranks(
  kind: str, subject: networks.Subject, sentences: dict[int, np.ndarray]
) -> items.Items:
  """Returns R@1 and the mean rank for every number of attacks."""
  captions_of_image = subject.opened.data.captions_of_image
  pictures, ranks = subject.text_ranks
  found = []
  for image, rank in zip(pictures, ranks, strict=True):
    best = subject.scores[captions_of_image[image], image].max()
    # Ties count against the model, as in evaluation.
    is_above = sentences.get(image, np.zeros(0)) >= best
    for number in NUMBERS:
      place = 1 + rank + np.sum(is_above[:number])
      found += [
        (f'text R@1, {kind}, k = {number}', place == 1, image),
        (f'mean rank, {kind}, k = {number}', place, image),
      ]
  return items.join(found)
