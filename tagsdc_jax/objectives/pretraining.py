"""The loss of pretraining: masked language modeling, image-text matching."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Key

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.engines import work
from tagsdc_jax.losses import alignment, matching, total, words
from tagsdc_jax.models import heads as heads_of
from tagsdc_jax.negatives import masked_words, masking
from tagsdc_jax.objectives import count_work
from tagsdc_jax.training import step
from tagsdc_jax.training.keys import MicroBatchKeys

_MATCHING_HEADS = ('pooler', 'itm_output')
# Below all draws. The same image may still be a partner, if there are too few
# others, and then counts nothing.
_NEVER = -1e9
TRAINED_HEADS = (*_MATCHING_HEADS, 'mlm_output')


class _Term(NamedTuple):
  """A part of the loss."""

  loss: Float[Array, '']  # Mean over the captions, with gradient.
  metrics: step.Metrics
  needed: work.Work | None = None  # None: next to none.


def loss(
  engine: engines.Engine,
  params: Any,
  start_params: Any,
  batch: arrays.MicroBatch,
  batch_keys: MicroBatchKeys,
) -> tuple[Float[Array, ''], tuple[step.Metrics, work.Work]]:
  """Returns the loss of a micro-batch, its metrics, and the work it needs.

  The sum of the MLM loss, of image-text matching within the micro-batch and of
  alignment. What has no weight, or no negatives, is not computed.

  Args:
    engine: runs the network.
    params: parameters.
    start_params: not used.
    batch: positives.
    batch_keys: PRNG keys of the micro-batch.
  """
  del start_params
  config, weights = engine.task.settings.negatives, engine.task.settings.losses
  mlm_key, text_key, image_key, encoder_key = jax.random.split(
    batch_keys.dropout, 4
  )
  terms = {}
  if weights.mlm:
    terms['mlm'] = _mlm(engine, params, batch, batch_keys.mask, mlm_key)
  # Embedded once for both terms.
  texts = engine.embed_text(params, batch.texts, text_key)
  images = engine.embed_image(params, batch.images, image_key)
  is_other = batch.image_numbers[None] != batch.image_numbers[:, None]
  similar = _similarity(texts, images) if weights.alignment else None
  if config.num_in_batch:
    partners = in_batch_partners(
      batch_keys.pairing,
      is_other,
      jax.lax.stop_gradient(similar) if config.similar_in_batch else None,
      config.num_in_batch,
    )
    terms['matching'] = _matching(
      engine, params, texts, images, batch, partners, encoder_key
    )
  if similar is not None:
    losses = alignment.alignment_loss(similar, is_other)
    terms['alignment'] = _Term(
      jnp.mean(losses), step.means({'alignment': losses})
    )
  weighted_sum = total.weighted_sum(
    {name: term.loss for name, term in terms.items()},
    {'matching': 1.0, 'mlm': weights.mlm, 'alignment': weights.alignment},
  )
  return weighted_sum, (
    {key: x for term in terms.values() for key, x in term.metrics.items()},
    work.join(
      [
        count_work.of_images(batch),
        *(one.needed for one in terms.values() if one.needed is not None),
      ]
    ),
  )


def _mlm(
  engine: engines.Engine,
  params: Any,
  batch: arrays.MicroBatch,
  mask_key: Key[Array, ''],
  dropout_key: Key[Array, ''],
) -> _Term:
  """Returns masked language modeling (docs/method.md, 4)."""
  task, config = engine.task, engine.task.settings.negatives
  masked = masking.mask_tokens(
    mask_key,
    batch.texts.token_ids,
    masking.units(config.unit, batch),
    num_copies=config.num_copies,
    mask_rate=config.mask_rate,
    mask_id=task.mask_id,
    random_range=task.random_range,
  )
  no_samples = jnp.zeros((*masked.is_target.shape, 0, 2))
  mlm, *_ = masked_words.predict(
    engine, params, batch, masked, no_samples, dropout_key
  )
  return _Term(
    jnp.mean(mlm),
    step.means({'mlm': mlm}),
    masked_words.work_of(batch, masked.is_target, has_gradient=True),
  )


def _matching(
  engine: engines.Engine,
  params: Any,
  texts: engines.Embedded,
  images: engines.Embedded,
  batch: arrays.MicroBatch,
  partners: Int[Array, 'B num_partners'],
  dropout_key: Key[Array, ''],
) -> _Term:
  """Returns image-text matching (docs/method.md, 5).

  Each caption meets its own image, and those of its partners.
  """
  pairs = jnp.concatenate([jnp.arange(len(partners))[:, None], partners], 1)
  is_match = jnp.broadcast_to(jnp.arange(pairs.shape[1]) == 0, pairs.shape)
  # The same image with another caption is not a negative.
  is_other = batch.image_numbers[pairs] != batch.image_numbers[:, None]
  is_counted = is_match | is_other
  weights = jax.grad(
    lambda losses: jnp.mean(_matching_means(losses, is_other))
  )(jnp.zeros(pairs.shape))
  flat = lambda x: x.reshape(-1)
  loss_sum, (losses, is_right) = engine.loss(
    functools.partial(_matching_losses, engine),
    params,
    heads_of.parameters(params, _MATCHING_HEADS),
    texts,
    images,
    engines.Rows(
      jnp.repeat(jnp.arange(len(pairs)), pairs.shape[1]),
      flat(pairs),
      flat(is_counted),
      jnp.ones(pairs.size, bool),
      (),
      (flat(is_match), flat(weights)),
    ),
    dropout_key,
    num_outputs=1,
  )
  losses, is_right = (x.reshape(pairs.shape) for x in (losses, is_right))
  return _Term(
    loss_sum,
    step.means(
      {'matching': _matching_means(losses, is_other)},
      matching_accuracy=words.masked_mean(is_right, is_counted, (0, 1)),
    ),
    count_work.of_matching(batch, pairs, is_counted),
  )


def _similarity(
  texts: engines.Embedded, images: engines.Embedded
) -> Float[Array, 'B B']:
  """Returns how similar captions and images are before the encoder."""
  length, num_regions = texts.states.shape[1], images.states.shape[1]
  # Words are what [CLS] and [SEP] enclose.
  is_word = (
    arrays.length_mask(texts.lengths - 1, length)
    & (jnp.arange(length) > 0)[None]
  )
  return alignment.similarity_logits(
    texts.states,
    is_word,
    images.states,
    arrays.length_mask(images.lengths, num_regions),
  )


def _matching_means(
  losses: Float[Array, 'B pairs'], is_other: Bool[Array, 'B pairs']
) -> Float[Array, 'B']:
  """Returns each caption's loss.

  The positive, which comes first, and the mean of the negatives have equal
  weight.
  """
  return 0.5 * (
    losses[:, 0] + words.masked_mean(losses[:, 1:], is_other[:, 1:], 1)
  )


def _matching_losses(
  engine: engines.Engine,
  heads: Any,
  states: Float[Array, 'rows 1 D'],
  inputs: tuple,
  constants: tuple[Bool[Array, 'rows'], Float[Array, 'rows']],
) -> tuple[Float[Array, ''], Any]:
  """Returns the share of some pairs in the loss; see `engine.RowLosses`."""
  del inputs
  is_match, weights = constants
  logits = engine.read(heads, 'itm_logits', states)
  losses = matching.matching_loss(logits, is_match)
  is_right = (jnp.argmax(logits, -1) == 1) == is_match
  return jnp.sum(weights * losses), (losses, is_right.astype(jnp.float32))


def in_batch_partners(
  key: Key[Array, ''],
  is_other: Bool[Array, 'B B'],
  similar: Float[Array, 'B B'] | None,
  num_partners: int,
) -> Int[Array, 'B num_partners']:
  """Returns the rows whose images each row is matched against.

  Args:
    key: used once.
    is_other: whether two rows have different images.
    similar: log-probabilities, up to a constant of each row, with which the
      next partner is drawn from those left; None: row b is paired with rows
      b + shift (mod B) for distinct random shifts, so that each image is used
      as a negative equally often.
    num_partners: below B.
  """
  batch = len(is_other)
  if similar is None:
    shifts = 1 + jax.random.permutation(key, batch - 1)[:num_partners]
    return (jnp.arange(batch)[:, None] + shifts[None]) % batch
  # The largest sums with Gumbel noise are draws without replacement.
  drawn = similar + jax.random.gumbel(key, similar.shape)
  drawn = jnp.where(is_other, drawn, _NEVER)
  return jax.lax.top_k(drawn, num_partners)[1]
