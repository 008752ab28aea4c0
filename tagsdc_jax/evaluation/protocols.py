"""Evaluation protocols: which candidates each query is ranked against."""

import dataclasses
import functools
import math
import numbers
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tagsdc_jax import errors, extensions, settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import coco_truths, equal_sentences, recall

FOLD_IMAGES = 1000


@dataclasses.dataclass(frozen=True)
class Counting:
  """Computes recalls with the quirks that the settings choose."""

  quirks: settings.Quirks = settings.Quirks()

  def rounded(self, scores: recall.Scores) -> recall.Scores:
    """Returns the scores, rounded if the settings say so."""
    return dataclasses.replace(scores, is_rounded=self.quirks.float16_scores)

  def recalls(
    self, scores: recall.Scores, data: dataset.RetrievalDataset
  ) -> dict[str, Any]:
    """Returns recalls among all captions and images."""
    return self.recalls_of(
      scores,
      np.array([c.image for c in data.captions]),
      data.captions_of_image,
      equal_sentences.find(data.captions),
    )

  def recalls_of(
    self,
    scores: recall.Scores,
    image_of_text: np.ndarray,
    captions_of_image: Sequence[Sequence[int]],
    sentences: equal_sentences.Sentences,
  ) -> dict[str, Any]:
    """Returns what `recall.evaluate_scores` returns, with these quirks."""
    return recall.evaluate_scores(
      scores,
      image_of_text,
      captions_of_image,
      sentences,
      image_recalls=(
        recall.overcounted_recalls
        if self.quirks.overcounted_recall
        else recall.recalls
      ),
    )


Protocol = Callable[
  [recall.Scores, dataset.RetrievalDataset, Counting], dict[str, Any]
]


def prepare(
  names: Sequence[str], data: dataset.RetrievalDataset, folder: str = ''
) -> dict[str, Protocol]:
  """Returns the named protocols, bound to a split.

  Args:
    names: keys of PROTOCOLS, or module:function of a user's `Protocol`.
    data: the split to score.
    folder: the setting `extensions`, for a user's own protocols.
  Raises:
    UserError: if a protocol does not exist or does not apply to the split, or
      a package is missing.
  """
  found = {
    name: extensions.find(name, PROTOCOLS, '--protocol', folder)
    for name in names
  }
  return {
    name: (
      functools.partial(_call_own, name, protocol)
      if extensions.is_own(name)
      else protocol(name, data)
    )
    for name, protocol in found.items()
  }


def count(
  scores: recall.Scores,
  data: dataset.RetrievalDataset,
  quirks: settings.Quirks,
  chosen: Mapping[str, Protocol] = types.MappingProxyType({}),
) -> dict[str, Any]:
  """Returns recalls on the whole split, and the protocols' results.

  Args:
    scores: of the split.
    data: the split.
    quirks: how scores are rounded and hits counted.
    chosen: from `prepare`.
  Returns:
    what `recall.evaluate_scores` returns; `split`, its name; `captions` and
    `images`, their numbers; `chance`, see `recall.chance`; and `protocols`, a
    result per name, if any are chosen.
  Raises:
    UserError: if a score is not finite, or a protocol fails.
  """
  counting = Counting(quirks)
  scores = counting.rounded(scores)
  scores.check(data)
  result = counting.recalls(scores, data) | {
    'split': data.name,
    'captions': len(data.captions),
    'images': len(data.image_ids),
    'chance': recall.chance(
      len(data.image_ids), [len(own) for own in data.captions_of_image]
    ),
  }
  if chosen:
    result['protocols'] = {
      name: protocol(scores, data, counting)
      for name, protocol in chosen.items()
    }
  return result


def _call_own(name: str, protocol: Protocol, *args: Any) -> dict[str, Any]:
  """Returns the result of a user's protocol as plain Python numbers."""
  found = extensions.call(protocol, f'--protocol {name}', *args)
  if not isinstance(found, dict):
    raise errors.UserError(
      f'--protocol {name} must return a dict of numbers by name, got '
      f'{type(found).__name__}'
    )
  return _plain(name, found)


def _plain(name: str, counted: dict[str, Any]) -> dict[str, Any]:
  """Returns a possibly nested dict of numbers that JSON can represent."""
  plain: dict[str, Any] = {}
  for key, value in counted.items():
    if isinstance(value, dict):
      plain[str(key)] = _plain(name, value)
    elif isinstance(value, numbers.Real) and math.isfinite(value):
      plain[str(key)] = (
        int(value) if isinstance(value, numbers.Integral) else float(value)
      )
    else:
      raise errors.UserError(
        f'--protocol {name} must return finite numbers, got '
        f'{" ".join(str(value).split())[:80]} for {key}'
      )
  return plain


def _whole(num_images: int) -> Callable[..., Protocol]:
  def make(name: str, data: dataset.RetrievalDataset) -> Protocol:
    if len(data.image_ids) != num_images:
      raise errors.UserError(
        f'protocol {name} needs {num_images:,} images, but {data.name} has '
        f'{len(data.image_ids):,}; omit --protocol to rank the split as it is'
      )
    return lambda scores, data, counted: counted.recalls(scores, data)

  return make


def _folds(name: str, data: dataset.RetrievalDataset) -> Protocol:
  check_folds(name, data, FOLD_IMAGES)
  facts: dict[str, Any] = {}
  order = np.arange(len(data.image_ids))
  if len(order) > FOLD_IMAGES:
    try:
      order = coco_truths.karpathy_order(data)
      facts = {'order': 'karpathy'}
    except errors.UserError as error:
      facts = {
        'order': 'data',
        'notes': [
          'the folds follow the order of the images in the data, which '
          f'affects the numbers: {error}'
        ],
      }
  for fold, images in enumerate(np.split(order, len(order) // FOLD_IMAGES)):
    if not any(len(data.captions_of_image[image]) for image in images):
      raise errors.UserError(
        f'protocol {name} is the mean over folds of {FOLD_IMAGES:,} images, '
        f'but no image of fold {fold} of {data.name} has a caption; omit '
        '--protocol to rank the split as it is'
      )
  return lambda scores, data, counted: (
    mean_of_folds(scores, data, counted, FOLD_IMAGES, order) | facts
  )


def check_folds(name: str, data: dataset.RetrievalDataset, size: int) -> None:
  """Raises UserError unless the split divides into folds of `size` images."""
  if not data.image_ids or len(data.image_ids) % size:
    raise errors.UserError(
      f'protocol {name} is the mean over folds of {size:,} images, but '
      f'{data.name} has {len(data.image_ids):,}, not a multiple of it; pass '
      "a split that is, such as COCO's test split of 5,000"
    )


def mean_of_folds(
  scores: recall.Scores,
  data: dataset.RetrievalDataset,
  counted: Counting,
  size: int,
  order: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns the mean recalls over folds of the images.

  Args:
    scores: of the split.
    data: the split.
    counted: how recalls are computed.
    size: images per fold; divides the images.
    order: image numbers, fold by fold; None for the order of the data.
  Returns:
    see `recall.evaluate_scores`; and `folds`, their number.
  """
  if order is None:
    order = np.arange(len(data.image_ids))
  sentences = equal_sentences.find(data.captions)
  found = []
  for images in np.split(order, len(order) // size):
    groups = [data.captions_of_image[image] for image in images]
    counts = [len(group) for group in groups]
    ends = np.cumsum(counts)
    captions = np.concatenate(groups).astype(int)
    found.append(
      counted.recalls_of(
        scores.subset(captions, images),
        np.repeat(np.arange(size), counts),
        [range(end - count, end) for end, count in zip(ends, counts)],
        sentences.subset(captions),
      )
    )

  def mean(results: list[dict[str, Any]]) -> dict[str, Any]:
    return recall.with_means(
      *(
        {
          key: float(np.mean([result[way][key] for result in results]))
          for key in results[0][way]
        }
        for way in recall.WAYS
      )
    )

  return recall.with_equal(
    mean(found), mean([fold.get('equal_sentences', fold) for fold in found])
  ) | {'folds': len(found)}


def _truths(name: str, data: dataset.RetrievalDataset) -> Protocol:
  truths = coco_truths.load(name, data)
  count = coco_truths.precisions if name == 'eccv' else coco_truths.recalls
  return lambda scores, data, counted: count(scores, truths)


PROTOCOLS: dict[str, Callable[[str, dataset.RetrievalDataset], Protocol]] = {
  'flickr_1k': _whole(1000),
  'coco_1k': _folds,
  'coco_5k': _whole(5000),
  'cxc': _truths,
  'eccv': _truths,
}
