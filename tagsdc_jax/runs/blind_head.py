"""A blind baseline: the language head reads sentences without the picture.

Every word is masked in turn, and the head reads its probability from the other
words. The mean over a sentence is the pseudo-log-likelihood of Salazar et al.
(2020), per word. The head has never read a sentence without its picture, so
this says whether negatives can be told by their words, not how well a language
model could.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from tagsdc_jax import arrays, settings
from tagsdc_jax.data import captions as captions_lib
from tagsdc_jax.data import dataset
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.runs import device_rows, setup
from tagsdc_jax.runtime import parallel

# Sentences per device and call.
_ROWS = 128
# Programs are compiled for sentences padded to a multiple of this.
_STEP = 16


class Reader:
  """Reads log-probabilities of words with one network."""

  def __init__(
    self,
    config: settings.Settings,
    params: Any,
    vocabulary: dataset.Vocabulary,
    devices: Sequence[jax.Device],
  ) -> None:
    """Uses a network.

    Args:
      config: settings with the data's sizes.
      params: parameters, replicated over the devices.
      vocabulary: of the sentences.
      devices: this process's.
    """
    self._params, self._vocabulary = params, vocabulary
    self._devices = tuple(devices)
    self._engine = setup.make_engine(
      engines.Task(
        model=setup.make_model(config),
        settings=config,
        mask_id=vocabulary.mask,
        random_range=vocabulary.random_range,
        score_buckets=(),
      )
    )
    self._longest = config.model.max_positions

  def of_words(
    self, texts: Sequence[np.ndarray], words: Sequence[tuple[int, int]]
  ) -> Float32[np.ndarray, 'words']:
    """Returns the log-probability of each word in its sentence.

    Args:
      texts: token ids of each sentence, without [CLS] and [SEP]; none exceeds
        the network's positions.
      words: index of a sentence, and a position in it.
    """
    found = np.zeros(len(words), np.float32)
    if not words:
      return found
    wanted = max(len(texts[i]) for i, _ in words) + 2
    length = min(-(-wanted // _STEP) * _STEP, self._longest)
    mask = self._vocabulary.mask

    def make(rows: np.ndarray) -> tuple[np.ndarray, ...]:
      own = [words[i] for i in rows]
      token_ids = np.stack(
        [
          captions_lib.pad_caption(texts[i], length - 2, self._vocabulary)
          for i, _ in own
        ]
      )
      places = np.array([place + 1 for _, place in own], np.int32)
      every = np.arange(len(own))
      labels = token_ids[every, places]
      token_ids[every, places] = mask
      lengths = np.array([len(texts[i]) + 2 for i, _ in own], np.int32)
      return token_ids, lengths, places, labels

    for rows, values in device_rows.run(
      _program(self._engine, self._devices),
      self._params,
      make,
      len(words),
      _ROWS,
      self._devices,
    ):
      found[rows] = values
    return found

  def accuracy(
    self, captions: Sequence[str], foils: Sequence[str], kinds: Sequence[str]
  ) -> dict[str, float]:
    """Returns how often the caption is more plausible than its foil.

    Args:
      captions: true sentences; at least one.
      foils: false ones, one per caption.
      kinds: of the foils.
    Returns:
      kind, or 'all' -> percent; ties count half, so 50 is chance.
    """
    locate = captions_lib.make_locator(self._vocabulary)
    longest = self._longest - 2
    texts = [locate(text)[0][:longest] for text in (*captions, *foils)]
    true, false = np.split(self.log_probs(texts), 2)
    right = (true > false) + (true == false) / 2
    own = np.array(kinds)
    return {'all': 100 * float(right.mean())} | {
      kind: 100 * float(right[own == kind].mean()) for kind in sorted({*kinds})
    }

  def log_probs(
    self, texts: Sequence[np.ndarray]
  ) -> Float32[np.ndarray, 'sentences']:
    """Returns the mean log-probability of the words of each sentence.

    Args:
      texts: see `of_words`; each has at least one word.
    """
    words = [
      (number, place)
      for number, text in enumerate(texts)
      for place in range(len(text))
    ]
    sums = np.zeros(len(texts), np.float32)
    np.add.at(
      sums, [number for number, _ in words], self.of_words(texts, words)
    )
    return sums / np.array([max(len(text), 1) for text in texts], np.float32)


@functools.lru_cache(maxsize=8)
def _program(own: engines.Engine, devices: tuple[jax.Device, ...]) -> Any:
  def read(params: Any, rows: tuple[jax.Array, ...]) -> jax.Array:
    """Returns log-probabilities, float32 [rows]."""
    token_ids, lengths, places, labels = rows
    texts = own.embed_text(params, arrays.Texts(token_ids, lengths))
    count, _, width = texts.states.shape
    nothing = engines.Embedded(
      jnp.zeros((count, 0, width), texts.states.dtype),
      jnp.zeros(count, jnp.int32),
    )
    states = own.encode(
      params, texts, nothing, num_outputs=token_ids.shape[1], dropout_key=None
    )
    hidden = jnp.take_along_axis(states, places[:, None, None], axis=1)[:, 0]
    logits = own.read(params, 'mlm_logits', hidden).astype(jnp.float32)
    return jnp.take_along_axis(
      jax.nn.log_softmax(logits), labels[:, None], axis=1
    )[:, 0]

  return parallel.pmap_function(read, devices)
