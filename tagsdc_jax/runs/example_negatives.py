"""Hard negatives that a network writes for a caption, and its judgment of them.

They are made as in training and by the same code: masking, refilling with the
run's K, S, temperature and dropout rate, scoring without dropout. Only the
captions are from the test split.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, errors, settings
from tagsdc_jax.data import assembling, captions, dataset, phrases
from tagsdc_jax.data.world import oracle
from tagsdc_jax.data.world.scenes import Scene
from tagsdc_jax.engines import engine
from tagsdc_jax.negatives import built_in, mask_refill, mining, source
from tagsdc_jax.negatives import candidates as candidates_of
from tagsdc_jax.reporting.page import content
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys

NUM_SHOWN = 8


class Found(NamedTuple):
  """The hardest sentences of one caption, hardest first."""

  token_ids: arrays.Array  # int32 [H, L]
  num_tokens: arrays.Array  # int32 [H], [CLS] and [SEP] included
  logits: arrays.Array  # float32 [H]
  is_filled: arrays.Array  # bool [H]: there is such a sentence
  own_logit: arrays.Array  # float32 [], the caption's
  num_valid: arrays.Array  # int32 []
  replaced_probs: arrays.Array | None  # float32 [H, L], stage 2
  corrections: arrays.Array | None  # int32 [H, L], stage 2


class Maker:
  """Makes negatives of captions with one compiled program."""

  def __init__(
    self,
    config: settings.Settings,
    params: Any,
    data: dataset.RetrievalDataset,
    update: int,
    sources: tuple[source.Source, ...] = (),
    num_shown: int = NUM_SHOWN,
  ) -> None:
    """Creates the program.

    Args:
      config: with the data's sizes.
      params: parameters.
      data: the split; every caption fits the positions.
      update: the checkpoint's; draws are a function of it.
      sources: that write; () for `writers`.
      num_shown: H, how many of a caption's sentences at most.
    """
    self._config, self._params, self._data = config, params, data
    self._shapes = assembling.shapes_of(data)
    self._update = update
    self._sources = sources or writers(config)
    self._num_shown = num_shown
    self._model = setup.make_model(config)
    self._programs: dict[int, Callable[..., Found]] = {}

  def find(self, caption: dataset.Caption, number: int, seed: int = 0) -> Found:
    """Returns the hardest sentences of a caption, as numpy arrays.

    Args:
      caption: of the split or of the user's own, of an image of the split; it
        fits the positions. The program is compiled for the split's longest
        caption, and for every longer one.
      number: draws are a function of it.
      seed: added to the run's.
    """
    own, length = self._shapes, len(caption.token_ids)
    shapes = dataclasses.replace(
      own,
      max_tokens=max(own.max_tokens, length),
      max_phrases=max(own.max_phrases, phrases.num_phrases(caption)),
    )
    return jax.tree.map(
      np.asarray,
      self._program(shapes.max_tokens + 2 + shapes.max_regions)(
        self._params,
        self._batch(caption, shapes),
        keys.micro_batch_keys(
          self._config.seed + seed, jnp.int32(self._update), jnp.int32(number)
        ),
      ),
    )

  def _program(self, width: int) -> Callable[..., Found]:
    """Returns the program for pairs of at most `width` tokens and regions."""
    if width not in self._programs:
      vocabulary = self._data.vocabulary
      task = engine.Task(
        model=self._model,
        settings=self._config,
        mask_id=vocabulary.mask,
        random_range=vocabulary.random_range,
        score_buckets=(width,),
      )
      self._programs[width] = jax.jit(
        functools.partial(
          _find_hardest, setup.make_engine(task), self._sources, self._num_shown
        )
      )
    return self._programs[width]

  def make(
    self, number: int, picture: content.Picture, scene: Scene | None
  ) -> content.NegativesExample:
    """Returns a caption's negatives.

    Args:
      number: the caption's number.
      picture: the picture of its image.
      scene: for the oracle; None if there is none.
    """
    data, config = self._data, self._config
    hardest = self.find(data.captions[number], number)
    caption, text = (
      data.captions[number].token_ids,
      data.captions[number].text,
    )
    inside = slice(1, 1 + len(caption))
    negatives = []
    for row in np.flatnonzero(hardest.is_filled):
      sentence = hardest.token_ids[row, inside]
      probs, corrections = (
        None if x is None else x[row, inside]
        for x in (hardest.replaced_probs, hardest.corrections)
      )
      negatives.append(
        content.Negative(
          to_words(sentence, caption, data.vocabulary, probs, corrections),
          sigmoid(hardest.logits[row]),
          oracle.judge_ids(sentence, scene) if scene else None,
        )
      )
    negative_config = config.negatives
    return content.NegativesExample(
      picture,
      text,
      to_words(caption, caption, data.vocabulary),
      sigmoid(hardest.own_logit),
      negatives,
      negative_config.num_copies * negative_config.num_samples,
      int(hardest.num_valid),
    )

  def _batch(
    self, caption: dataset.Caption, shapes: assembling.Shapes
  ) -> arrays.MicroBatch:
    """Returns a micro-batch of one caption; its pool is never read."""
    data = dataclasses.replace(self._data, captions=[caption])
    images = [caption.image]
    texts = assembling.texts(data, [0], shapes.max_tokens)
    regions = assembling.images(data, images, shapes.max_regions)
    return arrays.MicroBatch(
      seed=np.uint32(0),
      number=np.int32(0),
      texts=texts,
      images=regions,
      phrase_counts=assembling.phrase_counts(data, [0], shapes),
      phrase_kinds=assembling.phrase_kinds(data, [0], shapes),
      # A custom sentence is not among its image's captions.
      references=np.concatenate(
        [
          assembling.references(self._data, images, shapes),
          texts.token_ids[:, None],
        ],
        axis=1,
      ),
      pool_texts=texts,
      pool_images=regions,
      caption_numbers=np.zeros(1, np.int32),
      image_numbers=np.array(images, np.int32),
    )


def writers(
  config: settings.Settings, names: tuple[str, ...] = ()
) -> tuple[source.Source, ...]:
  """Returns sources that write.

  Args:
    config: settings, which locate the user's files.
    names: see `source.find`; (): those of the settings, else `mask_refill`.
  Raises:
    UserError: if a name is unknown, or that of a source that retrieves.
  """
  if not names:
    return tuple(one for one in built_in.of_settings(config) if one.writes) or (
      mask_refill.MASK_REFILL,
    )
  found = source.find(names, built_in.BUILT_IN, config)
  for name, one in zip(names, found, strict=True):
    if not one.writes:
      raise errors.UserError(
        f'source must be one that generates sentences, got {name!r}, which '
        'retrieves captions or images'
      )
  return found


def to_words(
  sentence: np.ndarray,
  caption: np.ndarray,
  vocabulary: dataset.Vocabulary,
  replaced_probs: np.ndarray | None = None,
  corrections: np.ndarray | None = None,
) -> list[content.Word]:
  """Returns the tokens of a sentence in human-readable form.

  Args:
    sentence: int [length], without [CLS], [SEP] and padding.
    caption: int [length], the original caption.
    vocabulary: tokens without a known word are shown as ids.
    replaced_probs: float [length], from word discrimination.
    corrections: int [length]; used where a token was replaced.
  """

  def show(token: int) -> str:
    known = vocabulary.words
    return known[token] if 0 <= token < len(known) else f'[{token}]'

  words = []
  for place, (token, before) in enumerate(zip(sentence, caption, strict=True)):
    text = show(token)
    is_piece = captions.is_piece(int(token), vocabulary)
    is_replaced = token != before
    words.append(
      content.Word(
        text[2:] if is_piece else text,
        is_piece,
        show(before) if is_replaced else None,
        None if replaced_probs is None else float(replaced_probs[place]),
        show(corrections[place])
        if is_replaced and corrections is not None
        else None,
      )
    )
  return words


def sigmoid(logit: float) -> float:
  """Returns the probability for a logit."""
  return float(1 / (1 + np.exp(-np.float64(logit))))


def _find_hardest(
  own: engine.Engine,
  sources: tuple[source.Source, ...],
  num_shown: int,
  params: Any,
  batch: arrays.MicroBatch,
  batch_keys: keys.MicroBatchKeys,
) -> Found:
  """Writes, scores and reads the hardest sentences of one caption."""
  # The key has the run's dropout applied while writing, as in training.
  table, proposed = candidates_of.propose(
    sources,
    source.Inputs(
      own,
      params,
      params,
      batch,
      source.Keys(batch_keys.mask, batch_keys.refill, batch_keys.dropout),
    ),
  )
  selected = mining.hardest(
    own,
    params,
    table,
    proposed,
    [min(num_shown, one.is_valid.shape[1]) for one in proposed],
  )
  order = jnp.argsort(
    jnp.where(selected.is_filled, -selected.logits, jnp.inf).reshape(-1)
  )[:num_shown]
  rows, logits, is_filled = (
    x.reshape(-1)[order]
    for x in (selected.text_rows, selected.logits, selected.is_filled)
  )
  images = own.embed_image(params, batch.images)
  own_states = own.encode(
    params,
    own.embed_text(params, batch.texts),
    images,
    num_outputs=1,
    dropout_key=None,
  )
  texts = jax.tree.map(lambda x: x[rows], table.texts)
  probs, corrections = None, None
  if own.task.settings.phase == 'dc':
    num_rows, length = texts.token_ids.shape
    probs, corrections = read_words(
      own,
      params,
      own.encode(
        params,
        own.embed_text(params, texts),
        jax.tree.map(lambda x: jnp.repeat(x, num_rows, axis=0), images),
        num_outputs=length,
        dropout_key=None,
      ),
    )
  return Found(
    texts.token_ids,
    texts.num_tokens,
    logits,
    is_filled,
    own.read(params, 'match_logits', own_states)[0],
    jnp.sum(jnp.concatenate([one.is_valid for one in proposed], axis=1)),
    probs,
    corrections,
  )


def read_words(
  own: engine.Engine, params: Any, states: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns what stage 2's heads say of the words of sentences.

  Args:
    own: runs the network.
    params: parameters.
    states: float [rows, L, D], from `Engine.encode`, without dropout.
  Returns:
    the probability that a word was replaced, float32 [rows, L], and the word
    that the correction head prefers, int32 [rows, L].
  """
  # The two classes are: replaced, same word (losses/words.py). Their weights in
  # training have shifted the log-odds, which is taken back here.
  losses = own.task.settings.losses
  weights = losses.kept_weight, losses.replaced_weight
  shift = np.log(weights[0] / weights[1]) if all(weights) else 0.0
  logits = own.read(params, 'disc_logits', states)
  return (
    jax.nn.sigmoid(logits[..., 0] - logits[..., 1] + shift),
    jnp.argmax(own.read(params, 'correction_logits', states), axis=-1),
  )
