"""Hard negatives that a network writes for a caption, and its judgment of them.

They are made as in training and by the same code: masking, refilling with the
run's K, S, temperature and dropout rate, scoring without dropout. Only the
captions are from the test split.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tagsdc_jax import arrays, settings
from tagsdc_jax.data import assembling, dataset
from tagsdc_jax.data.world import oracle
from tagsdc_jax.data.world.scenes import Scene
from tagsdc_jax.engines import engine
from tagsdc_jax.negatives import built_in, mask_refill, mining, source
from tagsdc_jax.negatives import candidates as candidates_of
from tagsdc_jax.reporting.page import content
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys

NUM_SHOWN = 8


class _Hardest(NamedTuple):
  """The hardest sentences of one caption, hardest first."""

  token_ids: jax.Array  # int32 [H, L]
  logits: jax.Array  # float32 [H]
  is_filled: jax.Array  # bool [H], False for empty slots
  own_logit: jax.Array  # float32 [], of the caption
  num_valid: jax.Array  # int32 []
  replaced_probs: jax.Array | None  # float32 [H, L], stage 2
  corrections: jax.Array | None  # int32 [H, L], stage 2


class Maker:
  """Makes negatives of captions with one compiled program."""

  def __init__(
    self,
    config: settings.Settings,
    params: Any,
    data: dataset.RetrievalDataset,
    update: int,
  ) -> None:
    """Creates the program.

    Args:
      config: settings with the data's sizes.
      params: from `matching_parameters`, so that `rank_output` ranks.
      data: the split; every caption must fit the network's positions.
      update: the checkpoint's update, which determines the random draws.
    """
    self._config, self._params, self._data = config, params, data
    self._shapes = assembling.shapes_of(data)
    self._update = update
    vocabulary = data.vocabulary
    task = engine.Task(
      model=setup.make_model(config),
      settings=config,
      mask_id=vocabulary.mask,
      random_range=vocabulary.random_range,
      score_buckets=(self._shapes.max_tokens + 2 + self._shapes.max_regions,),
    )
    writers = tuple(
      one for one in built_in.of_settings(config) if one.writes
    ) or (mask_refill.MASK_REFILL,)
    self._program = jax.jit(
      functools.partial(_find_hardest, setup.make_engine(task), writers)
    )

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
    hardest = jax.tree.map(
      np.asarray,
      self._program(
        self._params,
        self._batch(number),
        keys.micro_batch_keys(
          config.seed, jnp.int32(self._update), jnp.int32(number)
        ),
      ),
    )
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

  def _batch(self, number: int) -> arrays.MicroBatch:
    """Returns a micro-batch of one caption; its pool is never read."""
    data, shapes = self._data, self._shapes
    images = [data.captions[number].image]
    texts = assembling.texts(data, [number], shapes.max_tokens)
    regions = assembling.images(data, images, shapes.max_regions)
    return arrays.MicroBatch(
      number=np.int32(0),
      texts=texts,
      images=regions,
      phrase_counts=assembling.phrase_counts(data, [number], shapes),
      phrase_kinds=assembling.phrase_kinds(data, [number], shapes),
      references=assembling.references(data, images, shapes),
      pool_texts=texts,
      pool_images=regions,
      caption_numbers=np.array([number], np.int32),
      image_numbers=np.array(images, np.int32),
    )


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
    is_piece = text.startswith('##') and len(text) > 2
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
  params: Any,
  batch: arrays.MicroBatch,
  batch_keys: keys.MicroBatchKeys,
) -> _Hardest:
  """Writes, scores and analyzes the hardest sentences of one caption."""
  # The key applies the run's dropout while writing, as in training.
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
    [min(NUM_SHOWN, one.is_valid.shape[1]) for one in proposed],
  )
  order = jnp.argsort(
    jnp.where(selected.is_filled, -selected.logits, jnp.inf).reshape(-1)
  )[:NUM_SHOWN]
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
    probs, corrections = _read_words(own, params, texts, images)
  return _Hardest(
    texts.token_ids,
    logits,
    is_filled,
    own.read(params, 'match_logits', own_states)[0],
    jnp.sum(jnp.concatenate([one.is_valid for one in proposed], axis=1)),
    probs,
    corrections,
  )


def _read_words(
  own: engine.Engine, params: Any, texts: arrays.Texts, image: engine.Embedded
) -> tuple[jax.Array, jax.Array]:
  """Returns the outputs of stage 2's heads, without dropout.

  Args:
    own: runs the network.
    params: parameters.
    texts: [H, L].
    image: the one image of all texts.
  Returns:
    the probability that a word was replaced, float32 [H, L], and the word
    that the correction head prefers, int32 [H, L].
  """
  num_rows, length = texts.token_ids.shape
  states = own.encode(
    params,
    own.embed_text(params, texts),
    jax.tree.map(lambda x: jnp.repeat(x, num_rows, axis=0), image),
    num_outputs=length,
    dropout_key=None,
  )
  # The classes are: replaced, same word (losses/words.py).
  return (
    jax.nn.softmax(own.read(params, 'disc_logits', states))[..., 0],
    jnp.argmax(own.read(params, 'correction_logits', states), axis=-1),
  )
