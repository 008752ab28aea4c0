"""Calibrates scores on a held-out split: is a sentence true of its picture?

True are the captions of a picture; false, retrieved captions of other
pictures, and generated sentences. Some of the latter are true nevertheless,
which makes the probabilities somewhat low.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import calibration
from tagsdc_jax.runs import sentence_batches, sentence_programs
from tagsdc_jax.runtime import parallel, progress

# Captions, one per picture; generated and retrieved sentences of each.
_CAPTIONS = 400
_GENERATED = 16
_RETRIEVED = 8
_SEED = 0


def calibrate(
  batches: sentence_batches.Batches,
  writer: sentence_programs.Programs,
  judge: sentence_programs.Programs,
) -> dict[str, Any]:
  """Returns the calibration of a network's scores, for the header.

  Fitted on every other picture, and tested on the rest.

  Args:
    batches: of the held-out split.
    writer: writes the generated sentences.
    judge: scores.
  Returns:
    `weights` of a `calibration.Calibration`; `split`; `true`, `generated` and
    `retrieved`, numbers of sentences; and `calibration.reliability`.
  Raises:
    UserError: if there are fewer than four pictures with captions.
  """
  data = batches.data
  pictures = _spread([i for i, own in enumerate(data.captions_of_image) if own])
  if len(pictures) < 4:
    raise errors.UserError(
      f'{data.name} has {len(pictures)} pictures with captions, and '
      'calibrating needs at least 4; pass --max-true 1, which keeps all, or '
      'prepare a larger split'
    )
  numbers = [data.captions_of_image[image][0] for image in pictures]
  known = _known(data, numbers)
  rng = np.random.default_rng([_SEED, 1])
  found: list[tuple[int, str, float, float]] = []
  with progress.progress_bar(
    2 * len(numbers), 'calibrating', 'captions'
  ) as bar:
    place = 0
    for group in sentence_batches.write(batches, writer, [judge], numbers):
      for one in group:
        own, scores = one.scores[0, 0], one.scores[0, 1:]
        valid = rng.permutation(np.flatnonzero(one.is_valid))[:_GENERATED]
        found += [(place, 'generated', own, scores[i]) for i in valid]
        found.append((place, 'own', own, own))
        place += 1
      bar.update(len(group))
    for start in range(0, len(numbers), batches.positives):
      rows = numbers[start : start + batches.positives]
      scored = _score(batches, judge, rows, [known[i][1] for i in rows])
      for offset, (number, own) in enumerate(zip(rows, scored, strict=True)):
        kinds = known[number][0]
        found += [
          (start + offset, kind, own[0], score)
          for kind, score in zip(kinds, own[1 : 1 + len(kinds)], strict=True)
        ]
      bar.update(len(rows))
  return _fitted(data.name, found)


def _fitted(
  name: str, found: Sequence[tuple[int, str, float, float]]
) -> dict[str, Any]:
  place = np.array([one[0] for one in found])
  kind = np.array([one[1] for one in found])
  own, scores = (np.array([one[i] for one in found]) for i in (2, 3))
  # The lead of a caption over itself says nothing: others are needed.
  has_lead = bool(np.any(kind == 'other'))
  is_used = kind != ('own' if has_lead else 'other')
  halves = [
    calibration.Sample(
      scores[rows], own[rows], np.isin(kind[rows], ('own', 'other')), has_lead
    )
    for rows in (is_used & (place % 2 == 0), is_used & (place % 2 == 1))
  ]
  function = calibration.fit(halves[0])
  count = lambda *kinds: int(np.sum(is_used & np.isin(kind, kinds)))
  return {
    'weights': dataclasses.asdict(function),
    'split': name,
    'true': count('own', 'other'),
    'generated': count('generated'),
    'retrieved': count('retrieved'),
    **calibration.reliability(function, halves[1]),
  }


def _spread(pictures: Sequence[int]) -> list[int]:
  places = np.linspace(0, len(pictures) - 1, min(_CAPTIONS, len(pictures)))
  return [pictures[i] for i in np.unique(places.astype(int))]


def _known(
  data: dataset.RetrievalDataset, numbers: Sequence[int]
) -> dict[int, tuple[list[str], list[np.ndarray]]]:
  """Returns other captions of each caption's picture, and of other pictures."""
  rng = np.random.default_rng([_SEED, 2])
  known = {}
  for number in numbers:
    image = data.captions[number].image
    own = [c for c in data.captions_of_image[image] if c != number]
    drawn = rng.integers(len(data.captions), size=_RETRIEVED).tolist()
    others = [c for c in drawn if data.captions[c].image != image]
    known[number] = (
      ['other'] * len(own) + ['retrieved'] * len(others),
      [data.captions[c].token_ids for c in [*own, *others]],
    )
  return known


def _score(
  batches: sentence_batches.Batches,
  judge: sentence_programs.Programs,
  rows: Sequence[int],
  sentences: Sequence[Sequence[np.ndarray]],
) -> np.ndarray:
  """Returns scores of captions and sentences, [rows, 1 + sentences]."""
  count = batches.shapes.max_references - 1 + _RETRIEVED
  padded = np.resize(np.arange(len(rows)), batches.positives).tolist()
  texts, is_there = batches.texts([sentences[i] for i in padded], count)
  repeat = lambda x: np.broadcast_to(x, (len(batches.devices), *x.shape))
  _, made = batches.make([list(rows)])
  return parallel.gather(
    judge.score(
      *parallel.put(
        (made, jax.tree.map(repeat, texts), repeat(is_there)), batches.devices
      )
    )
  )[0, : len(rows)]
