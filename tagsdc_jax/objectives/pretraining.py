"""The loss of pretraining: masked language modeling, image-text matching."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Key

from tagsdc_jax import arrays
from tagsdc_jax.arrays import Array
from tagsdc_jax.engines import engine as engines
from tagsdc_jax.engines import work
from tagsdc_jax.losses import matching, total, words
from tagsdc_jax.negatives import masked_words, masking
from tagsdc_jax.objectives import count_work
from tagsdc_jax.training import step
from tagsdc_jax.training.keys import MicroBatchKeys

TRAINED_HEADS = ('pooler', 'itm_output', 'mlm_output')


def loss(
  engine: engines.Engine,
  params: Any,
  start_params: Any,
  batch: arrays.MicroBatch,
  batch_keys: MicroBatchKeys,
) -> tuple[Float[Array, ''], tuple[step.Metrics, work.Work]]:
  """Returns the loss of a micro-batch, its metrics, and the work it needs.

  The sum of the MLM loss and of image-text matching within the micro-batch.

  Args:
    engine: runs the network.
    params: parameters.
    start_params: not used.
    batch: positives.
    batch_keys: PRNG keys of the micro-batch.
  """
  del start_params
  task = engine.task
  config, weights = task.settings.negatives, task.settings.losses
  mlm_key, text_key, image_key, encoder_key = jax.random.split(
    batch_keys.dropout, 4
  )

  # Masked language modeling (docs/method.md, 4).
  masked = masking.mask_tokens(
    batch_keys.mask,
    batch.texts.token_ids,
    masking.units(config.unit, batch),
    num_copies=config.num_copies,
    mask_rate=config.mask_rate,
    mask_id=task.mask_id,
    random_range=task.random_range,
  )
  no_samples = jnp.zeros((*masked.is_target.shape, 0, 2))
  mlm, *_ = masked_words.predict(
    engine, params, batch, masked, no_samples, mlm_key
  )

  # Image-text matching (docs/method.md, 5): each caption with its own image and
  # with other images of the batch.
  partners = in_batch_partners(
    batch_keys.pairing, batch.texts.num_tokens.shape[0], config.num_in_batch
  )
  pairs = jnp.concatenate([jnp.arange(len(partners))[:, None], partners], 1)
  texts = engine.embed_text(params, batch.texts, text_key)
  images = engine.embed_image(params, batch.images, image_key)
  states = engine.encode(
    params,
    jax.tree.map(lambda x: jnp.repeat(x, pairs.shape[1], axis=0), texts),
    jax.tree.map(lambda x: x[pairs.reshape(-1)], images),
    num_outputs=1,
    dropout_key=encoder_key,
  )
  logits = engine.read(params, 'itm_logits', states).reshape(*pairs.shape, 2)
  is_match = jnp.arange(pairs.shape[1])[None] == 0
  losses = matching.matching_loss(
    logits, jnp.broadcast_to(is_match, pairs.shape)
  )
  # The same image with another caption is not a negative. The positive and the
  # mean of the negatives have equal weight.
  is_other = batch.image_numbers[pairs] != batch.image_numbers[:, None]
  per_positive = 0.5 * (
    losses[:, 0] + words.masked_mean(losses[:, 1:], is_other[:, 1:], 1)
  )

  is_right = (jnp.argmax(logits, -1) == 1) == is_match
  is_counted = is_match | is_other
  parts = {'matching': per_positive, 'mlm': mlm}
  return total.weighted_sum(parts, {'matching': 1.0, 'mlm': weights.mlm}), (
    step.means(
      parts,
      matching_accuracy=words.masked_mean(
        is_right.astype(jnp.float32), is_counted, (0, 1)
      ),
    ),
    count_work.of_pretraining(batch, masked.is_target, pairs, is_counted),
  )


def in_batch_partners(
  key: Key[Array, ''], batch: int, num_partners: int
) -> Int[Array, 'B num_partners']:
  """Returns the rows whose images each row is matched against.

  Row b is paired with rows b + shift (mod B) for distinct random shifts, so
  that each image is used as a negative equally often.
  """
  shifts = 1 + jax.random.permutation(key, batch - 1)[:num_partners]
  return (jnp.arange(batch)[:, None] + shifts[None]) % batch
