"""The sentences that a network makes of a caption, and what it says of them.

Made as in training, by the same code: masking, refilling with the run's K, S,
temperature and dropout rate, scores without dropout. Only the caption is one
of the test split.
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
from tagsdc_jax.engines.packed import scorer
from tagsdc_jax.models import retrieval
from tagsdc_jax.negatives import generating, selecting
from tagsdc_jax.reporting.page import content
from tagsdc_jax.runs import setup
from tagsdc_jax.training import keys, passes, word_passes

NUM_SHOWN = 8


class _Found(NamedTuple):
  """The hardest sentences of one caption, hardest first."""
  token_ids: jax.Array  # int32 [H, L]
  logits: jax.Array  # float32 [H]
  is_filled: jax.Array  # bool [H]: there is such a sentence
  own_logit: jax.Array  # float32 [], the caption's
  num_valid: jax.Array  # int32 []
  replaced_probs: jax.Array | None  # float32 [H, L], stage 2
  corrections: jax.Array | None  # int32 [H, L], stage 2


class Maker:
  """Makes the negatives of captions with one compiled program."""

  def __init__(self, config: settings.Settings, params: Any,
               data: dataset.RetrievalDataset, update: int) -> None:
    """Takes a network whose `rank_output` ranks (`matching_parameters`).

    Args:
      config: with the data's sizes.
      params: parameters.
      data: the split; every caption fits the positions.
      update: the checkpoint's; draws are a function of it.
    """
    self._config, self._params, self._data = config, params, data
    self._shapes = assembling.shapes_of(data)
    self._update = update
    vocabulary = data.vocabulary
    task = passes.Task(
        model=setup.make_model(config), settings=config,
        mask_id=vocabulary.mask, random_range=vocabulary.random_range,
        widths=(self._shapes.max_tokens + 2 + self._shapes.max_regions,))
    self._program = jax.jit(functools.partial(_find_hardest, task))

  def make(self, number: int, picture: content.Picture,
           scene: Scene | None) -> content.NegativesExample:
    """Returns a caption's negatives.

    Args:
      number: the caption's.
      picture: of its image.
      scene: for the oracle; None where there is none.
    """
    data, config = self._data, self._config
    found = jax.tree.map(np.asarray, self._program(
        self._params, self._batch(number), keys.micro_batch_keys(
            config.seed, jnp.int32(self._update), jnp.int32(number))))
    caption, text = (data.captions[number].token_ids,
                     data.captions[number].text)
    inside = slice(1, 1 + len(caption))
    negatives = []
    for row in np.flatnonzero(found.is_filled):
      sentence = found.token_ids[row, inside]
      probs, corrections = (
          None if x is None else x[row, inside]
          for x in (found.replaced_probs, found.corrections))
      negatives.append(content.Negative(
          to_words(sentence, caption, data.vocabulary, probs, corrections),
          sigmoid(found.logits[row]),
          oracle.judge_ids(sentence, scene) if scene else None))
    negative_config = config.negatives
    return content.NegativesExample(
        picture, text, to_words(caption, caption, data.vocabulary),
        sigmoid(found.own_logit), negatives,
        negative_config.num_copies * negative_config.num_samples,
        int(found.num_valid))

  def _batch(self, number: int) -> arrays.MicroBatch:
    """Returns a micro-batch of one caption; its pool is never read."""
    data, shapes = self._data, self._shapes
    images = [data.captions[number].image]
    texts = assembling.texts(data, [number], shapes.max_tokens)
    regions = assembling.images(data, images, shapes.max_regions)
    return arrays.MicroBatch(
        number=np.int32(0), texts=texts, images=regions,
        phrase_counts=assembling.phrase_counts(data, [number], shapes),
        references=assembling.references(data, images, shapes),
        pool_texts=texts, pool_images=regions,
        caption_numbers=np.array([number], np.int32),
        image_numbers=np.array(images, np.int32))


def to_words(sentence: np.ndarray, caption: np.ndarray,
             vocabulary: dataset.Vocabulary,
             replaced_probs: np.ndarray | None = None,
             corrections: np.ndarray | None = None) -> list[content.Word]:
  """Returns the tokens of a sentence for people.

  Args:
    sentence: int [length], without [CLS], [SEP] and padding.
    caption: int [length], what it was made of.
    vocabulary: tokens without a known word are shown as their id.
    replaced_probs: float [length], the discriminator's.
    corrections: int [length]; read where a token was replaced.
  """
  def show(token: int) -> str:
    known = vocabulary.words
    return known[token] if 0 <= token < len(known) else f'[{token}]'

  words = []
  for place, (token, before) in enumerate(zip(sentence, caption,
                                              strict=True)):
    text = show(token)
    is_piece = text.startswith('##') and len(text) > 2
    is_replaced = token != before
    words.append(content.Word(
        text[2:] if is_piece else text, is_piece,
        show(before) if is_replaced else None,
        None if replaced_probs is None else float(replaced_probs[place]),
        show(corrections[place])
        if is_replaced and corrections is not None else None))
  return words


def sigmoid(logit: float) -> float:
  """Returns the probability of a raw score."""
  return float(1 / (1 + np.exp(-np.float64(logit))))


def _find_hardest(task: passes.Task, params: Any, batch: arrays.MicroBatch,
                  batch_keys: keys.MicroBatchKeys) -> _Found:
  """Generates, scores and reads the hardest sentences of one caption."""
  # The key makes predict_masked apply the run's dropout, as training does.
  generated = generating.generate(
      batch_keys.mask, batch_keys.refill, batch,
      lambda masked, uniforms: word_passes.predict_masked(
          task, params, batch, masked, uniforms, batch_keys.dropout),
      task.settings.negatives, mask_id=task.mask_id,
      random_range=task.random_range)
  is_valid = generated.is_valid[0]
  # Row 0 is the caption itself.
  token_ids = jnp.concatenate([batch.texts.token_ids,
                               generated.token_ids[0]])
  texts = scorer.Embedded(
      passes.embed_text(task, params, token_ids),
      jnp.broadcast_to(batch.texts.num_tokens, token_ids.shape[:1]))
  images = scorer.Embedded(passes.embed_image(task, params, batch.images),
                           batch.images.num_regions)
  rows = jnp.arange(len(token_ids))
  logits = scorer.score_pairs(
      task.model, params, texts, images, rows, jnp.zeros_like(rows),
      jnp.concatenate([jnp.ones(1, bool), is_valid]), widths=task.widths,
      num_tokens=task.settings.compute.score_tokens)
  picked, is_filled = selecting.select_hardest(
      logits[None, 1:], is_valid[None], min(NUM_SHOWN, len(is_valid)))
  hardest = 1 + picked[0]
  probs, corrections = None, None
  if task.settings.phase == 'dc':
    probs, corrections = _read_words(task, params, texts, images, hardest)
  return _Found(token_ids[hardest], logits[hardest], is_filled[0], logits[0],
                jnp.sum(is_valid), probs, corrections)


def _read_words(task: passes.Task, params: Any, texts: scorer.Embedded,
                images: scorer.Embedded, rows: jax.Array
                ) -> tuple[jax.Array, jax.Array]:
  """Returns what stage 2's heads say, without dropout.

  Returns:
    the probability that a word was replaced, float32 [H, L], and the word
    that the correction head prefers, int32 [H, L].
  """
  pairs = scorer.make_pairs(texts, images, rows, jnp.zeros_like(rows))
  embeddings, mask = scorer.join(scorer.stack(texts, images), pairs,
                                 task.widths[-1])
  states = retrieval.apply(task.model, params, 'encode', embeddings, mask,
                           num_outputs=texts.states.shape[1])
  # The two classes are: replaced, same word (losses/words.py).
  disc_logits = retrieval.apply(task.model, params, 'disc_logits', states)
  corrections = retrieval.apply(task.model, params, 'correction_logits',
                                states)
  return (jax.nn.softmax(disc_logits)[..., 0],
          jnp.argmax(corrections, axis=-1))
