"""metrics.npz: recalls of recorded score matrices, including ties."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tagsdc_jax.comparison import items
from tagsdc_jax.comparison.recordings import Recordings
from tagsdc_jax.evaluation import recall

FILE, MAPS = 'metrics.npz', 'metrics_maps.json'
# Recalls are ratios of integers; only the last digit may differ.
EXACT = 1e-9
Captions = Sequence[Sequence[int]]


def compare(recordings: Recordings) -> Iterator[items.Item]:
  """Yields items for every matrix; `as_released` counts like the release."""
  recorded = recordings.arrays(FILE)
  maps = recordings.json(MAPS) if (recordings.folder / MAPS).exists() else {}
  for name in recorded.groups():
    arrays = recorded.under(f'{name}/')
    owner = arrays['gt_image_column']
    if name in maps:
      yield items.equal(
        FILE,
        f'{name}/gt_image_column',
        _owner_of(maps[name]),
        owner,
        note=f'from {MAPS}',
      )
    ties = recordings.entry(FILE).get('results', {}).get(f'{name}/ties')
    yield from _matrix(name, arrays, owner, ties)


def _owner_of(maps: dict[str, Any]) -> np.ndarray:
  """Returns the image column of every text row."""
  columns = {image: i for i, image in enumerate(maps['img_ids'])}
  owner = {
    text: columns[image]
    for image, texts in maps['img2txts'].items()
    if image in columns
    for text in texts
  }
  return np.array(
    [
      owner[text] if columns[maps['txt2img'][text]] == owner[text] else -1
      for text in maps['txt_ids']
    ]
  )


def _matrix(
  name: str,
  arrays: dict[str, np.ndarray],
  owner: np.ndarray,
  ties: dict[str, Any] | None,
) -> Iterator[items.Item]:
  scores = arrays['scores'].astype(np.float32)
  captions = captions_of(owner, scores.shape[1])
  own = ranks(scores, owner, captions)
  best = ranks(favored(scores, owner), owner, captions)
  # The release orders ties arbitrarily; ours is the worst case.
  has_ties = any(np.any(a != b) for a, b in zip(own, best))
  chosen = own
  if 'topk_images' in arrays and 'topk_texts' in arrays:
    tops = arrays['topk_images'], arrays['topk_texts'].T
    for way, matrix, top in zip(('images', 'texts'), (scores, scores.T), tops):
      sorted_scores = -np.sort(-matrix, axis=1)[:, : top.shape[1]]
      yield items.equal(
        FILE,
        f'{name}/topk_{way}',
        sorted_scores,
        np.take_along_axis(matrix, top, axis=1),
        note='scores at these positions',
      )
    theirs = _ranks_of(*tops, owner)
    for way, least, rank, most in zip(('images', 'texts'), best, theirs, own):
      limit = max(recall.CUTOFFS)
      yield items.equal(
        FILE,
        f'{name}/topk_{way}, ranks',
        np.clip(rank, np.minimum(least, limit), np.minimum(most, limit)),
        rank,
        note='between our ranks with all ties won and all ties lost',
      )
    chosen = theirs if has_ties else own
  note = 'ties in the recorded order' if has_ties else ''
  for key, count, variant in (
    ('result_corrected', recall.recalls, 'fixed'),
    ('result', recall.overcounted_recalls, 'as_released'),
  ):
    if key in arrays:
      yield items.close(
        FILE,
        f'{name}/{key}',
        as_recorded(count(chosen[0]), recall.recalls(chosen[1])),
        arrays[key],
        atol=EXACT,
        variant=variant,
        note=note,
      )
  if 'image_retrieval_overcount' in arrays:
    extra = [
      (recall.overcounted_recalls(chosen[0])[key] - value) * len(owner) / 100
      for key, value in recall.recalls(chosen[0]).items()
    ]
    yield items.equal(
      FILE,
      f'{name}/image_retrieval_overcount',
      np.round(extra, 6),
      arrays['image_retrieval_overcount'],
      variant='as_released',
      note=note,
    )
  yield from _bounds(name, own, best, ties)


def _bounds(
  name: str,
  own: tuple[np.ndarray, np.ndarray],
  best: tuple[np.ndarray, np.ndarray],
  ties: dict[str, Any] | None,
) -> Iterator[items.Item]:
  """Compares the manifest's recalls with all ties lost and all ties won."""
  for bound, ranked in (('pessimistic', own), ('optimistic', best)):
    for way, rank in zip(('image', 'text'), ranked):
      key = f'{way}_retrieval_{bound}'
      if ties and key in ties:
        yield items.close(
          FILE,
          f'{name}/ties/{key}',
          np.array([value / 100 for value in recall.recalls(rank).values()]),
          np.array(ties[key]),
          atol=EXACT,
        )


def captions_of(owner: np.ndarray, num_images: int) -> Captions:
  """Returns the rows of each image's captions."""
  return [tuple(np.flatnonzero(owner == image)) for image in range(num_images)]


def ranks(
  scores: np.ndarray, owner: np.ndarray, captions: Captions
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the ranks of each caption's image and of each image's captions."""
  return (
    recall.image_ranks(scores, owner),
    recall.text_ranks(scores, captions),
  )


def favored(scores: np.ndarray, owner: np.ndarray) -> np.ndarray:
  """Returns scores with true pairs one float higher, so they win all ties."""
  rows = np.arange(len(owner))
  scores = np.array(scores)
  scores[rows, owner] = np.nextafter(scores[rows, owner], np.float32(np.inf))
  return scores


def as_recorded(
  images: dict[str, float], texts: dict[str, float]
) -> np.ndarray:
  """Returns recalls in the recorded order, as fractions, float64 [9]."""
  values = [np.array(list(way.values())) / 100 for way in (texts, images)]
  means = [np.mean(x) for x in values]
  return np.array([*values[0], means[0], *values[1], means[1], np.mean(means)])


def _ranks_of(
  top_images: np.ndarray, top_texts: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns ranks from recorded orders; the last rank if not among them."""
  is_image = top_images == owner[:, None]
  has_captions = np.unique(owner)  # The others have no rank.
  is_text = owner[top_texts[has_captions]] == has_captions[:, None]
  return tuple(  # type: ignore[return-value]
    np.where(hit.any(axis=1), hit.argmax(axis=1), hit.shape[1])
    for hit in (is_image, is_text)
  )
