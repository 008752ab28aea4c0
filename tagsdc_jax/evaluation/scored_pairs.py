"""Scores a list of (sentence, image) pairs with arbitrary sentences.

Pairs are sorted by image and scored in steps of static shape, so that memory
does not grow with their number and one program is compiled.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, errors
from tagsdc_jax.data import assembling, captions, dataset
from tagsdc_jax.engines import engine
from tagsdc_jax.engines.packed import scoring
from tagsdc_jax.evaluation import matrix
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runtime import distributed, parallel, watchdog

# Sentences and images of a step on each device, at most.
_SENTENCES, _IMAGES = 512, 64
_CHUNK = 128
# Pairs are padded to these eighths of the longest possible one. Not chosen from
# the lengths, so that splits of one data set share a program.
_EIGHTHS = (4, 5, 6, 7, 8)
# Steps dispatched to the devices before the first result is awaited.
_STEPS_AHEAD = 2


def score_sentences(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  sentences: Sequence[np.ndarray],
  image_numbers: Sequence[int] | np.ndarray,
  *,
  devices: list[jax.Device],
  is_divided: bool = False,
  progress: matrix.Progress = lambda pairs: None,
  watch: watchdog.Watch = watchdog.UNWATCHED,
) -> np.ndarray:
  """Returns raw matching scores, float32 [M].

  Equal pairs are scored once, and the scores do not depend on the order of the
  pairs.

  Args:
    model: the network.
    params: its parameters, replicated over the devices.
    data: the split with the images.
    sentences: M rows of token ids without [CLS] and [SEP].
    image_numbers: M images of `data`, one per sentence.
    devices: this process's devices; the pairs are divided among them.
    is_divided: whether processes divide the pairs; then all must call this with
      the same arguments, and each gets all scores.
    progress: called with the number of different pairs just scored.
    watch: ends a process of a multi-process run that hangs.
  Raises:
    UserError: if a score is not finite.
  """
  if not len(sentences):
    return np.zeros(0, np.float32)
  keys = _keys(sentences, image_numbers)
  pairs = sorted(set(keys))
  scores = np.zeros(len(pairs), np.float32)
  images = [image for image, _ in pairs]
  size = min(_SENTENCES, len(pairs)), min(_IMAGES, len(set(images)))
  own = _steps(images, *size)
  if is_divided:
    own = own[jax.process_index() :: jax.process_count()]
  with watch.during(watchdog.SCORING) as go_on:
    for rows, result in matrix.ahead(
      _started(model, params, data, pairs, own, size, devices), _STEPS_AHEAD
    ):
      found = parallel.gather(result)
      for step, values in zip(rows, found):
        scores[step.start : step.stop] = values[: len(step)]
        progress(len(step))
      go_on()
  if is_divided:
    with watch.waiting():
      # No pair is in two steps, so every sum has only one nonzero term.
      scores = distributed.add_up(scores)
  if not np.all(np.isfinite(scores)):
    wrong = int(np.argmin(np.isfinite(scores)))
    raise _not_finite(data, scores[wrong], *pairs[wrong])
  place = {pair: number for number, pair in enumerate(pairs)}
  return scores[[place[key] for key in keys]]


def num_different(
  sentences: Sequence[np.ndarray], image_numbers: Sequence[int] | np.ndarray
) -> int:
  """Returns the number of different pairs; see `score_sentences`."""
  return len(set(_keys(sentences, image_numbers)))


def _keys(
  sentences: Sequence[np.ndarray], image_numbers: Sequence[int] | np.ndarray
) -> list[tuple[int, bytes]]:
  """Returns pairs by what determines their scores."""
  return [
    (int(image), np.asarray(tokens, np.int32).tobytes())
    for image, tokens in zip(image_numbers, sentences, strict=True)
  ]


def _steps(
  images: Sequence[int], num_sentences: int, num_images: int
) -> list[range]:
  """Returns consecutive rows of at most so many sentences and images."""
  steps, start, seen = [], 0, 0
  for row, image in enumerate(images):
    is_new = row == start or image != images[row - 1]
    if row - start == num_sentences or (is_new and seen == num_images):
      steps.append(range(start, row))
      start, seen, is_new = row, 0, True
    seen += is_new
  return [*steps, range(start, len(images))]


def _started(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  pairs: Sequence[tuple[int, bytes]],
  own: Sequence[range],
  size: tuple[int, int],
  devices: list[jax.Device],
) -> Iterator[tuple[Sequence[range], jax.Array]]:
  """Yields (rows on each device, their scores), dispatching each step."""
  longest = max(len(tokens) for _, tokens in pairs) // 4
  most = int(np.max(data.num_regions))
  width = longest + 2 + most
  program = _program(
    model,
    tuple(devices),
    tuple(sorted({-(-width * part // 8) for part in _EIGHTHS})),
  )

  def read(rows: Sequence[range]) -> Any:
    made = [
      _inputs(data, [pairs[row] for row in step], longest, most)
      for step in rows
    ]
    # Devices without rows in the last step get those of the first again.
    made += [made[0]] * (len(devices) - len(made))
    return jax.tree.map(
      lambda *x: np.stack(x), *(_padded(*one, *size) for one in made)
    )

  groups = [
    own[start : start + len(devices)]
    for start in range(0, len(own), len(devices))
  ]
  for rows, inputs in zip(groups, matrix.read_ahead(read, groups), strict=True):
    yield rows, program(params, *parallel.put(inputs, devices))


def _inputs(
  data: dataset.RetrievalDataset,
  pairs: Sequence[tuple[int, bytes]],
  longest: int,
  most: int,
) -> tuple[arrays.Texts, arrays.Images, np.ndarray]:
  """Returns the texts and images of pairs, and the image of each text."""
  rows = [np.frombuffer(tokens, np.int32) for _, tokens in pairs]
  texts = arrays.Texts(
    np.stack([captions.pad_caption(r, longest, data.vocabulary) for r in rows]),
    np.array([len(row) + 2 for row in rows], np.int32),
  )
  used, places = np.unique([image for image, _ in pairs], return_inverse=True)
  return texts, assembling.images(data, used, most), places.astype(np.int32)


def _padded(
  texts: arrays.Texts,
  images: arrays.Images,
  places: np.ndarray,
  num_rows: int,
  num_images: int,
) -> tuple[arrays.Texts, arrays.Images, np.ndarray, np.ndarray]:
  """Returns the arrays with the first text and image repeated, and a mask."""

  def pad(number: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x[np.arange(number) * (np.arange(number) < len(x))]

  return (
    jax.tree.map(pad(num_rows), texts),
    jax.tree.map(pad(num_images), images),
    pad(num_rows)(places),
    np.arange(num_rows) < len(places),
  )


@functools.lru_cache(maxsize=8)
def _program(
  model: RetrievalModel,
  devices: tuple[jax.Device, ...],
  buckets: tuple[int, ...],
) -> Callable:
  def score(
    params: Any,
    texts: arrays.Texts,
    images: arrays.Images,
    places: jax.Array,
    is_needed: jax.Array,
  ) -> jax.Array:
    """Returns float32 [m]."""
    embedded_texts = engine.Embedded(
      retrieval.apply(model, params, 'embed_text', texts.token_ids),
      texts.num_tokens,
    )
    embedded_images = engine.Embedded(
      retrieval.apply(
        model, params, 'embed_image', images.features, images.boxes
      ),
      images.num_regions,
    )
    return scoring.score_pairs(
      model,
      params,
      embedded_texts,
      embedded_images,
      jnp.arange(len(places)),
      places,
      is_needed,
      buckets=buckets,
      num_tokens=_CHUNK * buckets[-1],
    )

  return parallel.pmap_function(score, devices)


def _not_finite(
  data: dataset.RetrievalDataset, score: float, image: int, tokens: bytes
) -> errors.UserError:
  ids = np.frombuffer(tokens, np.int32)
  return errors.UserError(
    f'scores must be finite, got {score} for the sentence '
    f'{captions.to_words(ids, data.vocabulary)!r} and image '
    f"{data.image_ids[image]} of {data.name}; the network's activations "
    'overflow there, or in a pair scored together with it: give other weights, '
    'or check these region features'
  )
