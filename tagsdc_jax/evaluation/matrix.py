"""Scores of all captions against all images, in tiles of static shape.

Host memory does not grow with the number of images: it is used for the
captions and for the features and scores of three parts each; see `host_bytes`.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.engines import engine, pair_tokens
from tagsdc_jax.engines.packed import scoring
from tagsdc_jax.evaluation import equal_sentences, recall, tiles
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runtime import distributed, parallel, watchdog

Progress = Callable[[int], None]  # Takes the number of pairs just scored.
# Image number -> the captions to score against it, int [n].
Wanted = Callable[[int], np.ndarray]
# Tiles dispatched to the devices before the first result is awaited.
_TILES_AHEAD = 4
# Features: in transfer to the devices, prefetched, being read. Scores: being
# filled, in transfer, being written.
_PARTS_HELD = 3
_Item = TypeVar('_Item')
_Read = TypeVar('_Read')


def score_matrix(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  config: settings.Evaluation,
  *,
  devices: list[jax.Device],
  progress: Progress = lambda pairs: None,
) -> np.ndarray:
  """Returns all raw matching scores in memory, float32 [captions, images].

  Processes divide the parts among them and must all call this with the same
  arguments; each gets all scores.

  Args: see `score_parts`; `config` holds the tile sizes.
  """
  plan = tiles.make_plan(data, config, len(devices))
  store = InMemory(plan, len(data.captions))
  fill(
    store,
    model,
    params,
    data,
    plan,
    own_parts(plan),
    devices=devices,
    progress=progress,
  )
  return store.joined()


class Store(Protocol):
  """Collects finished parts: `InMemory` or `ScoreCache` (on disk)."""

  def save(self, part: int, scores: np.ndarray) -> None:
    """Takes a part, see `score_parts`."""

  def joined(self) -> np.ndarray:
    """Returns the scores of all processes, float32 [captions, images]."""


class InMemory:
  """A `Store` in memory; all processes must call `joined`."""

  def __init__(self, plan: tiles.Plan, num_captions: int) -> None:
    self._images = plan.images
    self._scores = np.zeros((num_captions, plan.images.max() + 1), np.float32)

  def save(self, part: int, scores: np.ndarray) -> None:
    """See `Store`."""
    self._scores[:, self._images[part].reshape(-1)] = scores.T

  def joined(self) -> np.ndarray:
    """See `Store`."""
    # No image is in two parts, so every sum has only one nonzero term.
    return distributed.add_up(self._scores)


def own_parts(plan: tiles.Plan) -> list[int]:
  """Returns this process's share of the parts, in scoring order."""
  return tiles.spread(len(plan.images))[
    jax.process_index() :: jax.process_count()
  ]


def fill(
  store: Store,
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  plan: tiles.Plan,
  parts: Sequence[int],
  *,
  devices: list[jax.Device],
  wanted: Wanted | None = None,
  progress: Progress = lambda pairs: None,
  watch: watchdog.Watch = watchdog.UNWATCHED,
) -> None:
  """Scores parts and saves each when it is finished.

  Args: see `score_parts`; `watch` stops a distributed process that hangs here.
  """
  with watch.during(watchdog.SCORING) as go_on:

    def advance(pairs: int) -> None:
      go_on()
      progress(pairs)

    for part, scores in score_parts(
      model,
      params,
      data,
      plan,
      parts,
      devices=devices,
      wanted=wanted,
      progress=advance,
    ):
      store.save(part, scores)


def score_parts(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  plan: tiles.Plan,
  parts: Sequence[int],
  *,
  devices: list[jax.Device],
  wanted: Wanted | None = None,
  progress: Progress = lambda pairs: None,
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields parts of the matrix as they are finished.

  Every device keeps a group of images, embedded once, and scores it against
  all groups of texts. A tile is computed at the shortest bucket that fits it,
  real tokens first, and the last layer for [CLS] only.

  Args:
    model: the network.
    params: its parameters, replicated over the devices.
    data: the split, any number of captions per image.
    plan: made for the same number of devices.
    parts: numbers of the parts, in the order of computation.
    devices: this process's devices.
    wanted: returns at least one caption for every image; None scores all.
    progress: called after every tile.
  Yields:
    the part's number and its raw scores, float32 [devices * tile_images,
    captions], a row for each of `plan.images[part]`; -inf if not wanted. Equal
    captions have bitwise equal scores.
  Raises:
    UserError: if a score is not finite.
  """
  if not parts:
    return
  table = parallel.replicate(
    assembling.texts(
      data, range(len(data.captions)), int(plan.text_lengths.max()) - 2
    ),
    devices,
  )
  first_rows = plan.images.shape[2] * np.arange(len(devices))[:, None]
  first, again = equal_sentences.find(data.captions).repetitions()
  block = None
  for part, tile, result, is_last in ahead(
    _started(model, params, data, plan, parts, table, devices, wanted),
    _TILES_AHEAD,
  ):
    if block is None:
      block = np.full(
        (plan.images[part].size, len(data.captions)), -np.inf, np.float32
      )
    columns = np.take_along_axis(tile.texts, tile.text_rows, axis=1)
    rows, scores = first_rows + tile.image_rows, parallel.gather(result)
    if not np.all(np.isfinite(scores)):
      place = tuple(np.argwhere(~np.isfinite(scores))[0])
      raise recall.not_finite(
        data,
        scores[place],
        int(columns[place]),
        int(plan.images[part].reshape(-1)[rows[place]]),
      )
    block[rows, columns] = scores
    progress(tile.num_pairs)
    if is_last:
      # Equal captions may have been padded to different lengths.
      block[:, again] = block[:, first]
      yield part, block
      block = None


def host_bytes(plan: tiles.Plan, data: dataset.RetrievalDataset) -> int:
  """Returns the peak host memory of scoring by parts, in bytes.

  Excludes the data set's own captions, and JAX and its programs.
  """
  captions, images = len(data.captions), plan.images[0].size
  longest, regions = plan.text_lengths.max(), plan.image_lengths.max()
  # The table counts twice: the original, and the copy on CPU devices.
  of_captions = 2 * captions * longest * 4
  features = (
    images * regions * (data.feature_size * data.feature_dtype.itemsize + 7 * 4)
  )
  return int(of_captions + _PARTS_HELD * (features + images * captions * 4))


@dataclasses.dataclass(frozen=True)
class _Tile:
  """Pairs that are scored together, M on each device.

  Attributes:
    length: padded length.
    texts: int32 [devices, a], caption numbers.
    text_rows: int32 [devices, M], index of each pair's caption in `texts`.
    image_rows: int32 [devices, M], index among the device's images.
    num_pairs: number of pairs without repetitions.
  """

  length: int
  texts: np.ndarray
  text_rows: np.ndarray
  image_rows: np.ndarray
  num_pairs: int


def _started(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  plan: tiles.Plan,
  parts: Sequence[int],
  table: arrays.Texts,
  devices: list[jax.Device],
  wanted: Wanted | None,
) -> Iterator[tuple[int, _Tile, jax.Array, bool]]:
  """Yields (part, tile, scores, is last of its part), dispatching each tile."""
  embed = _embed_program(model, tuple(devices))
  for part, images in zip(parts, _read(data, plan, parts), strict=True):
    embedded = embed(params, parallel.put(images, devices))
    listed = list(
      _all_tiles(plan, part)
      if wanted is None
      else _wanted_tiles(data, plan, part, wanted)
    )
    for tile in listed:
      score = _tile_program(model, tuple(devices), tile.length)
      rows = parallel.put(
        (tile.texts, tile.text_rows, tile.image_rows), devices
      )
      yield (
        part,
        tile,
        score(params, table, embedded, *rows),
        tile is listed[-1],
      )


def _read(
  data: dataset.RetrievalDataset, plan: tiles.Plan, parts: Sequence[int]
) -> Iterator[arrays.Images]:
  """Yields each part's images, [devices, tile_images, ...], prefetched."""
  most = int(plan.image_lengths.max())

  def read(part: int) -> arrays.Images:
    return jax.tree.map(
      lambda x: x.reshape(*plan.images.shape[1:], *x.shape[1:]),
      assembling.images(data, plan.images[part].reshape(-1), most),
    )

  return read_ahead(read, parts)


def read_ahead(
  read: Callable[[_Item], _Read], items: Iterable[_Item]
) -> Iterator[_Read]:
  """Yields what is read for each item, prefetching one in a thread."""
  # Not grain: the benchmark runs with only JAX and few packages installed.
  with futures.ThreadPoolExecutor(1) as thread:
    yield from (
      reading.result()
      for reading in ahead((thread.submit(read, item) for item in items), 1)
    )


def ahead(items: Iterable[_Item], number: int) -> Iterator[_Item]:
  """Yields the items, consuming `number` more ahead of each."""
  taken: collections.deque[_Item] = collections.deque()
  for item in items:
    taken.append(item)
    if len(taken) > number:
      yield taken.popleft()
  yield from taken


def _all_tiles(plan: tiles.Plan, part: int) -> Iterator[_Tile]:
  """Yields a tile per group of texts, pairing each text with each image."""
  num_devices, num_images = plan.images.shape[1:]
  num_texts = plan.texts.shape[1]
  text_rows, image_rows = (
    np.tile(rows.astype(np.int32), (num_devices, 1))
    for rows in (
      np.repeat(np.arange(num_texts), num_images),
      np.tile(np.arange(num_images), num_texts),
    )
  )
  different = len(np.unique(plan.images[part]))
  for group in tiles.spread(len(plan.texts)):
    texts = plan.texts[group].astype(np.int32)
    yield _Tile(
      plan.bucket_of(plan.text_lengths[group] + plan.image_lengths[part]),
      np.tile(texts, (num_devices, 1)),
      text_rows,
      image_rows,
      len(np.unique(texts)) * different,
    )


def _wanted_tiles(
  data: dataset.RetrievalDataset, plan: tiles.Plan, part: int, wanted: Wanted
) -> Iterator[_Tile]:
  """Yields tiles of single pairs, sorted by length on each device."""
  size = plan.tile_rows
  lists = []
  for images in plan.images[part]:
    captions = [wanted(int(i)) for i in images]
    rows = np.repeat(np.arange(len(images)), [len(c) for c in captions])
    texts = np.concatenate(captions)
    lengths = (
      np.array([len(data.captions[t].token_ids) + 2 for t in texts])
      + data.num_regions[images[rows]]
    )
    order = np.argsort(lengths, kind='stable')
    lists.append((lengths[order], texts[order], rows[order]))
  most = max(len(lengths) for lengths, *_ in lists)
  for start in range(0, most, size):
    # A shorter list repeats its last pair.
    places = [
      np.minimum(np.arange(start, start + size), len(lengths) - 1)
      for lengths, *_ in lists
    ]
    lengths, texts, rows = (
      np.stack([columns[i][p] for columns, p in zip(lists, places)])
      for i in range(3)
    )
    yield _Tile(
      plan.bucket_of(int(lengths.max())),
      texts.astype(np.int32),
      np.tile(np.arange(size, dtype=np.int32), (len(lists), 1)),
      rows.astype(np.int32),
      sum(max(0, min(size, len(columns[0]) - start)) for columns in lists),
    )


@functools.lru_cache(maxsize=32)
def _embed_program(
  model: RetrievalModel, devices: tuple[jax.Device, ...]
) -> Callable:
  def embed(params: Any, images: arrays.Images) -> engine.Embedded:
    states = retrieval.apply(
      model, params, 'embed_image', images.features, images.boxes
    )
    return engine.Embedded(states, images.num_regions)

  return parallel.pmap_function(embed, devices)


@functools.lru_cache(maxsize=256)
def _tile_program(
  model: RetrievalModel, devices: tuple[jax.Device, ...], length: int
) -> Callable:
  def score_tile(
    params: Any,
    table: arrays.Texts,
    images: engine.Embedded,
    texts: jax.Array,
    text_rows: jax.Array,
    image_rows: jax.Array,
  ) -> jax.Array:
    """Returns float32 [M]."""
    states = retrieval.apply(
      model, params, 'embed_text', table.token_ids[texts, :length]
    )
    embedded = engine.Embedded(states, table.num_tokens[texts])
    pairs = pair_tokens.make_pairs(embedded, images, text_rows, image_rows)
    return scoring.score_joined(
      model,
      params,
      *pair_tokens.join(pair_tokens.stack(embedded, images), pairs, length),
    )

  return parallel.pmap_function(score_tile, devices)
