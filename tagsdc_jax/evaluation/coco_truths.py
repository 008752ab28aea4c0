"""Crisscrossed Captions and ECCV Caption: more positives for COCO's test split.

Both list further captions that are true of an image, by COCO's ids. The lists
come with the optional package eccv-caption.
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tagsdc_jax import errors
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import equal_sentences, recall

# `t2i` and `i2t`: ids of captions -> ids of images, and vice versa.
Lists = dict[str, dict[int, list[int]]]
# As in coco_val2014_000000391895.npz.
_IMAGE = re.compile(r'(?:^|\D)(\d{12})(?:\.\w+)?$')


@dataclasses.dataclass(frozen=True)
class Queries:
  """Query captions or images, and the positives of each.

  Attributes:
    numbers: int [queries], their numbers in the split.
    positives: for each query, the numbers of its positives, ascending.
    num_relevant: int [queries], how many candidates are relevant; more than
      the positives if the split lacks some, which are then never found.
    twins: for each query int [n, 2], positives and other captions that are
      word for word the same; None if the candidates are images.
  """

  numbers: np.ndarray
  positives: list[np.ndarray]
  num_relevant: np.ndarray
  twins: list[np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Truths:
  """The queries of one protocol in both directions.

  Attributes:
    captions: queries whose positives are images.
    images: queries whose positives are captions.
    unknown_captions: int [n], captions that the lists do not judge; they are
      not candidates.
    unknown_images: int [n], likewise.
    equal: the same with equal sentences counted as right; None if there are
      none.
  """

  captions: Queries
  images: Queries
  unknown_captions: np.ndarray | tuple[int, ...] = ()
  unknown_images: np.ndarray | tuple[int, ...] = ()
  equal: 'Truths | None' = None


def load(name: str, data: dataset.RetrievalDataset) -> Truths:
  """Returns the positives of a split according to the package's lists.

  Args:
    name: 'cxc' or 'eccv'.
    data: COCO's test split of 5,000 images, under COCO's ids.
  Raises:
    UserError: if the package is missing, or this is another split.
  """
  lists = _lists(f'protocol {name}')
  return select(
    lists.coco_gts,
    lists.cxc_gts if name == 'cxc' else lists.eccv_gts,
    name,
    data,
  )


def karpathy_order(data: dataset.RetrievalDataset) -> np.ndarray:
  """Returns the images of COCO's test split in Karpathy's order, int [5000].

  Raises:
    UserError: if the package is missing, or this is another split.
  """
  what = "Karpathy's order"
  images = _image_numbers(what, data)
  lists = _lists(what)
  known = lists.coco_gts['t2i']
  ordered = list(dict.fromkeys(known[int(c)][0] for c in lists.coco_ids))
  if images.keys() != set(ordered):
    raise _other_split(
      what,
      data,
      'images',
      len(ordered),
      len(images.keys() & set(ordered)),
      len(images),
    )
  return np.array([images[image] for image in ordered])


def select(
  coco: Lists, truths: Lists, name: str, data: dataset.RetrievalDataset
) -> Truths:
  """Returns the package's truths by the split's numbers.

  Args:
    coco: `t2i` and `i2t` of COCO itself; lists every image of the split and
      five captions of each. Unlisted ones are left out: no annotator has
      judged whether they match other images or captions.
    truths: likewise, of the protocol.
    name: protocol's name for messages.
    data: the split.
  Raises:
    UserError: if ids are not COCO's, or some of COCO's are missing.
  """
  what = f'protocol {name}'
  images = _image_numbers(what, data)
  captions = _caption_numbers(coco['t2i'], what, data, images)
  for kind, numbers, known in (
    ('images', images, coco['i2t']),
    ('captions', captions, coco['t2i']),
  ):
    if not numbers.keys() >= known.keys():
      raise _other_split(
        what,
        data,
        kind,
        len(known),
        len(known.keys() & numbers.keys()),
        len(numbers),
      )
  known_captions, known_images = (
    {
      key: number
      for key, number in numbers.items()
      if key in coco[way]
      or key in truths[way]
      or any(key in right for right in truths[other].values())
    }
    for numbers, way, other in (
      (captions, 't2i', 'i2t'),
      (images, 'i2t', 't2i'),
    )
  )
  sentences = equal_sentences.find(data.captions)
  by_caption = _queries(truths['t2i'], captions, known_images)
  by_image = _queries(truths['i2t'], images, known_captions)
  no_captions, no_images = (
    np.setdiff1d(np.arange(number), list(known.values()))
    for number, known in (
      (len(data.captions), known_captions),
      (len(data.image_ids), known_images),
    )
  )
  by_image = dataclasses.replace(
    by_image, twins=[sentences.twins(own) for own in by_image.positives]
  )
  result = Truths(by_caption, by_image, no_captions, no_images)
  if not sentences.repeated:
    return result
  return dataclasses.replace(
    result,
    equal=Truths(
      _with_equal_captions(by_caption, sentences, data, no_captions, no_images),
      _widened(
        by_image,
        [
          np.setdiff1d(sentences.with_equal(own), no_captions)
          for own in by_image.positives
        ],
      ),
      no_captions,
      no_images,
    ),
  )


def recalls(scores: recall.Scores, truths: Truths) -> dict[str, Any]:
  """Returns recalls in percent; any of a query's positives counts as a hit.

  Returns:
    see `recall.with_means`; and `queries`, their number in each direction,
    `left_out`, the numbers of captions and images that are not candidates,
    `notes`, sentences to print, if any, and `equal_sentences`, see
    `recall.with_equal`.
  """

  def count(truths: Truths) -> dict[str, Any]:
    return recall.with_means(
      *(
        recall.recalls(
          np.concatenate(
            [
              recall.text_ranks(block.T, positives, twins)
              for block, positives, _, twins in parts
            ]
          )
        )
        for parts in _both(scores, truths)
      )
    )

  return _counted(scores, truths, count)


def precisions(scores: recall.Scores, truths: Truths) -> dict[str, Any]:
  """Returns `map_at_r`, `r_precision` and `r1` in both directions, in percent.

  Returns:
    `image_retrieval`, `text_retrieval`, see `recall.precision`; the rest as in
    `recalls`.
  """

  def count(truths: Truths) -> dict[str, Any]:
    found = []
    for parts in _both(scores, truths):
      values = [
        recall.precision(
          row, positives[i], numbers[i], None if twins is None else twins[i]
        )
        for block, positives, numbers, twins in parts
        for i, row in enumerate(block)
      ]
      found.append(
        {
          key: 100 * float(np.mean([v[key] for v in values]))
          for key in values[0]
        }
      )
    return dict(zip(recall.WAYS, found))

  return _counted(scores, truths, count)


# A block of queries: scores, float [queries, candidates], positives,
# num_relevant and twins.
_Part = tuple[np.ndarray, list[np.ndarray], list[int], list[np.ndarray] | None]


def _both(
  scores: recall.Scores, truths: Truths
) -> tuple[Iterator[_Part], Iterator[_Part]]:
  """Returns the caption and the image queries, each block by block."""

  def parts(queries: Queries, is_caption: bool) -> Iterator[_Part]:
    unknown = truths.unknown_images if is_caption else truths.unknown_captions
    num_candidates = scores.matrix.shape[int(is_caption)]
    for part in recall.blocks(len(queries.numbers), num_candidates):
      numbers = queries.numbers[part]
      block = scores.rows(numbers) if is_caption else scores.columns(numbers).T
      block[:, np.asarray(unknown, int)] = -np.inf
      yield (
        block,
        [queries.positives[i] for i in part],
        queries.num_relevant[part].tolist(),
        # With rounded scores, as in the release, every tie counts as a miss.
        None
        if queries.twins is None or scores.is_rounded
        else [queries.twins[i] for i in part],
      )

  return parts(truths.captions, True), parts(truths.images, False)


def _counted(
  scores: recall.Scores,
  truths: Truths,
  count: Callable[[Truths], dict[str, Any]],
) -> dict[str, Any]:
  result = count(truths)
  if truths.equal is not None and not scores.is_rounded:
    result = recall.with_equal(result, count(truths.equal))
  left_out = {
    'captions': len(truths.unknown_captions),
    'images': len(truths.unknown_images),
  }
  said = ' and '.join(f'{n:,} {kind}' for kind, n in left_out.items() if n)
  return (
    result
    | {
      'queries': {
        'image_retrieval': len(truths.captions.numbers),
        'text_retrieval': len(truths.images.numbers),
      },
      'left_out': left_out,
    }
    | (
      {'notes': [f'{said} that the lists do not contain were left out']}
      if said
      else {}
    )
  )


def _lists(what: str) -> Any:
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # It recommends ujson.
      import eccv_caption
  except ImportError as error:
    raise errors.UserError(
      f"{what} needs the package eccv-caption, which contains lists for COCO's "
      'test split; run: pip install "tagsdc_jax[eccv]"'
    ) from error
  return eccv_caption.Metrics()


def _image_numbers(what: str, data: dataset.RetrievalDataset) -> dict[int, int]:
  """Returns a map from COCO's image ids to the split's numbers."""
  images: dict[int, int] = {}
  for number, image_id in enumerate(data.image_ids):
    match = _IMAGE.search(image_id)
    if match is None:
      raise _not_coco(
        what, data, f'image {image_id!r}', 'as in coco_val2014_000000391895.npz'
      )
    if int(match[1]) in images:
      raise _not_coco(
        what,
        data,
        f'image {image_id!r} and {data.image_ids[images[int(match[1])]]!r}',
        'each number once',
      )
    images[int(match[1])] = number
  return images


def _caption_numbers(
  image_of: dict[int, list[int]],
  what: str,
  data: dataset.RetrievalDataset,
  images: dict[int, int],
) -> dict[int, int]:
  """Returns a map from COCO's caption ids to the split's numbers."""
  captions = {}
  for number, caption in enumerate(data.captions):
    if not caption.caption_id.isdecimal():
      raise _not_coco(
        what, data, f'caption {caption.caption_id!r}', 'a number such as 770337'
      )
    own = image_of.get(int(caption.caption_id))
    if own is not None and images.get(own[0]) != caption.image:
      raise _not_coco(
        what,
        data,
        f'caption {caption.caption_id} of image '
        f'{data.image_ids[caption.image]!r}',
        f'caption of image {own[0]}',
      )
    captions[int(caption.caption_id)] = number
  return captions


def _with_equal_captions(
  queries: Queries,
  sentences: equal_sentences.Sentences,
  data: dataset.RetrievalDataset,
  no_captions: np.ndarray,
  no_images: np.ndarray,
) -> Queries:
  """Returns captions that share their positives with equal captions."""
  listed = dict(zip(queries.numbers.tolist(), queries.positives))
  right = []
  for number, own in zip(queries.numbers, queries.positives):
    if int(sentences.numbers[number]) not in sentences.repeated:
      right.append(own)
      continue
    equal = np.setdiff1d(sentences.twins([number])[:, 1], no_captions)
    found = np.concatenate(
      [
        own,
        *(
          [data.captions[other].image, *listed.get(int(other), ())]
          for other in equal
        ),
      ]
    ).astype(int)
    right.append(np.setdiff1d(found, no_images))
  return _widened(queries, right)


def _widened(queries: Queries, positives: list[np.ndarray]) -> Queries:
  """Returns queries with additional positives."""
  added = [
    len(wide) - len(own)
    for own, wide in zip(queries.positives, positives, strict=True)
  ]
  return dataclasses.replace(
    queries,
    positives=positives,
    num_relevant=queries.num_relevant + added,
    twins=None,
  )


def _queries(
  truths: dict[int, list[int]], queries: dict[int, int], others: dict[int, int]
) -> Queries:
  positives = [
    np.array(sorted(others[p] for p in right if p in others), int)
    for right in truths.values()
  ]
  return Queries(
    np.array([queries[q] for q in truths]),
    positives,
    np.array([len(right) for right in truths.values()]),
  )


def _not_coco(
  what: str, data: dataset.RetrievalDataset, found: str, expected: str
) -> errors.UserError:
  return errors.UserError(
    f"{what} needs COCO's own ids, but {data.name} has {found}, "
    f"expected {expected}; pass COCO's test split under its own ids"
  )


def _other_split(
  what: str,
  data: dataset.RetrievalDataset,
  kind: str,
  expected: int,
  present: int,
  given: int,
) -> errors.UserError:
  return errors.UserError(
    f"{what} needs the {expected:,} {kind} of COCO's test split, "
    f'but {data.name} has {present:,} of them among {given:,}; pass that '
    'split'
  )
