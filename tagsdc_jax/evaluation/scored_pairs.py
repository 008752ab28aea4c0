"""Scores a list of (sentence, image) pairs with arbitrary sentences."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays
from tagsdc_jax.data import assembling, captions, dataset
from tagsdc_jax.engines import engine
from tagsdc_jax.engines.packed import scoring
from tagsdc_jax.models import retrieval
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runtime import parallel

_CHUNK = 128


def score_sentences(
  model: RetrievalModel,
  params: Any,
  data: dataset.RetrievalDataset,
  sentences: Sequence[np.ndarray],
  image_numbers: Sequence[int],
  *,
  devices: list[jax.Device],
) -> np.ndarray:
  """Returns raw matching scores, float32 [M].

  Args:
    model: the network.
    params: its parameters, replicated over the devices.
    data: the split with the images.
    sentences: M rows of token ids without [CLS] and [SEP].
    image_numbers: M images of `data`, one per sentence.
    devices: this process's devices; the pairs are divided among them.
  """
  longest = max(len(s) for s in sentences)
  token_ids = np.stack(
    [captions.pad_caption(s, longest, data.vocabulary) for s in sentences]
  ).astype(np.int32)
  lengths = np.array([len(s) + 2 for s in sentences], np.int32)
  used, places = np.unique(np.asarray(image_numbers), return_inverse=True)
  images = assembling.images(data, used, int(np.max(data.num_regions)))
  count, num_devices = len(sentences), len(devices)
  # Padding rows repeat the last pair; they are dropped at the end.
  rows = np.minimum(
    np.arange(-(-count // num_devices) * num_devices), count - 1
  ).reshape(num_devices, -1)
  texts = arrays.Texts(token_ids[rows], lengths[rows])
  scores = _program(model, tuple(devices))(
    params,
    parallel.put(texts, devices),
    parallel.put(places[rows].astype(np.int32), devices),
    parallel.replicate(images, devices),
  )
  return parallel.gather(scores).reshape(-1)[:count]


@functools.lru_cache(maxsize=8)
def _program(
  model: RetrievalModel, devices: tuple[jax.Device, ...]
) -> Callable:
  def score(
    params: Any, texts: arrays.Texts, places: jax.Array, images: arrays.Images
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
    width = texts.token_ids.shape[-1] + images.boxes.shape[-2]
    rows = jnp.arange(len(places))
    return scoring.score_pairs(
      model,
      params,
      embedded_texts,
      embedded_images,
      rows,
      places,
      jnp.ones(len(places), bool),
      buckets=(width,),
      num_tokens=_CHUNK * width,
    )

  return parallel.pmap_function(score, devices)
