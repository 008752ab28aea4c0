"""Crisscrossed Captions and ECCV Caption: what else is right on COCO's test.

Both list further captions that are true of an image, by COCO's ids. The lists
come with the package eccv-caption, which is an extra.
"""

import dataclasses
import re
import warnings
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import ranking, recall

# `t2i` and `i2t`: ids of captions to those of images, and the other way round.
Lists = dict[str, dict[int, list[int]]]
# As in coco_val2014_000000391895.npz.
_IMAGE = re.compile(r'(?:^|\D)(\d{12})(?:\.\w+)?$')


@dataclasses.dataclass(frozen=True)
class Queries:
  """Captions or images to search with, and what is right for each.

  Attributes:
    numbers: int [queries], of the split.
    positives: for each the right numbers of the other kind, ascending.
    num_relevant: int [queries], how many are right; more than the positives
      where the split lacks some, which are then never found.
  """
  numbers: np.ndarray
  positives: list[np.ndarray]
  num_relevant: np.ndarray


@dataclasses.dataclass(frozen=True)
class Truths:
  """Both ways of one protocol."""
  captions: Queries  # Whose positives are images.
  images: Queries  # Whose positives are captions.


def load(name: str, data: dataset.RetrievalDataset) -> Truths:
  """Returns what is right in a split, by the package's lists.

  Args:
    name: 'cxc' or 'eccv'.
    data: COCO's test split of 5,000 images, under COCO's ids.
  Raises:
    UserError: if the package is missing, or the split is another.
  """
  lists = _lists(name)
  return select(lists.coco_gts,
                lists.cxc_gts if name == 'cxc' else lists.eccv_gts, name, data)


def select(coco: Lists, truths: Lists, name: str,
           data: dataset.RetrievalDataset) -> Truths:
  """Returns the package's truths by the split's numbers.

  Args:
    coco: `t2i` and `i2t` of COCO itself; names every image of the split and
      five captions of each.
    truths: likewise, of the protocol.
    name: for messages.
    data: the split.
  Raises:
    UserError: if ids are not COCO's, or some of the split are missing.
  """
  images, captions = _numbers(coco['t2i'], name, data)
  if images.keys() != coco['i2t'].keys():
    raise _other_split(name, data, 'images', len(coco['i2t']),
                       len(coco['i2t'].keys() & images.keys()), len(images))
  if not captions.keys() >= coco['t2i'].keys():
    raise _other_split(name, data, 'captions', len(coco['t2i']),
                       len(coco['t2i'].keys() & captions.keys()),
                       len(captions))
  return Truths(_queries(truths['t2i'], captions, images),
                _queries(truths['i2t'], images, captions))


def recalls(scores: ranking.Scores, truths: Truths) -> dict[str, Any]:
  """Returns recalls, a hit being any of a query's positives; in per cent.

  Returns:
    see `recall.with_means`; and `queries`, how many there are of both kinds.
  """
  found = []
  for queries, is_row, other in _both(scores, truths):
    ranks = []
    for part in ranking.blocks(len(queries.numbers), other):
      numbers = queries.numbers[part]
      block = scores.rows(numbers).T if is_row else scores.columns(numbers)
      ranks.append(recall.text_ranks(
          block, [queries.positives[i] for i in part]))
    found.append(recall.recalls(np.concatenate(ranks)))
  return recall.with_means(*found) | _counts(truths)


def precisions(scores: ranking.Scores, truths: Truths) -> dict[str, Any]:
  """Returns `map_at_r`, `r_precision` and `r1` both ways, in per cent.

  Returns:
    `image_retrieval`, `text_retrieval`, see `recall.precision`; and `queries`.
  """
  found = []
  for queries, is_row, other in _both(scores, truths):
    values = []
    for part in ranking.blocks(len(queries.numbers), other):
      numbers = queries.numbers[part]
      block = scores.rows(numbers) if is_row else scores.columns(numbers).T
      values += [recall.precision(row, queries.positives[i],
                                  int(queries.num_relevant[i]))
                 for row, i in zip(block, part, strict=True)]
    found.append({key: 100 * float(np.mean([v[key] for v in values]))
                  for key in values[0]})
  return dict(zip(recall.WAYS, found)) | _counts(truths)


def _both(scores: ranking.Scores,
          truths: Truths) -> list[tuple[Queries, bool, int]]:
  return [(truths.captions, True, scores.matrix.shape[1]),
          (truths.images, False, scores.matrix.shape[0])]


def _counts(truths: Truths) -> dict[str, Any]:
  return {'queries': {'image_retrieval': len(truths.captions.numbers),
                      'text_retrieval': len(truths.images.numbers)}}


def _lists(name: str) -> Any:
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # It would rather have ujson.
      import eccv_caption
  except ImportError as error:
    raise errors.UserError(
        f'protocol {name} needs the package eccv-caption, whose lists say what '
        'is right; give: pip install "tagsdc_jax[eccv]"') from error
  return eccv_caption.Metrics()


def _numbers(image_of: dict[int, list[int]], name: str,
             data: dataset.RetrievalDataset
             ) -> tuple[dict[int, int], dict[int, int]]:
  """Returns COCO's ids of images and of captions -> the split's numbers."""
  images = {}
  for number, image_id in enumerate(data.image_ids):
    match = _IMAGE.search(image_id)
    if match is None:
      raise _not_coco(name, data, f'image {image_id!r}',
                      'as in coco_val2014_000000391895.npz')
    images[int(match[1])] = number
  captions = {}
  for number, caption in enumerate(data.captions):
    if not caption.caption_id.isdecimal():
      raise _not_coco(name, data, f'caption {caption.caption_id!r}',
                      'a number such as 770337')
    own = image_of.get(int(caption.caption_id))
    if own is not None and images.get(own[0]) != caption.image:
      raise _not_coco(
          name, data, f'caption {caption.caption_id} of image '
          f'{data.image_ids[caption.image]!r}', f'caption of image {own[0]}')
    captions[int(caption.caption_id)] = number
  return images, captions


def _queries(truths: dict[int, list[int]], queries: dict[int, int],
             others: dict[int, int]) -> Queries:
  positives = [np.array(sorted(others[p] for p in right if p in others))
               for right in truths.values()]
  return Queries(np.array([queries[q] for q in truths]), positives,
                 np.array([len(right) for right in truths.values()]))


def _not_coco(name: str, data: dataset.RetrievalDataset, found: str,
              expected: str) -> errors.UserError:
  return errors.UserError(
      f'protocol {name} needs COCO\'s own ids, but {data.name} has {found}, '
      f'expected {expected}; give COCO\'s test split under its own ids')


def _other_split(name: str, data: dataset.RetrievalDataset, what: str,
                 expected: int, present: int, given: int) -> errors.UserError:
  return errors.UserError(
      f'protocol {name} needs the {expected:,} {what} of COCO\'s test split, '
      f'but {data.name} has {present:,} of them among {given:,}; give that '
      'split')
