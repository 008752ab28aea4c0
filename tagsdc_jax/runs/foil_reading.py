"""What a network says of foils: scores, fluency, wrong words.

All of it with bars of the time left, on all devices but the words, and in steps
of fixed size.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from tagsdc_jax import settings
from tagsdc_jax.data import dataset
from tagsdc_jax.evaluation import scored_pairs
from tagsdc_jax.foil_files import records
from tagsdc_jax.models.retrieval import RetrievalModel
from tagsdc_jax.runs import blind_head, foil_sentences, reading
from tagsdc_jax.runtime import distributed, parallel, progress, watchdog

# Sentences between two updates of the progress bar.
_STEP = 512


@dataclasses.dataclass(frozen=True)
class Network:
  """A trained network on this process's devices.

  Attributes:
    settings: with the data's sizes.
    model: the network.
    params: replicated, with the matching head of their phase.
    phase: that trained them; 'dc' has word heads.
    devices: this process's.
    watch: ends a process of a multi-process run that hangs.
  """

  settings: settings.Settings
  model: RetrievalModel
  params: Any
  phase: str
  devices: list[jax.Device]
  watch: watchdog.Watch = watchdog.UNWATCHED


class Pair(NamedTuple):
  """A sentence and the number of its picture."""

  text: str
  image: int


class Judged(NamedTuple):
  """What stage 2's heads say of a foil; None if its word is not located.

  Attributes:
    is_found: whether its wrong word is the one most probably wrong.
    is_mended: whether the wrong word is corrected to the caption's.
  """

  is_found: bool | None
  is_mended: bool | None


def score(
  network: Network,
  data: dataset.RetrievalDataset,
  sentences: foil_sentences.Sentences,
  pairs: Iterable[Pair],
) -> dict[Pair, np.float32]:
  """Returns the raw matching score of each pair.

  All processes must call it with the same arguments; they divide the pairs.

  Args:
    network: what scores.
    data: the pictures.
    sentences: the tokens.
    pairs: at least one.
  Raises:
    UserError: if a score is not finite.
  """
  listed = list(dict.fromkeys(pairs))
  tokens = [sentences.tokens(pair.text) for pair in listed]
  images = [pair.image for pair in listed]
  left = scored_pairs.num_different(tokens, images)
  with progress.progress_bar(
    left, 'scoring foils', 'pairs', is_shown=distributed.is_first()
  ) as bar:

    def advance(number: int) -> None:
      nonlocal left
      # The other processes are assumed to score as many.
      step = min(number * jax.process_count(), left)
      left -= step
      bar.update(step)

    scores = scored_pairs.score_sentences(
      network.model,
      network.params,
      data,
      tokens,
      images,
      devices=network.devices,
      is_divided=True,
      progress=advance,
      watch=network.watch,
    )
    advance(left)
  return dict(zip(listed, scores, strict=True))


def read_fluency(
  network: Network,
  sentences: foil_sentences.Sentences,
  vocabulary: dataset.Vocabulary,
  texts: Iterable[str],
) -> dict[str, float]:
  """Returns the mean log-probability of each sentence's words.

  They are read without a picture, by the language head.

  Args:
    network: what reads.
    sentences: the tokens.
    vocabulary: of the tokens.
    texts: the sentences.
  """
  reader = blind_head.Reader(
    network.settings, network.params, vocabulary, network.devices
  )
  # Those of similar length together, to pad less.
  listed = sorted(set(texts), key=lambda x: (len(sentences.tokens(x)), x))
  found: dict[str, float] = {}
  with progress.progress_bar(
    len(listed),
    'reading without pictures',
    'sentences',
    is_shown=distributed.is_first(),
  ) as bar:
    for start in range(0, len(listed), _STEP):
      some = listed[start : start + _STEP]
      values = reader.log_probs([sentences.tokens(text) for text in some])
      found |= zip(some, map(float, values), strict=True)
      bar.update(len(some))
  return found


def read_words(
  network: Network,
  data: dataset.RetrievalDataset,
  sentences: foil_sentences.Sentences,
  foils: Sequence[tuple[records.Item, int, int]],
) -> list[Judged]:
  """Returns what stage 2's heads say of foils, on the first device.

  Args:
    network: of phase 'dc'.
    data: the pictures.
    sentences: the tokens.
    foils: item with its foil words, number of one of its foils, and number of
      its picture.
  """
  captions = [
    dataset.Caption(
      f'{place}',
      image,
      sentences.tokens(item.foils[number]),
      (),
      item.foils[number],
    )
    for place, (item, number, image) in enumerate(foils)
  ]
  reader = reading.Reader(
    network.settings,
    jax.device_put(parallel.first(network.params), network.devices[0]),
    dataclasses.replace(
      data,
      captions=captions,
      captions_of_image=dataset.group_captions(captions, len(data.image_ids)),
    ),
  )
  found = []
  with progress.progress_bar(
    len(foils),
    'reading words of foils',
    'sentences',
    is_shown=distributed.is_first(),
  ) as bar:
    for start in range(0, len(foils), _STEP):
      some = captions[start : start + _STEP]
      read = reader.read([(one, one.image) for one in some], with_words=True)
      assert read.replaced_probs is not None and read.corrections is not None
      for row, one in enumerate(some):
        # [CLS] comes first.
        inside = slice(1, 1 + len(one.token_ids))
        found.append(
          judge(
            sentences,
            *foils[start + row][:2],
            np.asarray(read.replaced_probs[row, inside]),
            np.asarray(read.corrections[row, inside]),
          )
        )
      bar.update(len(some))
  return found


def judge(
  sentences: foil_sentences.Sentences,
  item: records.Item,
  number: int,
  replaced_probs: np.ndarray,
  corrections: np.ndarray,
) -> Judged:
  """Returns whether a foil's wrong word is found, and mended.

  Args:
    sentences: the tokens.
    item: with its foil words.
    number: of the foil.
    replaced_probs: float [tokens], probability that each token is wrong; that
      of a word is its highest.
    corrections: int [tokens], the token in its place.
  """
  place = sentences.find(item, number)
  if place is None:
    return Judged(None, None)
  words = sentences.words(item.foils[number])
  chosen = words[int(np.argmax(replaced_probs))]
  return Judged(
    chosen in words[slice(*place)],
    sentences.restores(item, number, corrections[slice(*place)]),
  )
